"""Let torchvision import beside a torch without CUDA.

A CPU build of torch beside the default (CUDA) build of torchvision is a common pair on laptops and CI machines.
torchvision's C extension then does not load, and two decorators at import time fail because the operators
`torchvision::nms` and `torchvision::qnms` were never declared. Declaring them is enough for data sets, transforms,
`make_grid` and the networks; `torchvision.ops.nms` and `torchvision.io` stay unusable (the course reads images with PIL).

The package imports this module first. It does nothing where torchvision is whole.
"""

import importlib.util
from pathlib import Path

import torch

_library = None  # torch forgets the declared operators when this object dies


def declare_torchvision_operators() -> bool:
    """Declare torchvision's two import-time operators where its C extension cannot load; True if it did."""
    global _library
    if _library is not None or torch.version.cuda is not None or getattr(torch.version, "hip", None):
        return False
    spec = importlib.util.find_spec("torchvision")
    if spec is None:
        raise ImportError(
            "torchvision is not installed: run `pip install torchvision` (requirements.txt pins it)"
        )
    for extension in Path(spec.origin).parent.glob("_C.*"):
        try:
            torch.ops.load_library(str(extension))
            return False
        except OSError:
            pass
    _library = torch.library.Library("torchvision", "FRAGMENT")
    _library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return True


declare_torchvision_operators()

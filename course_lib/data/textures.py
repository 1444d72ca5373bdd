"""Photographs that scikit-image ships, for texture synthesis."""

import numpy as np
import torch
from torch import Tensor

TEXTURES = ("brick", "grass", "gravel", "astronaut", "camera", "coffee", "chelsea")


def texture(name: str, size: int | None = None) -> Tensor:
    """One photograph, `(1, H, W)` or `(3, H, W)` float64 in [0, 1].

    Args:
        name: brick, grass, gravel (512x512 grey textures), camera (grey), astronaut, coffee or chelsea (colour).
        size: cut the central square of that many pixels.

    Raises:
        ValueError: unknown name, or a size larger than the photograph.
    """
    if name not in TEXTURES:
        raise ValueError(f"unknown texture {name!r}: expected one of {', '.join(TEXTURES)}")
    from skimage import data

    image = np.atleast_3d(getattr(data, name)())
    image = torch.from_numpy(image.copy()).permute(2, 0, 1).double() / 255
    if size is None:
        return image
    height, width = image.shape[1:]
    if size > min(height, width):
        raise ValueError(f"{name} is {height}x{width}; cannot cut {size}x{size}")
    top, left = (height - size) // 2, (width - size) // 2
    return image[:, top : top + size, left : left + size]

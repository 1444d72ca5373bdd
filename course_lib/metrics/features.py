"""Feature networks of the metrics: our frozen LeNet for 28x28 grey images, and the Inception network of the published FID.

Three habits move a published number without a word, so they are refused or fixed here: features in train mode, images
rescaled one by one, and another resize.
"""

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib import checkpoints
from course_lib.nn import LeNet


def _check_images(images: Tensor) -> None:
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(
            f"images must be float (N, C, H, W) in [0, 1]; got {images.dtype} {tuple(images.shape)}"
            + (": divide by 255" if images.dtype == torch.uint8 else "")
        )
    low, high = images.amin().item(), images.amax().item()
    if not (low >= -1e-6 and high <= 1 + 1e-6):  # NaN fails too
        raise ValueError(
            f"images must lie in [0, 1]; got {low:.3g} .. {high:.3g}: clip or rescale all of them alike"
        )


@torch.no_grad()
def _in_batches(network: Callable[[Tensor], Tensor], images: Tensor, batch: int) -> Tensor:
    return torch.cat([network(part).float().cpu() for part in images.split(batch)])


@functools.cache
def _lenet() -> tuple[LeNet, str]:
    state, card = checkpoints.load(checkpoints.PRETRAINED / "digit_classifier_mnist.safetensors")
    network = LeNet(**card["model"])
    network.load_state_dict(state)
    return network.eval(), card["sha256"]


def lenet_features(images: Tensor, batch: int = 1000) -> Tensor:
    """Features of 28x28 grey images in the digit classifier's last hidden layer, `(N, 64)` float32, eval mode.

    Raises:
        ValueError: images of another shape, or not floats in [0, 1].
    """
    _check_images(images)
    return _in_batches(_lenet()[0].features, images, batch)


@functools.cache
def _inception() -> tuple[nn.Module, str]:
    from course_lib.metrics.inception import load_inception

    return load_inception()


def inception_features(images: Tensor, batch: int = 50) -> Tensor:
    """The 2,048 pool features of the published FID's Inception network, `(N, 2048)` float32, eval mode.

    Grey images are repeated to three channels. Pre-processing: bilinear to 299x299 (no antialiasing, corners not aligned),
    then [0, 1] to [-1, 1].

    Raises:
        ValueError: images not floats in [0, 1].
        FileNotFoundError: the weights are neither in the data folder nor to be downloaded.
    """
    _check_images(images)
    network = _inception()[0]
    return _in_batches(lambda part: network(part.expand(-1, 3, -1, -1)), images, batch)


def weights_hash(name: str) -> str:
    """SHA-256 of the weights behind "lenet" or "inception"."""
    return {"lenet": _lenet, "inception": _inception}[name]()[1]

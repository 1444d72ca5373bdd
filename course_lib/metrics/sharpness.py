"""Sharpness of an image: how much its second differences vary."""

import torch.nn.functional as F
from torch import Tensor

LAPLACE = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))
LUMA = (0.299, 0.587, 0.114)  # grey value of red, green, blue


def sharpness(images: Tensor) -> Tensor:
    """Variance over pixels of the image convolved with the Laplace filter, `(N,)`.

    Colours are turned to grey first. The border, where the filter would need pixels outside, is left out.

    Args:
        images: `(N, 1 or 3, H, W)` float in [0, 1], at least 3x3.

    Raises:
        ValueError: images of another kind.

    Implements: evaluation-sharpness
    Source: Tolstikhin et al. 2018 (WAE).
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.is_floating_point():
        raise ValueError(f"images must be float (N, 1 or 3, H, W); got {images.dtype} {tuple(images.shape)}")
    grey = images
    if images.shape[1] == 3:
        grey = (images * images.new_tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True)
    filtered = F.conv2d(grey, images.new_tensor(LAPLACE).view(1, 1, 3, 3))  # (N, 1, H - 2, W - 2)
    return filtered.flatten(1).var(1, correction=0)

"""Test likelihood on the common scale: bits per dimension, and the uniform noise that a density needs.

| symbol | name | meaning |
|---|---|---|
| P(x) | | probability of an image whose pixels take K = `levels` values |
| p(x) | `log_prob` | density of a model on [0, 1]^D, nats |
| u | | uniform noise on [0, 1)^D |

Source: Theis, van den Oord & Bethge 2016; Uria, Murray & Larochelle 2013.
"""

import math

import torch
from torch import Tensor


def dequantize(x: Tensor, levels: int = 256, generator: torch.Generator | None = None) -> Tensor:
    """Spread every pixel level k over its own interval: (k + u) / K with u uniform on [0, 1).

    Args:
        x: pixels k / (K - 1) in [0, 1], on the grid of levels.
        levels: K, 256 for 8 bits.

    Returns:
        A tensor like `x`. A density's mean log over u is at most log P(x) + D log K, P the mass it gives to the cell.

    Raises:
        ValueError: not floats in [0, 1], or off the grid.

    Implements: evaluation-dequantisation
    """
    if not x.is_floating_point():
        raise ValueError(f"pixels must be float in [0, 1]; got {x.dtype}: divide by {levels - 1}")
    level = (x * (levels - 1)).round()
    if not bool(
        ((level - x * (levels - 1)).abs() <= 1e-3).all() and level.min() >= 0 and level.max() < levels
    ):
        raise ValueError(
            f"pixels must be multiples of 1/{levels - 1} in [0, 1]: noise was added already, or other levels"
        )
    noise = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return (level + noise) / levels


def bits_per_dim(log_prob: Tensor, dim: int, levels: int = 256) -> Tensor:
    """Nats of a density on [0, 1]^D as bits per dimension of the image with K levels.

    -log p / (D log 2) + log2 K: the density of the pixels on [0, K]^D, whose cells have volume 1. `levels=1` turns the
    log-mass of a discrete model into bits per dimension.

    Args:
        log_prob: any shape, nats. dim: D, the numbers in an image (channels counted).

    Implements: evaluation-bits-per-dim
    """
    return -log_prob / (dim * math.log(2)) + math.log2(levels)

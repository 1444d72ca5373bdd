"""Two drawn image sets whose factors are known: `shapes` (in the manner of dSprites) and `fading_squares`.

Source: Matthey et al. 2017 (dSprites); Rubenstein et al. 2018 (fading squares, intrinsic dimension 1).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SHAPES = ("square", "ellipse", "heart")


def draw_shape_factors(n: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Factors of `n` images on dSprites' grid: 3 shapes, 6 scales, 40 turns, 32 x 32 places, all equally likely."""

    def level(count: int) -> Tensor:
        return torch.randint(count, (n,), generator=generator)

    return {
        "label": level(3),
        "scale": 0.5 + 0.1 * level(6).double(),
        "rotation": 2 * math.pi * level(40).double() / 40,
        "x": level(32).double() / 31,
        "y": level(32).double() / 31,
    }


def _inside(shape: str, u: Tensor, v: Tensor) -> Tensor:
    if shape == "square":
        return (u.abs() < 1) & (v.abs() < 1)
    if shape == "ellipse":
        return u**2 / 1.44 + v**2 / 0.49 < 1
    return (u**2 + v**2 - 1) ** 3 < -(u**2) * v**3  # the sextic heart, its point towards larger y


def render_shapes(factors: dict[str, Tensor], size: int = 64, chunk: int = 500) -> Tensor:
    """White shapes on black: `(n, 1, size, size)` uint8, every edge smoothed by 2x2 supersampling."""
    ticks = (torch.arange(2 * size, dtype=torch.float64) + 0.5) / size - 1  # [-1, 1], twice the resolution
    images = torch.empty(len(factors["label"]), 1, size, size, dtype=torch.uint8)
    for label, shape in enumerate(SHAPES):
        for part in torch.nonzero(factors["label"] == label).squeeze(1).split(chunk):
            f = {name: value[part].view(-1, 1, 1) for name, value in factors.items()}
            x = ticks.view(1, 1, -1) - (f["x"] - 0.5)
            y = ticks.view(1, -1, 1) - (f["y"] - 0.5)
            cos, sin = f["rotation"].cos(), f["rotation"].sin()
            radius = 0.3 * f["scale"]
            ink = _inside(shape, (cos * x + sin * y) / radius, (cos * y - sin * x) / radius)
            images[part] = (255 * F.avg_pool2d(ink.unsqueeze(1).double(), 2)).round().to(torch.uint8)
    return images


def draw_fade_factors(n: int, generator: torch.Generator) -> dict[str, Tensor]:
    """`grey` uniform on [0, 1], the only factor; `label` is always 0."""
    return {
        "label": torch.zeros(n, dtype=torch.int64),
        "grey": torch.rand(n, generator=generator, dtype=torch.float64),
    }


def render_fading_squares(factors: dict[str, Tensor], size: int = 32) -> Tensor:
    """A centred square of half the image's side in the given grey, on black: `(n, 1, size, size)` uint8."""
    image = torch.zeros(len(factors["grey"]), 1, size, size, dtype=torch.uint8)
    inside = slice(size // 4, size - size // 4)
    image[..., inside, inside] = (255 * factors["grey"]).round().to(torch.uint8).view(-1, 1, 1, 1)
    return image

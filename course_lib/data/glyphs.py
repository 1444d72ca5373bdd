"""Digits drawn from fonts, with every factor of variation known: the embedded default data set of the course.

A glyph is a signed distance field (`masters`) read through a random affine map; its stroke is widened or thinned by
shifting the level at which the field counts as ink. All draws are uniform and all arithmetic is float64, so that a seed
gives the same bytes on every machine.

| factor | range | unit |
|---|---|---|
| `font` | 0 .. 19 | index into `masters.FACES` |
| `rotation` | +-0.4 | radians |
| `shear` | +-0.4 | horizontal shift per unit of height |
| `scale` | 0.65 .. 1.1 | 1 = a digit of 20/28 of the image's height |
| `stroke` | -0.4 .. 1.0 | pixels of a 28x28 image added on each side of the stroke |
| `shift_x`, `shift_y` | +-3 | pixels of a 28x28 image |
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.data import masters

RANGES = {
    "rotation": (-0.4, 0.4),
    "shear": (-0.4, 0.4),
    "scale": (0.65, 1.1),
    "stroke": (-0.4, 1.0),
    "shift_x": (-3.0, 3.0),
    "shift_y": (-3.0, 3.0),
}
VERSION = 1  # part of the cache's name: raise it when the pictures change


def draw_factors(n: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Labels and factors of `n` glyphs: `label` and `font` int64, the rest float64, uniform over `RANGES`."""
    factors = {
        "label": torch.randint(10, (n,), generator=generator),
        "font": torch.randint(len(masters.FACES), (n,), generator=generator),
    }
    for name, (low, high) in RANGES.items():
        factors[name] = low + (high - low) * torch.rand(n, generator=generator, dtype=torch.float64)
    return factors


def render(factors: dict[str, Tensor], size: int = 28, chunk: int = 1000) -> Tensor:
    """Images of the given factors: `(n, 1, size, size)` uint8, white ink on black."""
    field = torch.from_numpy(masters.load())
    n = len(factors["label"])
    unit = size / 28  # image pixels per nominal pixel
    master_pixels = masters.HEIGHT / 20 / unit / factors["scale"]  # master pixels per image pixel
    ticks = torch.arange(size, dtype=torch.float64) - (size - 1) / 2  # pixel centres, origin in the middle
    image = torch.empty(n, 1, size, size, dtype=torch.uint8)
    for part in torch.arange(n).split(chunk):
        f = {name: value[part] for name, value in factors.items()}
        per_pixel = master_pixels[part].view(-1, 1, 1)
        x = (ticks.view(1, 1, -1) - f["shift_x"].view(-1, 1, 1) * unit) * per_pixel
        y = (ticks.view(1, -1, 1) - f["shift_y"].view(-1, 1, 1) * unit) * per_pixel
        cos, sin = (g(f["rotation"]).view(-1, 1, 1) for g in (torch.cos, torch.sin))
        u, v = cos * x + sin * y, cos * y - sin * x  # undo the rotation
        u = u + f["shear"].view(-1, 1, 1) * v
        grid = torch.stack([u, v], -1) / (masters.SIDE / 2)  # (n, size, size, 2) in [-1, 1]
        ink = field[f["font"], f["label"]].unsqueeze(1)  # (n, 1, SIDE, SIDE)
        distance = F.grid_sample(ink, grid, padding_mode="border", align_corners=False) / per_pixel.unsqueeze(
            1
        )
        level = 0.5 + distance + f["stroke"].view(-1, 1, 1, 1) * unit
        image[part] = (255 * level.clamp(0, 1)).round().to(torch.uint8)
    return image

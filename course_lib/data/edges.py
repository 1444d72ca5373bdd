"""Pairs of images that the course makes itself: an outline with a piece missing, and the picture it was taken from."""

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.data.image_sets import SPLITS, ImageData


def outlines(images: Tensor) -> Tensor:
    """The inner border of the ink: pixels above one half with a neighbour (above, below, beside) that is not.

    Args:
        images: `(N, 1, H, W)` in [0, 1].

    Returns:
        The same shape, 0 or 1.
    """
    ink = (images > 0.5).to(images)
    paper = F.pad(1 - ink, (1, 1, 1, 1), value=1.0)
    above, below = paper[..., :-2, 1:-1], paper[..., 2:, 1:-1]
    left, right = paper[..., 1:-1, :-2], paper[..., 1:-1, 2:]
    return ink * torch.maximum(torch.maximum(above, below), torch.maximum(left, right))


def edge_pairs(data: ImageData, gap: int = 12, seed: int = 0) -> ImageData:
    """Pairs as two channels: the outline, from which a square of `gap` pixels is rubbed out, and the image.

    What stood in the gap is left to the reader: several images fit one outline.

    Raises:
        ValueError: images that are not grey, or a gap wider than they are.
    """
    if data.shape[0] != 1 or not 0 <= gap <= min(data.shape[1:]):
        raise ValueError(f"pairs need grey images of at least {gap} pixels; {data.name} has {data.shape}")
    n, (_, height, width) = len(data), data.shape
    generator = torch.Generator().manual_seed(2 * seed + SPLITS.index(data.split))
    top, left = (torch.randint(side - gap + 1, (n, 1), generator=generator) for side in (height, width))
    rows, columns = torch.arange(height), torch.arange(width)
    inside_rows, inside_columns = (
        (rows >= top) & (rows < top + gap),
        (columns >= left) & (columns < left + gap),
    )
    kept = ~(inside_rows.unsqueeze(2) & inside_columns.unsqueeze(1))  # (n, H, W)
    edges = (outlines(data.x) * kept.unsqueeze(1) * 255).to(torch.uint8)
    return dataclasses.replace(data, name=f"{data.name}_edges", pixels=torch.cat([edges, data.pixels], 1))

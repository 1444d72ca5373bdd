"""Nearest neighbours among many points without the matrix of all distances, and without that matrix' rounding.

A product of matrices gives many distances at once but rounds them: copies seem apart, and ties fall at random. Here it
only screens; what its rounding leaves open is settled from differences of coordinates, in float64.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from course_lib.metrics.pairwise import CHUNK, check_points

SPARE = 2  # neighbours beyond the k-th that are looked at
BLOCK = 2**19  # coordinates of points held at a time: 4 MB in float64, which a processor's cache takes


def nearest_neighbours(x: Tensor, y: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """The k nearest points of y for each point of x: distances (float64) and indices, `(n, k)` each, nearest first.

    A point of x that is also in y finds itself at distance 0. Which of several equally near points is named is open.

    Args:
        x, y: `(n, d)` and `(m, d)` features, or images, which are compared by pixels.

    Raises:
        ValueError: empty sets, NaN, integers, different sizes, or k not in 1 .. m.
    """
    x, y = x.flatten(1), y.flatten(1)
    check_points(x, y)
    if not 1 <= k <= len(y):
        raise ValueError(f"k must be between 1 and the {len(y)} points to choose from; got {k}")
    return _nearest(x, y, k, _working_type(x, y))


def _nearest(x: Tensor, y: Tensor, k: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    distances = torch.empty(len(x), k, dtype=torch.float64, device=x.device)
    indices = torch.empty(len(x), k, dtype=torch.int64, device=x.device)
    for rows, squared, slack in screened(x, y, dtype):
        found = squared.topk(min(k + SPARE, len(y)), dim=1, largest=False)
        i = torch.arange(rows.start, rows.stop, device=x.device).repeat_interleave(found.indices.shape[1])
        exact = settled(x, y, i, found.indices.flatten()).view_as(found.indices)
        nearest, order = exact.topk(k, dim=1, largest=False)
        distances[rows], indices[rows] = nearest, found.indices.gather(1, order)
        # A point left out may be nearer than the k-th unless the last one looked at lies clearly beyond it.
        crowded = (found.values[:, -1] <= found.values[:, k - 1] + 2 * slack) & (nearest[:, -1] > 0)
        if dtype != torch.float64 and bool(crowded.any()):
            again = rows.start + crowded.nonzero().squeeze(1)
            distances[again], indices[again] = _nearest(x[again], y, k, torch.float64)
    return distances, indices


def screened(x: Tensor, y: Tensor, dtype: torch.dtype | None = None) -> Iterator[tuple[slice, Tensor, float]]:
    """Yield (rows of x, their squared distances to y by matrix products, how far off these may be).

    A chunk has at most `pairwise.CHUNK` distances (or one row). ||x - y||^2 = ||a||^2 + 2 a.c + ||y - c||^2 - 2 a.y with
    a = x - c and c the mean of y: far from the origin that loses fewer digits than the products x.y, and copies no y.
    """
    dtype = dtype or _working_type(x, y)
    centre = y.mean(0).to(dtype)
    blocks = y.split(max(1, BLOCK // y.shape[1]))
    spread = torch.cat([(block.to(dtype) - centre).square().sum(1) for block in blocks])  # ||y - c||^2
    longest = max(block.to(dtype).square().sum(1).max() for block in blocks).sqrt()
    blocks = blocks if y.dtype != dtype else (y,)  # nothing to convert: one product a chunk
    unit = torch.finfo(dtype).eps * (4 + y.shape[1] ** 0.5)
    height = max(1, CHUNK // len(y))
    for start in range(0, len(x), height):
        rows = slice(start, min(start + height, len(x)))
        a = x[rows].to(dtype) - centre
        norm = a.square().sum(1, keepdim=True)
        squared = torch.empty(len(a), len(y), dtype=dtype, device=x.device)
        first = 0
        for block in blocks:
            columns = slice(first, first + len(block))
            torch.addmm(spread[columns], a, block.to(dtype).T, alpha=-2, out=squared[:, columns])
            first += len(block)
        squared += norm + 2 * (a @ centre).unsqueeze(1)
        largest = norm.max()
        yield rows, squared, (unit * (largest + spread.max() + 2 * largest.sqrt() * longest)).item()


def settled(x: Tensor, y: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """||x_i - y_j|| of single pairs from differences in float64: 0 for copies, and equal for equal pairs."""
    pairs = max(1, BLOCK // x.shape[1])
    return torch.cat(
        [
            torch.linalg.vector_norm(x[a].double() - y[b].double(), dim=1)
            for a, b in zip(i.split(pairs), j.split(pairs), strict=True)
        ]
    )


def _working_type(x: Tensor, y: Tensor) -> torch.dtype:
    return torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)

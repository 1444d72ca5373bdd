"""Distances between two finite samples, against the number of points and the dimension: W1, sliced W2 and MMD.

The plug-in value: the distance between two empirical laws. Two samples of N(0, I) have the true distance 0; a sample of
N(0, I) and one shifted by 1 along the first axis have W1 = 1. Smoke: few dimensions, up to 512 points.
"""

import numpy as np
import torch

from course_lib.distributions import gaussian_mmd2
from course_lib.metrics import mmd2, sliced_wasserstein2, wasserstein1

DISTANCES = ("W1", "sliced W2", "MMD")
SHIFT = 1.0


def run(tier: str) -> dict[str, np.ndarray]:
    """`n` (S,), `dim` (K,); `same` and `shifted` (3, K, S, seeds), rows DISTANCES; `truth` (3, K) of the shifted pair."""
    smoke = tier == "smoke"
    sizes = (32, 64, 128, 256, 512) if smoke else (32, 64, 128, 256, 512, 1024, 2048)
    dims = (1, 2, 5, 10) if smoke else (1, 2, 3, 5, 10, 20)
    seeds = 2 if smoke else 4
    values = np.zeros((2, len(DISTANCES), len(dims), len(sizes), seeds))
    for k, dim in enumerate(dims):
        for s, n in enumerate(sizes):
            for seed in range(seeds):
                generator = torch.Generator().manual_seed(1_000 * k + 10 * s + seed)
                x, y = torch.randn(2, n, dim, generator=generator, dtype=torch.float64)
                for shift in (0, 1):
                    moved = y + shift * SHIFT * torch.eye(dim, dtype=y.dtype)[0]
                    values[shift, :, k, s, seed] = _distances(x, moved, generator)
    return {
        "n": np.array(sizes),
        "dim": np.array(dims),
        "same": values[0],
        "shifted": values[1],
        "truth": np.array([_truth(dim) for dim in dims]).T,
    }


def _distances(x: torch.Tensor, y: torch.Tensor, generator: torch.Generator) -> list[float]:
    return [
        wasserstein1(x, y).item(),
        sliced_wasserstein2(x, y, 100, generator).sqrt().item(),
        mmd2(x, y, kernel="gaussian", scales=(1.0,), unbiased=False).clamp(min=0).sqrt().item(),
    ]


def _truth(dim: int) -> list[float]:
    zero, eye = torch.zeros(dim, dtype=torch.float64), torch.eye(dim, dtype=torch.float64)
    mmd = gaussian_mmd2(zero, eye, SHIFT * eye[0], eye, 2.0 * dim).sqrt().item()
    return [SHIFT, SHIFT / dim**0.5, mmd]

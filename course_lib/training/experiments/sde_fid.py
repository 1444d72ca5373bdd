"""Quality against evaluations for one trained network: seven samplers of the diffusion model of chapter 18.

Smoke: an untrained network, a handful of images. Larger tiers: the checkpoint `ddpm_mnist`. All samplers start from the same noise and
labels, equally many of each. Fréchet distances on LeNet features against the stored statistics of the test set.
"""

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from course_lib.data import dataset
from course_lib.metrics import fid
from course_lib.models import load
from course_lib.models.score_sde import VPSDE, of_ddpm
from course_lib.training import build, recipe
from course_lib.training.experiments.sde_steps import METHODS, draw

SHOWN = 10
# The better of the two for few steps, in a trial with 50 images.
GRID = {name: "log_ratio" if name in ("Heun", "DPM-Solver-2") else "uniform" for name in METHODS}
FREE = "DDIM, data not clipped"


def pictures(x: Tensor) -> np.ndarray:
    """Images `(..., 1, 28, 28)` in [0, 1] as bytes."""
    return (255 * x.clamp(0, 1)).round().to(torch.uint8).numpy()


def run(tier: str) -> dict[str, np.ndarray]:
    """`method` (M,), `evaluations` (E,), `fid`, `low`, `high` (M, E) of `n` samples; `samples` (M, E, 10, 1, 28, 28) bytes, from
    the same noise in every row; `floor` the distance of n training images; `data` the name."""
    smoke = tier == "smoke"
    name, n, budgets = ("glyphs", 20, (4, 8)) if smoke else ("mnist", 500, (10, 20, 50))
    model, sde = build(recipe("ddpm", name, tier)).eval() if smoke else load(f"ddpm_{name}"), VPSDE()
    y = torch.arange(n) % model.classes
    noise = sde.prior_sample(torch.empty(n, *model.shape), torch.Generator().manual_seed(0))
    names = [*METHODS, FREE]
    found = {key: np.zeros((len(names), len(budgets))) for key in ("fid", "low", "high")}
    samples = np.zeros((len(names), len(budgets), SHOWN, *model.shape), dtype=np.uint8)
    for k, budget in enumerate(tqdm(budgets, desc="sde_fid")):
        for i, method in enumerate(names):
            parts = []
            sampler, clip = ("DDIM (eta = 0)", False) if method == FREE else (method, True)
            for number, (part, labels) in enumerate(zip(noise.split(100), y.split(100), strict=True)):
                score = of_ddpm(model, sde, labels, clip)
                x = draw(sampler, sde, score, part, budget, GRID[sampler], seed=number)
                parts.append(((x + 1) / 2).clamp(0, 1))
            x = torch.cat(parts)
            value = fid(name, x, seed=0)
            found["fid"][i, k], (found["low"][i, k], found["high"][i, k]) = value.value, value.interval
            samples[i, k] = pictures(x[:SHOWN])
    return {
        "method": np.array(names),
        "evaluations": np.array(budgets),
        "n": np.array(n),
        **found,
        "samples": samples,
        "floor": np.array(fid(name, dataset(name, "train", n=n).x).value),
        "data": np.array(name),
    }

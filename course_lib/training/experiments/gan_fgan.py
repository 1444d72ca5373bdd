"""One game, many divergences: a Gaussian generator fitted to a mixture by f-GAN, against the exact minimiser.

The generator is x = mean + std * z, the critic a small network, the data a fixed mixture of two Gaussians. The exact
minimiser comes from the divergence's integral. Three seeds. Smoke: four objectives, one seed, fewer steps.
"""

import math

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from course_lib.data import toy2d
from course_lib.metrics import F_DIVERGENCES
from course_lib.models.gan import GAN
from course_lib.nn import MLP
from course_lib.training import Recipe, fit

TARGET = toy2d.Mixture1D((0.7, 0.3), (-1.0, 1.5), (0.5, 0.5))
NAMES = ("kl", "pearson", "gan", "squared_hellinger", "jeffreys", "non_saturating", "reverse_kl")
GRID = torch.linspace(-12, 12, 4_001, dtype=torch.float64)


class Affine(nn.Module):
    """x = mean + std * z."""

    def __init__(self):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(1))
        self.log_std = nn.Parameter(torch.zeros(1))

    def forward(self, z: Tensor) -> Tensor:
        return self.mean + self.log_std.exp() * z


def divergence(name: str, mean: float, std: float) -> float:
    """From the data to N(mean, std^2), by quadrature; for "non_saturating" 2 KL((p + q) / 2 || p)."""
    log_p = TARGET.log_prob(GRID)
    log_q = torch.distributions.Normal(mean, std).log_prob(GRID)
    if name == "non_saturating":
        log_m = torch.logaddexp(log_p, log_q) - math.log(2)
        return 2 * F_DIVERGENCES["kl"].quadrature(log_m, log_p, GRID).item()
    return F_DIVERGENCES[name].quadrature(log_p, log_q, GRID).item()


def exact(name: str) -> np.ndarray:
    """Mean and standard deviation of the Gaussian with the smallest divergence."""
    starts = ((0.0, 0.0), (-1.0, -0.7), (1.0, -0.7))
    fits = [
        minimize(
            lambda v: divergence(name, v[0], float(np.exp(v[1]))),
            start,
            method="Nelder-Mead",
            bounds=((-3, 3), (-1, 1)),  # where the grid resolves q and holds it
        )
        for start in starts
    ]
    mean, log_std = min(fits, key=lambda fit: fit.fun).x
    return np.array([mean, np.exp(log_std)])


def run(tier: str) -> dict[str, np.ndarray]:
    """`name` (K,) objectives; `exact` (K, 2) mean and standard deviation of the minimiser; `learned` (K, seeds, 2)."""
    smoke = tier == "smoke"
    names = ("kl", "gan", "non_saturating", "reverse_kl") if smoke else NAMES
    data = TARGET(20_000, torch.Generator().manual_seed(0)).unsqueeze(1)
    plan = Recipe(
        "gan",
        "mixture",
        tier,
        steps=200 if smoke else 1_000,
        batch_size=256,
        lr=3e-2,
        schedule="cosine",
        optimizer_options={"betas": [0.5, 0.9]},
        clip_norm=10.0,
    )
    learned = []
    for name in names:
        rows = []
        for seed in (0,) if smoke else (0, 1, 2):
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                critic = nn.Sequential(MLP([1, 32, 32, 1], nn.Tanh), nn.Flatten(0))
            model = GAN(Affine(), critic, 1, objective=name, images=False)
            fit(model, data, plan.replace(seed=seed), progress=False)
            rows.append([model.generator.mean.item(), model.generator.log_std.exp().item()])
        learned.append(rows)
    return {
        "name": np.array(names),
        "exact": np.array([exact(name) for name in names]),
        "learned": np.array(learned),
    }

"""What an evaluation of the score buys: the error of six samplers on two grids of times, with the exact score.

A bimodal law on the line, where the distance to the truth is an integral, and a Gaussian in the plane, where the probability
flow is known point by point. Smoke: fewer points, fewer evaluations.
"""

import numpy as np
import torch
from torch import Tensor

from course_lib.data import mixture1d
from course_lib.distributions import gaussian_w2
from course_lib.models.exact_score import mixture_score
from course_lib.models.score_sde import VPSDE, gaussian_flow
from course_lib.sampling import sde as samplers

# name -> sampler, evaluations of the score a step, options
METHODS = {
    "Euler-Maruyama": (samplers.euler_maruyama, 1, {}),
    "predictor-corrector": (samplers.predictor_corrector, 2, {}),
    "ancestral (eta = 1)": (samplers.ddim, 1, {"eta": 1.0}),
    "DDIM (eta = 0)": (samplers.ddim, 1, {}),
    "Heun": (samplers.heun, 2, {}),
    "DPM-Solver-2": (samplers.dpm_solver_2, 2, {}),
}
FLOWS = ("DDIM (eta = 0)", "Heun", "DPM-Solver-2")
GRIDS = ("uniform", "log_ratio")
END = 1e-3
MEAN = torch.tensor([0.7, -0.4], dtype=torch.float64)
COV = torch.tensor([[0.5, 0.3], [0.3, 0.4]], dtype=torch.float64)


def draw(method: str, sde, score, x: Tensor, evaluations: int, grid: str, seed: int = 0) -> Tensor:
    """Samples from noise `x` by a sampler of `METHODS` with a budget of evaluations."""
    sampler, cost, options = METHODS[method]
    if sampler.__name__ not in samplers.DETERMINISTIC:
        options = {**options, "generator": torch.Generator().manual_seed(seed)}
    return sampler(sde, score, x, samplers.time_grid(sde, evaluations // cost, END, grid), **options)


def quantiles(n: int) -> Tensor:
    """The n middle quantiles of `mixture1d`, by inverting its distribution function on a fine grid."""
    x = torch.linspace(-4, 5, 200_001, dtype=torch.float64)
    z = (x[:, None] - mixture1d.means) / mixture1d.stds
    reached = (mixture1d.weights * torch.special.ndtr(z)).sum(1)
    middle = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return x[torch.searchsorted(reached, middle).clamp(max=len(x) - 1)]


def run(tier: str) -> dict[str, np.ndarray]:
    """`method` (M,), `grid` (G,), `evaluations` (E,); (M, G, E): `mixture` the W_1 distance of `n` samples to the bimodal law,
    `gaussian` the W_2 distance between the samples' moments and the Gaussian's, `flow` the root mean square distance from the
    exact probability flow (NaN for samplers that add noise). `mixture_floor`, `gaussian_floor`: of draws of the truth."""
    smoke = tier == "smoke"
    n = 2_000 if smoke else 20_000
    budgets = (4, 8, 16, 32, 64) if smoke else (4, 8, 16, 32, 64, 128, 256, 512)
    sde, one = VPSDE(), torch.ones(1, dtype=torch.float64)
    truth = quantiles(n)
    spots = (mixture1d.weights, mixture1d.means[:, None], mixture1d.stds[:, None, None] ** 2)
    generator = torch.Generator().manual_seed(0)
    line, plane = (sde.prior_sample(torch.empty(n, d, dtype=torch.float64), generator) for d in (1, 2))
    exact = gaussian_flow(sde, plane, 1.0, END, MEAN, COV)

    def spots_score(x: Tensor, t: Tensor) -> Tensor:
        a, s = sde.marginal(t[:1])
        return mixture_score(x, a, s, *spots)

    def plane_score(x: Tensor, t: Tensor) -> Tensor:
        a, s = sde.marginal(t[:1])
        return mixture_score(x, a, s, one, MEAN[None], COV[None])

    def w1(x: Tensor) -> float:
        return (x.flatten().sort().values - truth).abs().mean().item()

    def w2(x: Tensor) -> float:
        return gaussian_w2(x.mean(0), torch.cov(x.T), MEAN, COV).sqrt().item()

    shape = (len(METHODS), len(GRIDS), len(budgets))
    arrays = {name: np.full(shape, np.nan) for name in ("mixture", "gaussian", "flow")}
    for i, method in enumerate(METHODS):
        for j, grid in enumerate(GRIDS):
            for k, budget in enumerate(budgets):
                arrays["mixture"][i, j, k] = w1(draw(method, sde, spots_score, line, budget, grid))
                x = draw(method, sde, plane_score, plane, budget, grid)
                arrays["gaussian"][i, j, k] = w2(x)
                if method in FLOWS:
                    arrays["flow"][i, j, k] = (x - exact).square().sum(1).mean().sqrt().item()
    drawn = MEAN + torch.randn(n, 2, generator=generator, dtype=torch.float64) @ torch.linalg.cholesky(COV).T
    return {
        "method": np.array(list(METHODS)),
        "grid": np.array(GRIDS),
        "evaluations": np.array(budgets),
        "n": np.array(n),
        **arrays,
        "mixture_floor": np.array(w1(mixture1d(n, generator).double())),
        "gaussian_floor": np.array(w2(drawn)),
    }

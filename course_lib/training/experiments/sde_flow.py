"""Flow matching against diffusion at equal evaluations, and how straight their paths are.

Smoke: untrained networks, a handful of images. Larger tiers: the checkpoints on MNIST, of one network, one
number of steps and one share of withheld labels. All start from the same noise and labels, equally many of each.
"""

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from course_lib.metrics import fid
from course_lib.models import load
from course_lib.models.score_sde import VPSDE, of_ddpm
from course_lib.sampling import ode
from course_lib.sampling.sde import ddim, dpm_solver_2, probability_flow, time_grid
from course_lib.training import build, recipe
from course_lib.training.experiments.sde_fid import SHOWN, pictures

METHODS = ("flow, Euler", "flow, midpoint", "diffusion, DDIM", "diffusion, DPM-Solver-2")


def bend(path: Tensor) -> Tensor:
    """Length of each trajectory over the distance of its ends, `(B,)`: 1 for straight lines. path `(S + 1, B, ...)`."""
    length = path.diff(dim=0).flatten(2).norm(dim=2).sum(0)
    return length / (path[-1] - path[0]).flatten(1).norm(dim=1)


def run(tier: str) -> dict[str, np.ndarray]:
    """`method` (M,), `evaluations` (E,), `fid` (M, E) of `n` samples of `data`, `samples` (M, E, 10, 1, 28, 28) bytes; `bend` (2,)
    length over distance of the paths of flow and diffusion."""
    smoke = tier == "smoke"
    name, n, budgets = ("glyphs", 20, (4,)) if smoke else ("mnist", 500, (2, 4, 10, 20, 40))
    flow, diffusion = (
        build(recipe(family, name, tier)).eval() if smoke else load(f"{family}_{name}")
        for family in ("flow_matching", "ddpm")
    )
    sde = VPSDE()

    def draw(method: str, x: Tensor, y: Tensor, budget: int) -> Tensor:
        if method.startswith("flow"):
            solver = method.split(", ")[1].lower()
            return flow.decode(x, y, steps=budget // ode.EVALUATIONS[solver], solver=solver)
        score = of_ddpm(diffusion, sde, y)
        if method == "diffusion, DDIM":
            x = ddim(sde, score, x, time_grid(sde, budget))
        else:
            x = dpm_solver_2(sde, score, x, time_grid(sde, budget // 2, spacing="log_ratio"))
        return (x + 1) / 2

    noise = torch.randn(n, *flow.shape, generator=torch.Generator().manual_seed(0))
    y = torch.arange(n) % flow.classes
    value = np.zeros((len(METHODS), len(budgets)))
    samples = np.zeros((len(METHODS), len(budgets), SHOWN, *flow.shape), dtype=np.uint8)
    for k, budget in enumerate(tqdm(budgets, desc="sde_flow")):
        for i, method in enumerate(METHODS):
            parts = zip(noise.split(100), y.split(100), strict=True)
            x = torch.cat([draw(method, *part, budget) for part in parts]).clamp(0, 1)
            value[i, k] = fid(name, x, seed=0).value
            samples[i, k] = pictures(x[:SHOWN])
    few, labels = noise[: 5 if smoke else 50], y[: 5 if smoke else 50]
    diffusion_flow = probability_flow(sde, of_ddpm(diffusion, sde, labels))
    with torch.no_grad():
        paths = [
            flow.decode(few, labels, steps=30, path=True),
            ode.solve(diffusion_flow, few, time_grid(sde, 30, spacing="log_ratio"), path=True),
        ]
    return {
        "method": np.array(METHODS),
        "evaluations": np.array(budgets),
        "n": np.array(n),
        "data": np.array(name),
        "fid": value,
        "samples": samples,
        "bend": np.array([bend(path).mean().item() for path in paths]),
    }

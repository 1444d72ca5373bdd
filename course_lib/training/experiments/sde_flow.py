"""Flow matching against diffusion at equal evaluations, how straight their paths are, and reflow on two moons.

Smoke: untrained networks, a handful of images, short trainings. Larger tiers: the checkpoints on MNIST, of one network, one
number of steps and one share of withheld labels. Labels are left out in sampling.
"""

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from course_lib.data import toy2d
from course_lib.metrics import fid, wasserstein1
from course_lib.models import load
from course_lib.models.flow_matching import couple, straightness
from course_lib.models.score_sde import VPSDE, of_ddpm
from course_lib.sampling import ode
from course_lib.sampling.sde import ddim, dpm_solver_2, probability_flow, time_grid
from course_lib.training import build, fit, recipe
from course_lib.training.experiments.sde_fid import SHOWN, pictures

METHODS = ("flow, Euler", "flow, midpoint", "diffusion, DDIM", "diffusion, DPM-Solver-2")
TOY_STEPS = (1, 2, 4, 8, 16, 32)


def bend(path: Tensor) -> Tensor:
    """Length of each trajectory over the distance of its ends, `(B,)`: 1 for straight lines. path `(S + 1, B, ...)`."""
    length = path.diff(dim=0).flatten(2).norm(dim=2).sum(0)
    return length / (path[-1] - path[0]).flatten(1).norm(dim=1)


def images(tier: str) -> dict[str, np.ndarray]:
    smoke = tier == "smoke"
    name, n, budgets = ("glyphs", 20, (4,)) if smoke else ("mnist", 500, (2, 4, 10, 20, 40))
    flow, diffusion = (
        build(recipe(family, name, tier)).eval() if smoke else load(f"{family}_{name}")
        for family in ("flow_matching", "ddpm")
    )
    sde = VPSDE()
    score = of_ddpm(diffusion, sde)

    def draw(method: str, x: Tensor, budget: int) -> Tensor:
        if method.startswith("flow"):
            solver = method.split(", ")[1].lower()
            return flow.decode(x, steps=budget // ode.EVALUATIONS[solver], solver=solver)
        if method == "diffusion, DDIM":
            x = ddim(sde, score, x, time_grid(sde, budget))
        else:
            x = dpm_solver_2(sde, score, x, time_grid(sde, budget // 2, spacing="log_ratio"))
        return (x + 1) / 2

    noise = torch.randn(n, *flow.shape, generator=torch.Generator().manual_seed(0))
    value = np.zeros((len(METHODS), len(budgets)))
    samples = np.zeros((len(METHODS), len(budgets), SHOWN, *flow.shape), dtype=np.uint8)
    for k, budget in enumerate(tqdm(budgets, desc="sde_flow")):
        for i, method in enumerate(METHODS):
            x = torch.cat([draw(method, part, budget) for part in noise.split(100)]).clamp(0, 1)
            value[i, k] = fid(name, x, seed=0).value
            samples[i, k] = pictures(x[:SHOWN])
    few = noise[: 5 if smoke else 50]
    with torch.no_grad():
        paths = [
            flow.decode(few, steps=30, path=True),
            ode.solve(probability_flow(sde, score), few, time_grid(sde, 30, spacing="log_ratio"), path=True),
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


def toy(tier: str) -> dict[str, np.ndarray]:
    smoke = tier == "smoke"
    plan = recipe("flow_matching", "two_moons", "smoke")
    plan = plan.replace(steps=60 if smoke else plan.steps)
    data = toy2d.two_moons(50_000, torch.Generator().manual_seed(0))
    test = toy2d.two_moons(1_000, torch.Generator().manual_seed(1))
    noise = torch.randn(1_000, 2, generator=torch.Generator().manual_seed(2))
    rows: dict[str, list] = {"straightness": [], "error": [], "w1": [], "paths": []}
    for number in range(3):
        model = fit(build(plan), data, plan, progress=False).model
        path = model.decode(noise, steps=100, path=True)
        rows["straightness"].append(straightness(path, model.velocity).mean().item())
        rows["paths"].append(path[::5, :60].numpy())
        few = [model.decode(noise, steps=steps, solver="euler") for steps in TOY_STEPS]
        rows["error"].append([(x - path[-1]).square().sum(1).mean().sqrt().item() for x in few])
        rows["w1"].append([wasserstein1(x, test).item() for x in few])
        if number < 2:
            generator = torch.Generator().manual_seed(3 + number)
            data = couple(model, 2_000 if smoke else 50_000, generator=generator, steps=30)
            plan = plan.replace(model={**plan.model, "pairs": True})
    other = toy2d.two_moons(1_000, torch.Generator().manual_seed(9))
    return {
        "toy_steps": np.array(TOY_STEPS),
        **{f"toy_{key}": np.array(values) for key, values in rows.items()},
        "toy_floor": np.array(wasserstein1(other, test).item()),
    }


def run(tier: str) -> dict[str, np.ndarray]:
    """`method` (M,), `evaluations` (E,), `fid` (M, E) of `n` samples of `data`, `samples` (M, E, 10, 1, 28, 28) bytes; `bend` (2,)
    length over distance of the paths of flow and diffusion. A flow on two moons, reflowed once, twice: `toy_straightness` (3,);
    Euler's method with `toy_steps` (K,): `toy_error` (3, K) distance from 100 midpoint steps, `toy_w1` (3, K) distance from the
    data, whose floor is `toy_floor`; `toy_paths` (3, 21, 60, 2)."""
    return {**images(tier), **toy(tier)}

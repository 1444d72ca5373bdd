"""Reflow on two moons: a flow, one trained on its pairs, and one more; how straight they are, and what few Euler steps draw.

Smoke: short trainings.
"""

import numpy as np
import torch

from course_lib.data import toy2d
from course_lib.metrics import wasserstein1
from course_lib.models.flow_matching import couple, straightness
from course_lib.training import build, fit, recipe

STEPS = (1, 2, 4, 8, 16, 32)


def run(tier: str) -> dict[str, np.ndarray]:
    """For a flow, the flow reflowed once, and twice: `straightness` (3,); Euler's method with `steps` (K,): `error` (3, K) distance
    from 100 midpoint steps, `w1` (3, K) distance from the data, whose `floor` is that of other data; `paths` (3, 21, 60, 2)."""
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
        few = [model.decode(noise, steps=steps, solver="euler") for steps in STEPS]
        rows["error"].append([(x - path[-1]).square().sum(1).mean().sqrt().item() for x in few])
        rows["w1"].append([wasserstein1(x, test).item() for x in few])
        if number < 2:
            generator = torch.Generator().manual_seed(3 + number)
            data = couple(model, 2_000 if smoke else 50_000, generator=generator, steps=30)
            plan = plan.replace(model={**plan.model, "pairs": True})
    other = toy2d.two_moons(1_000, torch.Generator().manual_seed(9))
    return {
        "steps": np.array(STEPS),
        **{key: np.array(values) for key, values in rows.items()},
        "floor": np.array(wasserstein1(other, test).item()),
    }

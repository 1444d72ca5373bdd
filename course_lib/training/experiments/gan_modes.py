"""Mode collapse where modes can be counted: SGD and Adam on 25 Gaussians, unrolling on a ring of eight.

Three seeds; on each toy the same networks, data and steps. Smoke: one seed, fewer steps.
"""

import numpy as np
import torch
from torch import Tensor

from course_lib.data import toy2d
from course_lib.metrics import mode_statistics
from course_lib.training import build, fit, load_data, recipe

SAMPLES = 2_500
METHODS = {
    "grid25": {
        "SGD": {"optimizer": "sgd", "lr": 0.1, "optimizer_options": {}},
        "Adam, beta1 = 0.9": {"optimizer_options": {"betas": [0.9, 0.999]}},
        "Adam, beta1 = 0.5": {},
    },
    "ring8": {
        "no look ahead": {},
        "5 steps unrolled": {"unroll": 5, "unroll_lr": 0.01},
    },
}


def score(x: Tensor, toy: toy2d.GaussianModes = toy2d.grid25) -> tuple[int, float]:
    """Modes with at least one good sample, and the share of good samples: within 3 standard deviations of a mode."""
    distance, nearest = torch.cdist(x, toy.modes.to(x)).min(1)
    good = distance < 3 * toy.std
    found = mode_statistics(nearest[good], len(toy.modes))[0] if good.any() else 0
    return found, good.float().mean().item()


def run(tier: str) -> dict[str, np.ndarray]:
    """For each toy T: `T_method` (M,) names; `T_modes` and `T_good` (M, seeds) as `score` counts them on 2,500 samples;
    `T_accuracy` (M, seeds) of the discriminator over the last tenth; `T_samples` (M, 1000, 2) of the first seed; `T_floor`
    (2,) the score of the data themselves; `T_steps`."""
    smoke = tier == "smoke"
    arrays = {}
    for name, methods in METHODS.items():
        plan = recipe("gan", name, "smoke")
        plan = plan.replace(steps=50 if smoke else plan.steps)
        data, toy = load_data(name), getattr(toy2d, name)
        rows: dict[str, list] = {"modes": [], "good": [], "accuracy": [], "samples": []}
        for options in methods.values():
            unroll = {key: options[key] for key in ("unroll", "unroll_lr") if key in options}
            changes = {key: value for key, value in options.items() if key not in unroll}
            found, good, accuracy = [], [], []
            for seed in (0,) if smoke else (0, 1, 2):
                chosen = plan.replace(**changes, model={**plan.model, **unroll}, seed=seed)
                trained = fit(build(chosen), data, chosen, progress=False)
                x = trained.model.sample(SAMPLES, generator=torch.Generator().manual_seed(seed))
                for values, value in zip((found, good), score(x, toy), strict=True):
                    values.append(value)
                accuracy.append(trained.monitors["discriminator_accuracy"][-plan.steps // 10 :].mean())
                if seed == 0:
                    rows["samples"].append(x[:1_000].numpy())
            for key, values in (("modes", found), ("good", good), ("accuracy", accuracy)):
                rows[key].append(values)
        arrays |= {f"{name}_{key}": np.array(values) for key, values in rows.items()}
        arrays[f"{name}_method"] = np.array(list(methods))
        arrays[f"{name}_floor"] = np.array(score(toy(SAMPLES, torch.Generator().manual_seed(9)), toy))
        arrays[f"{name}_steps"] = np.array(plan.steps)
    return arrays

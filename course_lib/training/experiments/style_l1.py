"""L1 alone, the patch game alone, and both, from outlines with a gap to glyphs.

Three seeds, the laptop recipe's model with fewer steps. Smoke: one seed, the smoke recipe's steps.
"""

import numpy as np
import torch

from course_lib.metrics.sharpness import sharpness
from course_lib.training import build, fit, load_data, recipe

METHODS = {"L1": (10.0, 0.0), "patches": (0.0, 1.0), "both": (10.0, 1.0)}


def run(tier: str) -> dict[str, np.ndarray]:
    """`method` (M,) names; on 500 test pairs: `error` (M, seeds) mean |x - target|, `sharpness` (M, seeds) median variance
    after the Laplacian, `spread` (M, seeds) mean deviation of a pixel over 8 draws of the noise; `target_sharpness`;
    `conditions`, `targets` (10, 28, 28) and `images` (M, 10, 28, 28) uint8 of the first seed; `steps`."""
    smoke = tier == "smoke"
    plan = recipe("image_to_image", "glyphs", "smoke")
    plan = plan.replace(steps=plan.steps if smoke else 600)
    data = load_data("glyphs", n=2_000 if smoke else 20_000, **plan.data_options)
    condition, target = load_data("glyphs", "test", n=500, **plan.data_options).x.chunk(2, 1)
    rows: dict[str, list] = {key: [] for key in ("error", "sharpness", "spread", "images")}
    for l1, adversarial in METHODS.values():
        row: dict[str, list] = {key: [] for key in rows}
        for seed in (0,) if smoke else (0, 1, 2):
            options = {**plan.model, "l1": l1, "adversarial": adversarial}
            chosen = plan.replace(model=options, seed=seed)
            model = fit(build(chosen), data, chosen, progress=False).model
            generator = torch.Generator().manual_seed(seed)
            x = model.sample(500, condition, generator=generator)
            draws = torch.stack([model.sample(50, condition[:50], generator=generator) for _ in range(8)])
            row["error"].append((x - target).abs().mean().item())
            row["sharpness"].append(sharpness(x).median().item())
            row["spread"].append(draws.std(0).mean().item())
            row["images"].append((x[:10, 0] * 255).byte().numpy())
        row["images"] = row["images"][0]
        for key, value in row.items():
            rows[key].append(value)
    return {
        "method": np.array(list(METHODS)),
        "steps": np.array(plan.steps),
        "target_sharpness": np.array(sharpness(target).median().item()),
        "conditions": (condition[:10, 0] * 255).byte().numpy(),
        "targets": (target[:10, 0] * 255).byte().numpy(),
    } | {key: np.array(value) for key, value in rows.items()}

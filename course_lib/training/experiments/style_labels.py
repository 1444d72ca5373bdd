"""Does the generator draw the class it is asked for, and well? A discriminator that sees the label, and one that does not.

Glyphs, three seeds, the laptop recipe at width 16 with a quarter of its steps. Smoke: one seed, the smoke recipe.
"""

import numpy as np
import torch

from course_lib.metrics import fid
from course_lib.metrics.features import digit_classifier, in_batches
from course_lib.training import build, fit, load_data, recipe


def confusion(images: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
    """(10, 10): share of the images asked for as class i that the glyph classifier calls class j."""
    seen = in_batches(digit_classifier("glyphs")[0], images).argmax(1)
    table = torch.zeros(10, 10).index_put_((labels, seen), torch.ones(len(images)), accumulate=True)
    return (table / table.sum(1, keepdim=True).clamp(min=1)).numpy()


def run(tier: str) -> dict[str, np.ndarray]:
    """`projection` (2,) False, True; `confusion` (2, seeds, 10, 10) of 1,000 samples; `agreement` (2, seeds) its mean
    diagonal; `fid` (2, seeds) of the samples against as many test glyphs; `images` (2, 20, 28, 28) uint8 of the first seed,
    labels 0..9 twice; `steps`."""
    smoke = tier == "smoke"
    plan = recipe("conditional_gan", "glyphs", "smoke" if smoke else "laptop")
    if not smoke:
        plan = plan.replace(model={"width": 16}, steps=1_500, ema_decay=0.99)
    data = load_data("glyphs", n=2_000 if smoke else 20_000)
    test = load_data("glyphs", "test", n=1_000).x
    tables, images, distances = [], [], []
    labels = torch.arange(1_000) % 10
    for projection in (False, True):
        row, far = [], []
        for seed in (0,) if smoke else (0, 1, 2):
            chosen = plan.replace(model={**plan.model, "projection": projection}, seed=seed)
            model = fit(build(chosen), data, chosen, progress=False).model
            x = model.sample(1_000, labels, generator=torch.Generator().manual_seed(seed))
            row.append(confusion(x, labels))
            far.append(fid(test, x).value)
            if seed == 0:
                images.append((x[:20, 0] * 255).byte().numpy())
        tables.append(row)
        distances.append(far)
    tables = np.array(tables)
    return {
        "projection": np.array([False, True]),
        "confusion": tables,
        "agreement": tables.diagonal(axis1=2, axis2=3).mean(2),
        "fid": np.array(distances),
        "images": np.array(images),
        "steps": np.array(plan.steps),
    }

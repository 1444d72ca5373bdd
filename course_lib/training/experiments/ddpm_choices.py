"""What a diffusion model predicts, its schedule and its variance: FID for two numbers of steps, and bits per dimension.

One small network for each prediction and schedule, and one with learned variances for each schedule, all on the same data with the
same steps; the fixed variances are tried on the same weights. Smoke: glyphs, few steps, less than a look.
"""

import numpy as np
import torch

from course_lib.data import dataset
from course_lib.metrics import fid
from course_lib.models.ddpm import DDPM, PREDICTIONS
from course_lib.training import build, fit, load_data, recipe

SCHEDULES = ("linear", "cosine")


def run(tier: str) -> dict[str, np.ndarray]:
    """`prediction`, `schedule`, `variance` (M,) names of each row; `steps` (S,); `fid` (M, S) of `images` samples against test
    images, LeNet features; `bits` (M,) per dimension from the drawn bound on `bound_images` test images, and `bits_error` (M,)
    its standard error; `fid_last` (2,) of the unaveraged weights at the most steps, for eps and the small variance, one a
    schedule; `samples` (M, 10, 28, 28) uint8 at the most steps; `train_steps`."""
    smoke = tier == "smoke"
    name = "glyphs" if smoke else "mnist"
    steps = (4, 8) if smoke else (10, 50)
    images, bound_images = (20, 8) if smoke else (300, 300)
    plan = recipe("ddpm", "glyphs", "smoke")
    plan = plan.replace(data=name, steps=4 if smoke else 1_500, batch_size=32, lr=2e-3, ema_decay=0.995)
    data, test = load_data(name), dataset(name, "test", n=max(images, 40)).x
    rows: dict[str, list] = {
        key: [] for key in ("prediction", "schedule", "variance", "fid", "bits", "bits_error", "samples")
    }
    last = []

    def sheet(model: DDPM, count: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        parts = [
            model.sample(min(250, images), generator=generator, steps=count) for _ in range(-(-images // 250))
        ]
        return torch.cat(parts)[:images]

    for schedule in SCHEDULES:
        for prediction in (*PREDICTIONS, "learned"):
            options = {"schedule": schedule, "T": 100 if smoke else 1000, "width": 4 if smoke else 8}
            if prediction == "learned":
                options["variance"] = "learned"
            else:
                options["prediction"] = prediction
            chosen = plan.replace(model={**plan.model, **options})
            raw = build(chosen)
            averaged = fit(raw, data, chosen, progress=False).model
            for variance in ("beta", "posterior") if prediction != "learned" else ("learned",):
                averaged.variance = variance
                sheets = [sheet(averaged, count) for count in steps]
                rows["fid"].append([fid(test, x).value for x in sheets])
                generator = torch.Generator().manual_seed(1)
                bits = torch.cat(
                    [averaged.elbo(part, generator=generator) for part in test[:bound_images].split(250)]
                ) / (-test[0].numel() * np.log(2))
                rows["bits"].append(bits.mean().item())
                rows["bits_error"].append(bits.std().item() / len(bits) ** 0.5)
                rows["samples"].append((sheets[-1][:10, 0] * 255).round().byte().numpy())
                rows["prediction"].append("eps" if prediction == "learned" else prediction)
                rows["schedule"].append(schedule)
                rows["variance"].append(variance)
            if prediction == "eps":
                raw.eval().variance = "posterior"
                last.append(fid(test, sheet(raw, steps[-1])).value)
    return {
        **{key: np.array(values) for key, values in rows.items()},
        "steps": np.array(steps),
        "fid_last": np.array(last),
        "images": np.array(images),
        "bound_images": np.array(bound_images),
        "train_steps": np.array(plan.steps),
    }

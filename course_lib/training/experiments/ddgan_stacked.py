"""A thousand modes: stacked digits by a denoising diffusion GAN of four steps, and its discriminator at each step.

The network of the laptop recipe with three colours, one seed; modes are read by the digit classifier as in `gan_stacked` (table
6.3 of the thesis), losses and accuracies are means over fifty steps of training (figure 6.10). Smoke: glyphs, a tiny network,
a few steps. Larger tiers: MNIST.
"""

import numpy as np

from course_lib.metrics import kl_floor, mode_statistics, stacked_modes
from course_lib.training import build, fit, load_data, recipe
from course_lib.training.experiments.gan_stacked import draw

WINDOW = 50


def run(tier: str) -> dict[str, np.ndarray]:
    """`modes`, `kl` on `samples` draws; `data_modes`, `data_kl` of as many test images; `floor` KL of a perfect sampler;
    `images` (20, 3, 28, 28) uint8; `loss`, `accuracy` (T, steps / 50) of the discriminator, first row the last step of sampling;
    `steps`, `batch`, `parameters`."""
    smoke = tier == "smoke"
    data, samples = ("glyphs", 100) if smoke else ("mnist", 5_000)
    plan = recipe("ddgan", "glyphs", "smoke" if smoke else "laptop")
    plan = plan.replace(data=data, tier=tier, steps=WINDOW if smoke else 2_500)
    plan = plan.replace(model={**plan.model, "image_shape": [3, 28, 28]}, data_options={"stack": True})
    run = fit(build(plan), load_data(data, "train", stack=True), plan)
    images = draw(run.model, samples)
    modes, kl = mode_statistics(stacked_modes(images, data), 1000)
    real = load_data(data, "test", stack=True).x[:samples]
    data_modes, data_kl = mode_statistics(stacked_modes(real, data), 1000)
    curves = {
        name: [
            np.nanmean(run.monitors[f"{name}_{k}"].reshape(-1, WINDOW), 1) for k in range(1, run.model.T + 1)
        ]
        for name in ("loss", "accuracy")
    }
    return {
        "modes": np.array(modes),
        "kl": np.array(kl),
        "samples": np.array(samples),
        "data_modes": np.array(data_modes),
        "data_kl": np.array(data_kl),
        "floor": np.array(kl_floor(1000, samples)),
        "images": (255 * images[:20]).round().byte().numpy(),
        **{name: np.array(values) for name, values in curves.items()},
        "steps": np.array(plan.steps),
        "batch": np.array(plan.batch_size),
        "parameters": np.array(sum(p.numel() for p in run.model.parameters())),
    }

"""The VAE's bound on training and test images while it trains, and the importance-weighted bound against k.

Three seeds. Smoke: glyphs, 500 steps. Larger tiers: statically binarised MNIST by its laptop recipe, half as many steps.
"""

import numpy as np
import torch
from torch import Tensor

from course_lib.models.vae import VAE
from course_lib.training import fit, load_data, recipe

SEEDS = (0, 1, 2)
CURVE_IMAGES = 2_000


class Watched(VAE):
    """A VAE that notes its ELBO on two fixed sets of images every `every` steps of its own training."""

    def watch(self, every: int, **images: Tensor) -> None:
        self.every, self.images, self.calls = every, images, 0
        self.curve = {name: [] for name in images}

    def loss(self, x: Tensor, y: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        if self.calls % self.every == 0:
            self.note()
        self.calls += 1
        return super().loss(x, y, generator=generator)

    @torch.no_grad()
    def note(self) -> None:
        for name, images in self.images.items():
            generator = torch.Generator().manual_seed(self.calls)
            values = [self.elbo(part, generator=generator) for part in images.split(500)]
            self.curve[name].append(torch.cat(values).mean().item())


def run(tier: str) -> dict[str, np.ndarray]:
    """`step` (S,), `train` and `test` (seeds, S) ELBOs; `k` (K,), `bound` (seeds, K) mean importance-weighted bound on
    `bound_images` test images; `nll` (seeds,) minus the bound with the largest k. Nats an image."""
    smoke = tier == "smoke"
    plan = recipe("vae", "glyphs" if smoke else "mnist", "smoke" if smoke else "laptop")
    steps = 500 if smoke else plan.steps // 2
    ks = (1, 2, 5, 10, 20, 50) if smoke else (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
    bound_images = 200 if smoke else 1_000
    train = load_data(plan.data, "train", **plan.data_options)
    test = load_data(plan.data, "test", **plan.data_options)
    curves: dict[str, list] = {"train": [], "test": []}
    bounds = []
    for seed in SEEDS:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = Watched(**plan.model)
        model.watch(max(1, steps // 40), train=train.x[:CURVE_IMAGES], test=test.x[:CURVE_IMAGES])
        fit(model, train, plan.replace(steps=steps, seed=seed))
        model.note()
        for name, values in model.curve.items():
            curves[name].append(values)
        generator = torch.Generator().manual_seed(seed)
        images = test.x[:bound_images]
        bounds.append(
            [
                torch.cat([model.iwae(p, k, generator=generator) for p in images.split(100)]).mean().item()
                for k in ks
            ]
        )
    noted = np.minimum(np.arange(len(curves["test"][0])) * max(1, steps // 40), steps)
    return {
        "step": noted,
        **{name: np.array(values) for name, values in curves.items()},
        "k": np.array(ks),
        "bound": np.array(bounds),
        "bound_images": np.array(bound_images),
        "nll": -np.array(bounds)[:, -1],
    }

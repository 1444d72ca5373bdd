"""What R1 and the minibatch's deviation do where modes can be counted: four games on 25 Gaussians.

Three seeds; the same networks, data and steps. Smoke: one seed, fewer steps.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.models.gan import GAN
from course_lib.models.style import r1_penalty
from course_lib.nn import MLP
from course_lib.nn.style import minibatch_deviation
from course_lib.training import Recipe, fit, load_data
from course_lib.training.experiments.gan_modes import score

SAMPLES = 2_500
GAMMA = 0.3
METHODS = {
    "neither": (0.0, False),
    "deviation": (0.0, True),
    "R1": (GAMMA, False),
    "both": (GAMMA, True),
}


class Spread(nn.Module):
    """Points `(B, d)` with the deviation of their group as one more coordinate."""

    def forward(self, x: Tensor) -> Tensor:
        return minibatch_deviation(x[:, :, None, None], group=16).flatten(1)


class RegularisedGAN(GAN):
    """A GAN whose discriminator pays gamma/2 R1 at every step."""

    gamma = 0.0

    def training_step(self, x: Tensor, y=None, *, generator=None) -> Iterator[tuple[str, Tensor]]:
        for group, loss in super().training_step(x, generator=generator):
            if group == "discriminator" and self.gamma:
                loss = loss + self.gamma / 2 * r1_penalty(self.discriminator, x)
            yield group, loss


def make(gamma: float, deviation: bool, seed: int) -> RegularisedGAN:
    """MLPs of 3 x 128 units."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = MLP([2, 128, 128, 128, 2], nn.ReLU)
        critic = MLP([2 + deviation, 128, 128, 128, 1], nn.ReLU)
        front = Spread() if deviation else nn.Identity()
        model = RegularisedGAN(generator, nn.Sequential(front, critic, nn.Flatten(0)), 2, images=False)
    model.gamma = gamma
    return model


def run(tier: str) -> dict[str, np.ndarray]:
    """`method` (M,) names; `modes`, `good` (M, seeds) as `gan_modes.score` counts them on 2,500 samples; `accuracy` (M,
    seeds) of the discriminator and `swing` (M, seeds) its gradient norm, both over the last tenth; `samples` (M, 1000, 2) of
    the first seed; `steps`."""
    smoke = tier == "smoke"
    steps = 250 if smoke else 4_000
    data = load_data("grid25")
    rows: dict[str, list] = {key: [] for key in ("modes", "good", "accuracy", "swing", "samples")}
    for gamma, deviation in METHODS.values():
        row: dict[str, list] = {key: [] for key in rows}
        for seed in (0,) if smoke else (0, 1, 2):
            plan = Recipe(
                "gan", "grid25", tier, steps=steps, batch_size=128, lr=1e-3, seed=seed,
                optimizer_options={"betas": [0.0, 0.99]},
            )  # fmt: skip
            trained = fit(make(gamma, deviation, seed), data, plan, progress=False)
            x = trained.model.sample(SAMPLES, generator=torch.Generator().manual_seed(seed))
            modes, good = score(x)
            last = slice(-steps // 10, None)
            accuracy = trained.monitors["discriminator_accuracy"][last].mean()
            swing = trained.grad_norms["discriminator"][last].mean()
            for key, value in zip(rows, (modes, good, accuracy, swing, x[:1_000].numpy()), strict=True):
                row[key].append(value)
        row["samples"] = row["samples"][0]
        for key, value in row.items():
            rows[key].append(value)
    return {"method": np.array(list(METHODS)), "steps": np.array(steps)} | {
        key: np.array(value) for key, value in rows.items()
    }

"""One network and one training time, four games: FID and the critic's own reading along the way, three seeds.

The same generator, the same discriminator but for its normalisation, and steps chosen so that all games take about the same
processor time (measured here, in `seconds`). Smoke: glyphs, one seed, a few steps. Larger tiers: MNIST.
"""

import time

import numpy as np
import torch
from torch import nn

from course_lib import models
from course_lib.metrics import fid
from course_lib.training import Recipe, fit, load_data

# name -> (family, model options, optimiser, steps): n_critic as in the papers, a step of each costs n_critic + 1 updates.
GAMES = {
    "non-saturating": ("gan", {}, {"lr": 1e-3, "optimizer_options": {"betas": [0.5, 0.999]}}, 1_920),
    "clipped": (
        "wgan",
        {"lipschitz": "clip", "n_critic": 5},
        {"lr": 3e-4, "optimizer": "rmsprop"},
        570,
    ),
    "penalty": (
        "wgan",
        {"lipschitz": "penalty", "n_critic": 5},
        {"lr": 1e-3, "optimizer_options": {"betas": [0.5, 0.9]}},
        420,
    ),
    "spectral": (
        "wgan",
        {"lipschitz": "spectral", "n_critic": 1},
        {"lr": 1e-3, "optimizer_options": {"betas": [0.5, 0.9]}},
        1_830,
    ),
}
WIDTH, BATCH = 16, 64
LOOKS = 8  # how often a run is measured


def run(tier: str) -> dict[str, np.ndarray]:
    """For each game (rows, in the order of GAMES), seed and look: `fid` (4, seeds, LOOKS) against `images` test images,
    `reading` (4, seeds, LOOKS) what the critic says since the last look (its distance; for the GAN log 2 - loss / 2, its
    estimate of the JSD), `seconds` (4, seeds) processor time, `steps` (4,); `samples` (4, 16, 28, 28) uint8 of seed 0."""
    smoke = tier == "smoke"
    data = load_data("glyphs" if smoke else "mnist")
    images = 300 if smoke else 1_000
    test = load_data(data.name, "test").x[:images]
    seeds, scale = (1, 0.02) if smoke else (3, 1.0)
    rows: dict[str, list] = {"fid": [], "reading": [], "seconds": [], "steps": [], "samples": []}
    for family, options, optimizer, steps in GAMES.values():
        steps = LOOKS * max(2, int(scale * steps / LOOKS))
        batch = BATCH * options.get("n_critic", 1)
        found: dict[str, list] = {"fid": [], "reading": [], "seconds": []}
        for seed in range(seeds):
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                model = models.build(family, width=WIDTH, **options)
            plan = Recipe(family, data.name, tier, steps=steps, batch_size=batch, seed=seed, **optimizer)
            watched = Watched(model, steps // LOOKS, test)
            run = fit(watched, data, plan, progress=False)
            watched.look()
            readings = (
                run.monitors["distance"] if family == "wgan" else np.log(2) - run.losses["discriminator"] / 2
            )
            found["fid"].append(watched.fids[1:])
            found["reading"].append(readings.reshape(LOOKS, -1).mean(1))
            found["seconds"].append(watched.seconds)
            if seed == 0:
                rows["samples"].append((255 * draw(model, 16)[:, 0]).round().byte().numpy())
        for name, values in found.items():
            rows[name].append(values)
        rows["steps"].append(steps)
    return {**{name: np.array(values) for name, values in rows.items()}, "images": np.array(images)}


class Watched(nn.Module):
    """A model that measures its samples' FID every `every` steps of its own training and times the rest."""

    def __init__(self, model: nn.Module, every: int, test: torch.Tensor):
        super().__init__()
        self.model, self.every, self.test = model, every, test
        self.calls, self.seconds, self.fids = 0, 0.0, []

    @property
    def monitors(self) -> dict[str, torch.Tensor]:
        return self.model.monitors

    def parameter_groups(self):
        return self.model.parameter_groups()

    def training_step(self, x, y=None, *, generator=None):
        if self.calls % self.every == 0:
            self.look()
        self.calls += 1
        yield from self.model.training_step(x, y, generator=generator)

    def look(self) -> None:
        now = time.process_time()
        if self.fids:
            self.seconds += now - self.since
        self.model.eval()
        self.fids.append(fid(self.test, draw(self.model, len(self.test))).value)
        self.model.train()
        self.since = time.process_time()


def draw(model: nn.Module, n: int) -> torch.Tensor:
    """The same n noise vectors at every look."""
    model.eval()
    return model.sample(n, generator=torch.Generator().manual_seed(0))

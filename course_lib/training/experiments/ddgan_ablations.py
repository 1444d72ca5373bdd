"""What each part of a denoising diffusion GAN is good for: table 6.2 of the thesis, on 25 Gaussians.

One, two, four and eight steps; one step with the diffusion as data augmentation; a generator that gives x_{t-1} itself, or the
noise; no latent code. Networks of 128 units, the same data, steps and batch. Smoke: one seed, few steps.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from course_lib.data import toy2d
from course_lib.models.ddgan import DDGAN, build, vp_betas
from course_lib.models.gan import discriminator_loss, generator_loss
from course_lib.models.gaussian_diffusion import inward
from course_lib.training import Recipe, fit, load_data
from course_lib.training.experiments.ddgan_grid import DDGAN as SETTINGS
from course_lib.training.experiments.ddgan_grid import transport
from course_lib.training.experiments.gan_modes import SAMPLES, score

AUGMENTED = "one-shot, augmented"
VARIANTS = {
    "T = 1": {"T": 1},
    "T = 2": {"T": 2},
    "T = 4": {},
    "T = 8": {"T": 8},
    AUGMENTED: {"T": 1},
    "direct denoising": {"prediction": "direct"},
    "noise generation": {"prediction": "noise"},
    "no latent code": {"latent_dim": 0},
}


class Augmented(DDGAN):
    """One step from noise to data, judged after data and samples went to a random level of a diffusion of 4 steps; the last
    level, where nothing is left of them, is left out.

    Source: THESIS 6.4.7, "Ablation studies", after Zhao et al. 2020.
    """

    def training_step(
        self, x: Tensor, y: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Iterator[tuple[str, Tensor]]:
        """The discriminator sees noised data and noised samples; the generator's gradient passes through the noising."""
        x0, step = inward(x, self.shape), torch.zeros(len(x), dtype=torch.int64, device=x.device)
        levels = torch.cumprod(1 - vp_betas(4), 0)[:-1]
        alpha_bar = torch.cat([torch.ones(1), levels.float()]).to(x.device)
        start, real_noise, fake_noise = torch.randn(3, *x0.shape, generator=generator, device=x.device)
        share = alpha_bar[torch.randint(4, (len(x0), 1), generator=generator, device=x.device)]
        fake, _ = self.denoise(start, step, generator)
        real = share.sqrt() * x0 + (1 - share).sqrt() * real_noise
        shown = share.sqrt() * fake + (1 - share).sqrt() * fake_noise

        def judge(points: Tensor) -> Tensor:
            return self.discriminator(points, torch.zeros_like(points), step)  # no second point to look at

        yield "discriminator", discriminator_loss(judge(real), judge(shown.detach()))
        yield "generator", generator_loss(judge(shown))


def run(tier: str) -> dict[str, np.ndarray]:
    """`variant` (V,); `modes`, `good`, `w1` (V, seeds) as in `ddgan_grid`; `samples` (V, 1000, 2) of the first seed; `floor`
    (3,) of the data; `steps`."""
    smoke = tier == "smoke"
    steps, seeds = (20, (0,)) if smoke else (3_000, (0, 1))
    data = load_data("grid25")
    test, other = (toy2d.grid25(SAMPLES, torch.Generator().manual_seed(s)) for s in (8, 9))
    rows: dict[str, list] = {"modes": [], "good": [], "w1": [], "samples": []}
    for name, options in VARIANTS.items():
        found: list[tuple] = []
        for seed in seeds:
            chosen = Recipe("ddgan", "grid25", steps=steps, seed=seed, **SETTINGS)
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                model = build(**{**chosen.model, **options})
            if name == AUGMENTED:
                model = Augmented(model.generator, model.discriminator, vp_betas(1), model.latent_dim, (2,))
            trained = fit(model, data, chosen, progress=False).model
            x = trained.sample(SAMPLES, generator=torch.Generator().manual_seed(seed))
            found.append((*score(x), transport(x, test)))
            if seed == 0:
                rows["samples"].append(x[:1_000].numpy())
        for key, values in zip(("modes", "good", "w1"), zip(*found, strict=True), strict=True):
            rows[key].append(values)
    return {
        "variant": np.array(list(VARIANTS)),
        **{key: np.array(values) for key, values in rows.items()},
        "floor": np.array([*score(other), transport(other, test)]),
        "steps": np.array(steps),
    }

"""Twenty-five Gaussians: a denoising diffusion GAN against a GAN, a WGAN-GP and diffusion models of 100 and 500 steps.

Modes, share of good samples, W_1 and evaluations a sample (figure 6.9 of the thesis). One line has the thesis' own networks,
learning rate and batch, for fewer steps than its 50,000; the others share networks of 128 units, batch 256 and their number of
steps. One seed. Smoke: few steps.
"""

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.data import toy2d
from course_lib.metrics import wasserstein1
from course_lib.models.ddgan import vp_betas
from course_lib.models.ddpm import DDPM
from course_lib.nn.mlp import TimeMLP
from course_lib.training import Recipe, build, fit, load_data, recipe
from course_lib.training.experiments.gan_modes import SAMPLES, score

SHARED = {"tier": "smoke", "batch_size": 256, "lr": 1e-3, "schedule": "cosine", "ema_decay": 0.99}
POINTS = {"image_shape": None, "latent_dim": 2, "width": 128, "depth": 3}
# The game's settings on this toy, the same for all opponents; found by short tries of the DDGAN.
GAME = {
    **SHARED,
    "lr": 2e-3,
    "groups": {"generator": {"lr": 1e-3}},
    "optimizer_options": {"betas": [0.5, 0.99]},
}
DDGAN = {**GAME, "model": {**POINTS, "gamma": 0.003, "r1_every": 1}}
THESIS = "DDGAN, thesis"
METHODS = (THESIS, "DDGAN", "GAN", "WGAN-GP", "DDPM 100", "DDPM 500")


def plan(method: str, steps: int) -> Recipe:
    """The recipe of one line of the comparison."""
    if method == THESIS:
        return recipe("ddgan", "grid25", "lab", steps=steps)
    if method == "DDGAN":
        return Recipe("ddgan", "grid25", steps=steps, **DDGAN)
    if method == "GAN":
        return Recipe("gan", "grid25", steps=steps, model=POINTS, **GAME)
    if method == "WGAN-GP":
        n_critic = 5
        options = {**GAME, "batch_size": n_critic * GAME["batch_size"]}
        return Recipe("wgan", "grid25", steps=steps // n_critic, model={**POINTS, "penalty": 1.0}, **options)
    return Recipe("ddpm", "grid25", steps=steps, **SHARED)


def network(method: str, chosen: Recipe) -> nn.Module:
    """Its model. The diffusion models have the schedule of the DDGAN, cut into more steps."""
    if not method.startswith("DDPM"):
        return build(chosen)
    with torch.random.fork_rng():
        torch.manual_seed(chosen.seed)
        return DDPM(TimeMLP(2, 128, 3), vp_betas(int(method.split()[1])), (2,), variance="posterior")


def transport(x: Tensor, y: Tensor) -> float:
    """Exact W_1 of the first 1,000 points of each."""
    return wasserstein1(x[:1_000], y[:1_000]).item()


def run(tier: str) -> dict[str, np.ndarray]:
    """`method` (M,); `modes`, `good` (M,) of 2,500 samples as in `gan_modes`, `w1` (M,) of 1,000; `evaluations`, `steps` (of the
    generator), `batch`, `seconds` of training (M,); `samples` (M, 2500, 2); `floor` (3,) the data's own modes, share and W_1;
    `wanted` steps of the thesis."""
    smoke = tier == "smoke"
    data = load_data("grid25")
    test, other = (toy2d.grid25(SAMPLES, torch.Generator().manual_seed(s)) for s in (8, 9))
    names = ("modes", "good", "w1", "evaluations", "steps", "batch", "seconds", "samples")
    rows: dict[str, list] = {name: [] for name in names}
    for method in METHODS:
        chosen = plan(method, 20 if smoke else 20_000)
        trained = fit(network(method, chosen), data, chosen, progress=False)
        with torch.no_grad():
            x = trained.model.sample(SAMPLES, generator=torch.Generator().manual_seed(0))
        about = (trained.model.n_evaluations, chosen.steps, chosen.batch_size, trained.seconds)
        for values, value in zip(
            rows.values(), (*score(x), transport(x, test), *about, x.numpy()), strict=True
        ):
            values.append(value)
    return {
        "method": np.array(METHODS),
        **{name: np.array(values) for name, values in rows.items()},
        "floor": np.array([*score(other), transport(other, test)]),
        "wanted": np.array(recipe("ddgan", "grid25", "lab").steps),
    }

"""Wasserstein GANs. Times are for one thread of a 2-core machine; a batch holds the images of all n_critic critic steps."""

from course_lib.training.recipe import Recipe

# Little momentum: the critic's target moves with every step of the generator.
ADAM = {"betas": [0.5, 0.9]}

RING = {
    "family": "wgan",
    "data": "ring8",
    "tier": "smoke",
    "model": {"image_shape": None, "latent_dim": 2, "width": 64, "depth": 2, "penalty": 1.0},
    "steps": 400,
    "batch_size": 5 * 128,
    "lr": 2e-3,
    "optimizer_options": ADAM,
    "schedule": "cosine",
}

SMOKE = {
    "family": "wgan",
    "tier": "smoke",
    "model": {"width": 16, "n_critic": 2},
    "steps": 150,
    "batch_size": 2 * 64,
    "lr": 1e-3,
    "optimizer_options": ADAM,
}

# With two critic steps the generator must be the slower one: at equal rates the critic loses its hold on the distance.
LAPTOP = {
    "family": "wgan",
    "tier": "laptop",
    "model": {"width": 32, "n_critic": 2},
    "steps": 6_000,
    "batch_size": 2 * 64,
    "lr": 1e-3,
    "groups": {"generator": {"lr": 3e-4}},
    "optimizer_options": ADAM,
    "schedule": "cosine",
    "ema_decay": 0.998,
    "precision": "bf16",
}

# Gulrajani et al. 2017, algorithm 1: n_critic = 5, lambda = 10, Adam with rate 1e-4 and betas (0, 0.9).
LAB = {
    "family": "wgan",
    "tier": "lab",
    "model": {"width": 64, "latent_dim": 128, "n_critic": 5},
    "steps": 100_000,
    "batch_size": 5 * 64,
    "lr": 1e-4,
    "optimizer_options": {"betas": [0.0, 0.9]},
}

LUCIC = (
    "theirs: WGAN-GP in table 3.2 of the thesis, Inception features, the best of a large search over settings; "
    "ours: LeNet features, one setting"
)


def published(value: float) -> dict:
    """The WGAN-GP of table 3.2 of the thesis."""
    return {"fid": {"value": value, "source": "lucic2018gans", "why": LUCIC}}


RECIPES = [
    Recipe(**RING, note="7 s"),
    Recipe(data="glyphs", **SMOKE, note="9 s"),
    Recipe(data="glyphs", **LAPTOP, data_options={"n": 60_000}, note="12 min"),
    Recipe(data="mnist", **LAPTOP, note="12 min", published=published(20.3)),
    Recipe(data="fashion_mnist", **LAPTOP, note="12 min", published=published(24.5)),
    Recipe(
        data="mnist",
        **{**LAPTOP, "tier": "colab", "model": {"width": 64, "n_critic": 5}, "batch_size": 5 * 64},
    ),
    Recipe(data="mnist", **LAB, published=published(20.3)),
    Recipe(data="fashion_mnist", **LAB, published=published(24.5)),
]

"""Style-based GANs with R1. Times are for one thread of a 2-core machine."""

from course_lib.training.recipe import Recipe

ADAM = {"betas": [0.0, 0.99]}  # Karras et al. 2018: no memory of the gradient's direction

SMOKE = {
    "family": "style",
    "tier": "smoke",
    "model": {"width": 4, "latent_dim": 32, "style_dim": 32, "gamma": 0.05},
    "batch_size": 16,
    "steps": 350,
    "lr": 5e-3,
    "optimizer_options": ADAM,
    "ema_decay": 0.98,
}

LAPTOP = {
    "family": "style",
    "tier": "laptop",
    "model": {"width": 8, "gamma": 0.02},
    "batch_size": 32,
    "steps": 6_000,
    "lr": 2.5e-3,
    "optimizer_options": ADAM,
    "schedule": "cosine",
    "ema_decay": 0.998,
    "precision": "bf16",
}

# As Karras et al. 2019 train, at our size: wider maps, eight layers from z to w, a long average.
LAB = {
    "family": "style",
    "tier": "lab",
    "model": {"width": 64, "latent_dim": 512, "style_dim": 512, "mapping_depth": 8},
    "batch_size": 64,
    "steps": 100_000,
    "lr": 2e-3,
    "optimizer_options": ADAM,
    "ema_decay": 0.9995,
}

WHY = (
    "theirs: a DCGAN-like network, Inception features, the best of a large search over settings, as quoted in table 3.2 of "
    "the thesis (no style-based GAN is published on these data); ours: LeNet features, one setting"
)


def published(value: float) -> dict:
    """The non-saturating GAN of table 3.2 of the thesis, the nearest neighbour."""
    return {"fid": {"value": value, "source": "lucic2018gans", "why": WHY}}


RECIPES = [
    Recipe(data="glyphs", **SMOKE, note="12 s"),
    Recipe(data="glyphs", **LAPTOP, note="8 min"),
    Recipe(data="mnist", **LAPTOP, note="8 min", published=published(6.8)),
    Recipe(data="fashion_mnist", **LAPTOP, note="8 min", published=published(26.5)),
    Recipe(
        data="mnist",
        **{**LAPTOP, "tier": "colab", "model": {"width": 32}, "batch_size": 64, "steps": 20_000},
        published=published(6.8),
    ),
    Recipe(data="mnist", **LAB, published=published(6.8)),
    Recipe(data="fashion_mnist", **LAB, published=published(26.5)),
]

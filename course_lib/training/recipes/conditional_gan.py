"""GANs with labels. Times are for one thread of a 2-core machine."""

from course_lib.training.recipe import Recipe

SMOKE = {
    "family": "conditional_gan",
    "tier": "smoke",
    "model": {"width": 12},
    "batch_size": 32,
    "steps": 250,
    "lr": 1e-3,
    "optimizer_options": {"betas": [0.5, 0.999]},
    "ema_decay": 0.98,
}

LAPTOP = {
    **SMOKE,
    "tier": "laptop",
    "model": {"width": 24},
    "batch_size": 64,
    "steps": 6_000,
    "lr": 1e-3,
    "schedule": "cosine",
    "ema_decay": 0.998,
    "precision": "bf16",
}

LAB = {
    **LAPTOP,
    "tier": "lab",
    "model": {"width": 64, "latent_dim": 128},
    "steps": 100_000,
    "lr": 2e-4,
    "ema_decay": 0.9995,
}

WHY = (
    "theirs: no labels, Inception features, the best of a large search over settings, as quoted in table 3.2 of the thesis; "
    "ours: labels, LeNet features, one setting"
)


def published(value: float) -> dict:
    """The non-saturating GAN of table 3.2 of the thesis, which has no labels."""
    return {"fid": {"value": value, "source": "lucic2018gans", "why": WHY}}


RECIPES = [
    Recipe(data="glyphs", **SMOKE, note="5 s"),
    Recipe(data="glyphs", **LAPTOP, note="5 min"),
    Recipe(data="mnist", **LAPTOP, note="5 min", published=published(6.8)),
    Recipe(data="fashion_mnist", **LAPTOP, note="5 min", published=published(26.5)),
    Recipe(
        data="mnist",
        **{**LAPTOP, "tier": "colab", "model": {"width": 48}, "steps": 20_000},
        published=published(6.8),
    ),
    Recipe(data="mnist", **LAB, published=published(6.8)),
    Recipe(data="fashion_mnist", **LAB, published=published(26.5)),
]

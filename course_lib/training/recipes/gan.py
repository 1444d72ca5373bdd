"""Generative adversarial networks by the non-saturating game. Times are for one thread of a 2-core machine."""

from course_lib.training.recipe import Recipe

ADAM = {
    "betas": [0.5, 0.999]
}  # Radford et al. 2016: a long memory of the gradient's direction makes the game swing

SMOKE = {
    "family": "gan",
    "tier": "smoke",
    "model": {"width": 16},
    "batch_size": 64,
    "steps": 250,
    "lr": 1e-3,
    "optimizer_options": ADAM,
}

LAPTOP = {
    "family": "gan",
    "tier": "laptop",
    "model": {"width": 32},
    "batch_size": 64,
    "steps": 15_000,
    "lr": 5e-4,
    "optimizer_options": ADAM,
    "schedule": "cosine",
    "ema_decay": 0.998,
    "precision": "bf16",
}

# As Radford et al. 2016 train: width 64, batch 128, learning rate 2e-4, weights of the last step.
LAB = {
    "family": "gan",
    "tier": "lab",
    "model": {"width": 64, "latent_dim": 100},
    "batch_size": 128,
    "steps": 50_000,
    "lr": 2e-4,
    "optimizer_options": ADAM,
}

WHY = (
    "theirs: Inception features, the best of a large search over settings, DCGAN-like networks from InfoGAN, as quoted in "
    "table 3.2 of the thesis; ours: LeNet features, one setting"
)


def published(value: float) -> dict:
    """The non-saturating GAN of table 3.2 of the thesis."""
    return {"fid": {"value": value, "source": "lucic2018gans", "why": WHY}}


RECIPES = [
    Recipe(data="glyphs", **SMOKE, note="9 s"),
    Recipe(
        family="gan",
        data="grid25",
        tier="smoke",
        model={"image_shape": None, "latent_dim": 2, "width": 128, "depth": 3},
        batch_size=256,
        steps=4_000,
        lr=1e-3,
        optimizer_options=ADAM,
        note="30 s; some of the 25 modes",
    ),
    Recipe(  # Metz et al. 2017 let a slow discriminator lose sight of the ring
        family="gan",
        data="ring8",
        tier="smoke",
        model={"image_shape": None, "latent_dim": 16, "width": 64, "depth": 2},
        batch_size=128,
        steps=2_000,
        lr=1e-3,
        optimizer_options=ADAM,
        groups={"discriminator": {"lr": 1e-4}},
        note="7 s; the samples run round the ring",
    ),
    Recipe(data="glyphs", **LAPTOP, note="12 min"),
    Recipe(data="mnist", **LAPTOP, note="12 min", published=published(6.8)),
    Recipe(data="fashion_mnist", **LAPTOP, note="12 min", published=published(26.5)),
    Recipe(
        data="mnist",
        **{**LAPTOP, "tier": "colab", "model": {"width": 64}, "steps": 30_000},
        published=published(6.8),
    ),
    Recipe(data="mnist", **LAB, published=published(6.8)),
    Recipe(data="fashion_mnist", **LAB, published=published(26.5)),
]

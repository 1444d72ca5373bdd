"""Denoising diffusion GANs. Times are for one thread of a busy 2-core machine, unless they say otherwise."""

from course_lib.training.recipe import Recipe

ADAM = {"betas": [0.5, 0.9]}  # THESIS, table 6.8

SMOKE = {
    "family": "ddgan",
    "tier": "smoke",
    "model": {
        "width": 8,
        "latent_dim": 16,
        "unet": {"multipliers": [1, 2], "blocks": 1, "attention": [], "style_dim": 32},
        "critic": {"multipliers": [1, 2], "time_dim": 32},
    },
    "batch_size": 16,
    "steps": 100,
    "lr": 1e-3,
    "optimizer_options": ADAM,
}

# The generator learns at a lower rate: at the same one the discriminator is left behind, and knows nothing.
LAPTOP = {
    "family": "ddgan",
    "tier": "laptop",
    "model": {
        "width": 16,
        "discriminator_width": 24,
        "gamma": 0.02,
        "unet": {"blocks": 1, "attention": [7]},
    },
    "batch_size": 32,
    "steps": 7_000,
    "lr": 1e-3,
    "groups": {"generator": {"lr": 2e-4}},
    "optimizer_options": ADAM,
    "schedule": "cosine",
    "ema_decay": 0.998,
    "precision": "bf16",
}

# The learning rates, the batch and the averaging of THESIS, table 6.8, on a network for 28x28.
LAB = {
    "family": "ddgan",
    "tier": "lab",
    "model": {
        "width": 64,
        "latent_dim": 100,
        "unet": {
            "style_dim": 256,
            "resblock": "biggan",
            "fir": True,
            "rescale": True,
            "progressive_input": True,
        },
        "critic": {"multipliers": [1, 2, 4], "time_dim": 128},
    },
    "batch_size": 128,
    "steps": 100_000,
    "lr": 1.6e-4,
    "groups": {"discriminator": {"lr": 1e-4}},
    "optimizer_options": ADAM,
    "schedule": "cosine",
    "ema_decay": 0.9995,
    "precision": "bf16",
}

# Tables 6.6 to 6.8 of the thesis. The released code has a smaller code and style, and one block less in the discriminator.
CIFAR10 = {
    **LAB,
    "model": {
        "image_shape": [3, 32, 32],
        "width": 128,
        "latent_dim": 256,
        "unet": {
            "multipliers": [1, 2, 2, 2],
            "blocks": 2,
            "attention": [16],
            "style_dim": 512,
            "mapping_layers": 3,
            "resblock": "biggan",
            "fir": True,
            "rescale": True,
            "progressive_input": True,
        },
        "critic": {"multipliers": [1, 2, 4, 4, 4], "time_dim": 256},
    },
    "steps": 400_000,
    "ema_decay": 0.9999,
}

# "Toy data and StackedMNIST" of THESIS 6.4.7: three layers of 512, learning rate 1e-4, batch 512, 50,000 steps.
GRID = {
    "family": "ddgan",
    "data": "grid25",
    "model": {"image_shape": None, "latent_dim": 2, "width": 512, "depth": 3},
    "batch_size": 512,
    "lr": 1e-4,
    "optimizer_options": ADAM,
}

WHY_CIFAR10 = (
    "theirs: table 6.1 of the thesis, Inception features, 50,000 samples; ours: not yet trained at this size"
)
WHY = (
    "theirs: the non-saturating GAN of table 3.2 of the thesis, Inception features, the best of a large search over settings "
    "(no denoising diffusion GAN is published on these data); ours: LeNet features, one setting"
)


def published(value: float) -> dict:
    """The nearest published neighbour on 28x28 images."""
    return {"fid": {"value": value, "source": "lucic2018gans", "why": WHY}}


RECIPES = [
    Recipe(data="glyphs", **SMOKE, note="10 s"),
    Recipe(data="glyphs", **{**LAPTOP, "steps": 5_000}, data_options={"n": 60_000}, note="30 min"),
    Recipe(data="mnist", **LAPTOP, note="40 min", published=published(6.8)),
    Recipe(data="fashion_mnist", **LAPTOP, note="40 min", published=published(26.5)),
    Recipe(**GRID, tier="laptop", steps=3_000, note="not enough steps: see the experiment ddgan_grid"),
    Recipe(**GRID, tier="lab", steps=50_000),
    Recipe(data="mnist", **LAB, published=published(6.8)),
    Recipe(data="fashion_mnist", **LAB, published=published(26.5)),
    Recipe(
        data="cifar10",
        **CIFAR10,
        published={"fid": {"value": 3.75, "source": "xiao2022designing", "why": WHY_CIFAR10}},
    ),
]

"""Diffusion models. Times are for one thread of a 2-core machine without bfloat16 matrix units.

A laptop network learns with and without labels at once; its samples have drawn labels. Its 50 steps of sampling are those of
the evaluation: with 1000, ten thousand images would take half a day there.
"""

from course_lib.training.recipe import Recipe

TOY = {
    "family": "ddpm",
    "tier": "smoke",
    "model": {
        "image_shape": None,
        "width": 128,
        "depth": 3,
        "T": 100,
        "schedule": "cosine",
        "variance": "posterior",
    },
    "steps": 3_000,
    "batch_size": 256,
    "lr": 1e-2,
    "warmup": 50,
    "schedule": "cosine",
    "ema_decay": 0.98,
}

SMOKE = {
    "family": "ddpm",
    "tier": "smoke",
    "model": {
        "width": 8,
        "multipliers": [1, 2, 4],
        "blocks": 1,
        "attention": [],
        "T": 100,
        "schedule": "cosine",
        "variance": "posterior",
        "classes": 10,
    },
    "steps": 120,
    "batch_size": 32,
    "lr": 3e-3,
    "warmup": 20,
    "schedule": "cosine",
    "ema_decay": 0.98,
}

# Most of the work at 14 and 7 pixels: 16 channels at 28 pixels cost a quarter of what 32 would.
LAPTOP = {
    "family": "ddpm",
    "tier": "laptop",
    "model": {
        "width": 16,
        "multipliers": [1, 2, 4],
        "blocks": 2,
        "attention": [7],
        "variance": "posterior",
        "classes": 10,
        "label_dropout": 0.15,
        "sample_steps": 50,
    },
    "steps": 4_000,
    "batch_size": 64,
    "lr": 1e-3,
    "warmup": 300,
    "schedule": "cosine",
    "clip_norm": 1.0,
    "ema_decay": 0.999,
    "precision": "bf16",
}

COLAB = {
    **LAPTOP,
    "tier": "colab",
    "model": {
        **LAPTOP["model"],
        "width": 32,
        "multipliers": [1, 2, 2],
        "attention": [14],
        "sample_steps": 250,
    },
    "steps": 12_000,
    "batch_size": 128,
    "lr": 5e-4,
}

# Ho et al. 2020, appendix B, with labels and 28 pixels.
LAB = {
    **LAPTOP,
    "tier": "lab",
    "model": {
        "width": 64,
        "multipliers": [1, 2, 2],
        "blocks": 2,
        "attention": [14],
        "dropout": 0.1,
        "classes": 10,
        "label_dropout": 0.1,
    },
    "steps": 200_000,
    "batch_size": 128,
    "lr": 2e-4,
    "warmup": 5_000,
    "schedule": "constant",
    "ema_decay": 0.9999,
}

# Ho et al. 2020, appendix B: 35.7 million weights, 800,000 steps.
HO = {
    "family": "ddpm",
    "data": "cifar10",
    "tier": "lab",
    "model": {
        "image_shape": [3, 32, 32],
        "width": 128,
        "multipliers": [1, 2, 2, 2],
        "blocks": 2,
        "attention": [16],
        "dropout": 0.1,
    },
    "steps": 800_000,
    "batch_size": 128,
    "lr": 2e-4,
    "warmup": 5_000,
    "clip_norm": 1.0,
    "ema_decay": 0.9999,
    "precision": "bf16",
}

# The network of Song et al. 2021 (NCSN++) at half its width.
NCSNPP = {
    **HO,
    "tier": "colab",
    "model": {
        **HO["model"],
        "width": 64,
        "resblock": "biggan",
        "fir": True,
        "rescale": True,
        "progressive_input": True,
        "sample_steps": 250,
    },
    "steps": 20_000,
    "warmup": 1_000,
    "schedule": "cosine",
    "ema_decay": 0.999,
}

PUBLISHED = {
    "fid": {
        "value": 9.3,
        "source": "desilva-tale",
        "why": "theirs: features of their own choice, 5,000 images (their repository shows 13.4); ours: LeNet features, "
        "strided sampling",
    }
}

RECIPES = [
    Recipe(data="grid25", **TOY, note="20 s"),
    Recipe(data="two_moons", **{**TOY, "steps": 700}, note="5 s"),
    Recipe(data="glyphs", **SMOKE, note="10 s"),
    Recipe(  # too few steps for an average that remembers a thousand
        data="glyphs",
        **{**LAPTOP, "steps": 2_000, "ema_decay": None},
        data_options={"n": 60_000},
        note="20 min",
    ),
    Recipe(data="mnist", **LAPTOP, note="35 min", published=PUBLISHED),
    Recipe(data="fashion_mnist", **LAPTOP, note="35 min"),
    Recipe(data="mnist", **COLAB, published=PUBLISHED),
    Recipe(data="mnist", **LAB, published=PUBLISHED),
    Recipe(data="fashion_mnist", **LAB),
    Recipe(**NCSNPP),
    Recipe(**HO),
]

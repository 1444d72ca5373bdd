"""Flow matching. Times are for one thread of a 2-core machine without bfloat16 matrix units.

The image recipes have the networks, labels, steps and averaging of chapter 18's diffusion models, so that the two compare.
"""

from course_lib.training.recipe import Recipe

TOY = {
    "family": "flow_matching",
    "tier": "smoke",
    "model": {"image_shape": None, "width": 128, "depth": 3},
    "steps": 1_000,
    "batch_size": 512,
    "lr": 5e-3,
    "schedule": "cosine",
    "ema_decay": 0.99,
}

SMOKE = {
    "family": "flow_matching",
    "tier": "smoke",
    "model": {"width": 8, "multipliers": [1, 2, 4], "blocks": 1, "attention": [], "classes": 10},
    "steps": 100,
    "batch_size": 32,
    "lr": 3e-3,
    "warmup": 20,
    "schedule": "cosine",
    "ema_decay": 0.98,
}

LAPTOP = {
    "family": "flow_matching",
    "tier": "laptop",
    "model": {
        "width": 16,
        "multipliers": [1, 2, 4],
        "blocks": 2,
        "attention": [7],
        "classes": 10,
        "label_dropout": 0.15,
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
    "model": {**LAPTOP["model"], "width": 32, "multipliers": [1, 2, 2], "attention": [14]},
    "steps": 12_000,
    "batch_size": 128,
    "lr": 5e-4,
}

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
        "steps": 50,
    },
    "steps": 200_000,
    "batch_size": 128,
    "lr": 2e-4,
    "warmup": 5_000,
    "schedule": "constant",
    "ema_decay": 0.9999,
}

RECIPES = [
    Recipe(data="two_moons", **TOY, note="7 s"),
    Recipe(data="grid25", **TOY, note="7 s"),
    Recipe(data="glyphs", **SMOKE, note="15 s"),
    Recipe(  # too few steps for an average that remembers a thousand
        data="glyphs",
        **{**LAPTOP, "steps": 2_000, "ema_decay": None},
        data_options={"n": 60_000},
        note="20 min",
    ),
    Recipe(data="mnist", **LAPTOP, note="30 min"),
    Recipe(data="fashion_mnist", **LAPTOP, note="30 min"),
    Recipe(data="mnist", **COLAB),
    Recipe(data="mnist", **LAB),
    Recipe(data="fashion_mnist", **LAB),
]

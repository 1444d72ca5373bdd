"""Outlines to images. Times are for one thread of a 2-core machine."""

from course_lib.training.recipe import Recipe

SMOKE = {
    "family": "image_to_image",
    "tier": "smoke",
    "model": {"width": 8},
    "data_options": {"edges": True},
    "batch_size": 16,
    "steps": 200,
    "lr": 2e-3,
    "optimizer_options": {"betas": [0.5, 0.999]},
}

LAPTOP = {
    **SMOKE,
    "tier": "laptop",
    "model": {"width": 12, "l1": 10.0},
    "batch_size": 32,
    "steps": 2_500,
    "lr": 2e-3,
    "schedule": "cosine",
}

# Isola et al. 2017: L1 weight 100, Adam at 2e-4, batches of 1 to 10.
LAB = {
    **LAPTOP,
    "tier": "lab",
    "model": {"width": 64, "l1": 100.0},
    "batch_size": 10,
    "steps": 100_000,
    "lr": 2e-4,
    "schedule": "constant",
}

RECIPES = [
    Recipe(data="glyphs", **SMOKE, note="5 s"),
    Recipe(data="glyphs", **LAPTOP, note="4 min"),
    Recipe(data="mnist", **LAPTOP, note="4 min"),
    Recipe(data="fashion_mnist", **LAPTOP, note="4 min"),
    Recipe(data="mnist", **LAB),
]

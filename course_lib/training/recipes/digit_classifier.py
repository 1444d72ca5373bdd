"""The classifiers behind `features="lenet"` (MNIST) and behind the modes of stacked digits (MNIST, glyphs)."""

from course_lib.training.recipe import Recipe

LAPTOP = {
    "family": "digit_classifier",
    "tier": "laptop",
    "steps": 6_000,
    "batch_size": 128,
    "schedule": "cosine",
    "lr": 3e-3,
    "warmup": 200,
    "optimizer": "adamw",
    "optimizer_options": {"weight_decay": 0.02},
}

RECIPES = [
    Recipe(
        family="digit_classifier",
        data="glyphs",
        tier="smoke",
        steps=300,
        batch_size=128,
        data_options={"n": 10_000},
        schedule="cosine",
        lr=3e-3,
    ),
    Recipe(data="glyphs", **LAPTOP, data_options={"n": 60_000}),
    Recipe(data="mnist", **LAPTOP),
]

"""The classifier behind `features="lenet"`."""

from course_lib.training.recipe import Recipe

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
    Recipe(
        family="digit_classifier",
        data="mnist",
        tier="laptop",
        steps=6_000,
        batch_size=128,
        schedule="cosine",
        lr=3e-3,
        warmup=200,
        optimizer="adamw",
        optimizer_options={"weight_decay": 0.02},
    ),
]

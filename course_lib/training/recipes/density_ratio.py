"""A classifier between two toy laws of the plane. Its loss tends to log 2 - JSD."""

from course_lib.training.recipe import Recipe

RECIPES = [
    Recipe(
        family="density_ratio",
        data="two_moons",
        tier="smoke",
        model={"dim": 2},
        data_options={"against": "pinwheel"},
        steps=1_000,
        batch_size=512,
        lr=5e-3,
        schedule="cosine",
        note="5 s on one thread; loss 0.26",
    ),
]

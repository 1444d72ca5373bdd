"""Probabilistic PCA: a closed form, so no step; the first batch, which `initialise` sees, is the whole training set."""

from course_lib.training.recipe import Recipe

RECIPES = [
    Recipe(
        family="ppca",
        data="glyphs",
        tier="smoke",
        model={"shape": [1, 28, 28], "latent_dim": 100},
        data_options={"n": 20_000},
        steps=0,
        batch_size=20_000,
        note="2 s",
    ),
    Recipe(
        family="ppca",
        data="mnist",
        tier="laptop",
        model={"shape": [1, 28, 28], "latent_dim": 100},
        steps=0,
        batch_size=60_000,
        note="3 s",
    ),
]

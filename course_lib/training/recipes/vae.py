"""Variational autoencoders of binary digits. Times are for one thread of a 2-core machine unless a note says otherwise."""

from course_lib.training.recipe import Recipe

SMOKE = {
    "family": "vae",
    "tier": "smoke",
    "model": {"latent_dim": 20, "hidden": [256], "likelihood": "bernoulli"},
    "data_options": {"binary": True},
    "steps": 1_000,
    "batch_size": 128,
    "lr": 5e-3,
    "schedule": "cosine",
}

# A convolutional network of 0.4 million weights: on one thread it learns more a second than any MLP that we tried.
LAPTOP = {
    "family": "vae",
    "tier": "laptop",
    "model": {"latent_dim": 40, "network": "conv", "width": 8, "hidden": [256], "likelihood": "bernoulli"},
    "steps": 30_000,
    "batch_size": 100,
    "lr": 3e-3,
    "optimizer_options": {"eps": 1e-4},
    "schedule": "cosine",
}

# Burda et al. 2016: 3^i passes over the data at learning rate 0.001 * 10^(-i/7), i = 0..7, in batches of 20.
_PASSES = [3**i for i in range(8)]
_STEPS_A_PASS = 60_000 // 20
_MILESTONES = tuple(_STEPS_A_PASS * sum(_PASSES[:i]) for i in range(1, 8))

RECIPES = [
    Recipe(data="glyphs", **SMOKE, note="7 s"),
    Recipe(data="mnist", **SMOKE, note="7 s"),
    Recipe(data="glyphs", **LAPTOP, data_options={"binary": True, "n": 60_000}, note="10 min"),
    Recipe(
        data="mnist",
        **LAPTOP,
        data_options={"binary": True},
        note="8 min on one thread; ELBO about -91, importance-weighted bound about -87 nats on the test images",
        published={
            "iwae": {
                "value": -87.1,
                "source": "burda2016importance",
                "why": "theirs: two MLP layers, k = 50 in training, 5,000 samples in the bound, the shared static files; "
                "ours: a convolutional network, 500 samples, our own static draw",
            }
        },
    ),
    Recipe(
        family="vae",
        data="mnist",
        tier="colab",
        model={**LAPTOP["model"], "width": 32},
        data_options={"binary": True},
        steps=60_000,
        batch_size=100,
        lr=1e-3,
        optimizer_options={"eps": 1e-4},
        schedule="cosine",
    ),
    Recipe(
        family="vae",
        data="mnist",
        tier="lab",
        model={"latent_dim": 50, "hidden": [200, 200], "activation": "tanh", "likelihood": "bernoulli"},
        data_options={"binary": True},
        steps=_STEPS_A_PASS * sum(_PASSES),
        batch_size=20,
        optimizer_options={"betas": [0.9, 0.999], "eps": 1e-4},
        schedule="step",
        milestones=_MILESTONES,
        decay=10 ** (-1 / 7),
        note="the published schedule: 3,280 passes, about 19 h on one CPU thread (140 steps a second)",
    ),
]

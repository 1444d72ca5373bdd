"""Score networks in continuous time. Times are for one thread of a 2-core machine."""

from course_lib.training.recipe import Recipe

TOY = {
    "family": "score_sde",
    "tier": "smoke",
    "steps": 1_000,
    "batch_size": 512,
    "lr": 5e-3,
    "schedule": "cosine",
    "ema_decay": 0.99,
}

POINTS = {"image_shape": None, "width": 128, "depth": 3}

# NCSN++'s blocks at 28 pixels; sigma_max is about the largest distance between two images in [-1, 1].
LAB = {
    "family": "score_sde",
    "data": "mnist",
    "tier": "lab",
    "model": {
        "width": 64,
        "attention": [14],
        "resblock": "biggan",
        "fir": True,
        "rescale": True,
        "progressive_input": True,
        "process": "ve",
        "coefficients": [0.01, 40.0],
    },
    "steps": 200_000,
    "batch_size": 128,
    "lr": 2e-4,
    "warmup": 5_000,
    "clip_norm": 1.0,
    "ema_decay": 0.9999,
    "precision": "bf16",
}

RECIPES = [
    Recipe(data="two_moons", **TOY, model={**POINTS, "process": "vp"}, note="7 s"),
    Recipe(data="grid25", **TOY, model={**POINTS, "process": "ve", "coefficients": [0.01, 20.0]}, note="7 s"),
    Recipe(**LAB),
]

"""One switch for how much to compute: `COURSE_TIER`."""

import os

import torch

TIERS = ("smoke", "laptop", "colab", "lab")


def tier() -> str:
    """The tier in force: `COURSE_TIER` if set, else "colab" with a GPU and "laptop" without.

    smoke: seconds, embedded data only (book build, CI). laptop: about 10 minutes a chapter, MNIST.
    colab: 10 minutes on a small GPU. lab: the full run.

    Raises:
        ValueError: `COURSE_TIER` is set to something else.
    """
    name = os.environ.get("COURSE_TIER", "").strip().lower()
    if not name:
        return "colab" if torch.cuda.is_available() else "laptop"
    if name not in TIERS:
        raise ValueError(
            f"COURSE_TIER={name!r} is not a tier: set it to one of {', '.join(TIERS)}, or unset it"
        )
    return name

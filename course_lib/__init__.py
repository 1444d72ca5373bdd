"""The library of the course: every model, objective, sampler and metric that the chapters teach.

`course_lib.tier()` is the tier in force, `course_lib.load(name)` a trained model from `pretrained/`.
"""

from course_lib import compat  # noqa: F401  (first: torchvision may not import without it)
from course_lib.tiers import TIERS, tier

__version__ = "0.1.0"
__all__ = ["TIERS", "load", "tier"]


def load(name, root=None):
    """A checkpointed model in eval mode, for example `load("vae_mnist")`; see `course_lib.models.load`."""
    from course_lib.models import load as load_model

    return load_model(name, root)

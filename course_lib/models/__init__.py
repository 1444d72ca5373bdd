"""The families of the course, one file each.

A family's module has `build(**config) -> nn.Module`; the names of `config` are JSON values, so a checkpoint's card can
hold them.
"""

import importlib
import pkgutil
from pathlib import Path

from torch import nn

from course_lib import checkpoints


def build(family: str, **config) -> nn.Module:
    """A fresh model of a family, for example `build("vae", latent_dim=20)`.

    Raises:
        ValueError: no such family, or an option that it does not have.
    """
    if family not in {module.name for module in pkgutil.iter_modules(__path__)}:
        raise ValueError(f"unknown family {family!r}: there is no course_lib/models/{family}.py")
    module = importlib.import_module(f"course_lib.models.{family}")
    try:
        return module.build(**config)
    except TypeError as error:
        raise ValueError(f"{family} cannot be built with {config}: {error}") from error


def load(name: str, root: str | Path | None = None) -> nn.Module:
    """A trained model in eval mode with its card as `model.card`.

    Args:
        name: file name without ending, for example "vae_mnist".
        root: folder of checkpoints; the repository's `pretrained/` if left out.

    Raises:
        CheckpointError: missing, cut short, changed, or of another architecture than its card says.
    """
    path = Path(root or checkpoints.PRETRAINED) / f"{name}.safetensors"
    state, card = checkpoints.load(path)
    model = build(card["family"], **card["model"])
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise checkpoints.CheckpointError(
            f"{path.name} does not fit the model its card names: {error}"
        ) from error
    model.card = card
    return model.eval()

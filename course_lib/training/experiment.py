"""Recorded experiments: what a smoke run cannot show, run once on a larger tier and kept with its card.

An experiment is a module `training/experiments/<name>.py` with `run(tier) -> dict[str, array]` and a docstring whose first
line says what it measures. `python -m course_lib experiment NAME --tier T` runs it; a chapter reads the record.
"""

import importlib
import pkgutil
import time
from pathlib import Path

import numpy as np

from course_lib import checkpoints

RECORDS = checkpoints.PRETRAINED / "experiments"


def list_experiments() -> dict[str, str]:
    """Name and first docstring line of every experiment."""
    from course_lib.training import experiments as package

    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return {name: (_module(name).__doc__ or "").strip().split("\n")[0] for name in names}


def _module(name: str):
    return importlib.import_module(f"course_lib.training.experiments.{name}")


def run_experiment(name: str, tier: str, folder: str | Path = RECORDS) -> tuple[dict[str, np.ndarray], dict]:
    """Run an experiment and record it as `folder/name.npz` with its card `name.json`.

    Raises:
        ValueError: no such experiment.
    """
    if name not in (known := list_experiments()):
        raise ValueError(f"no experiment {name!r}; there are {', '.join(known)}")
    commit, start = checkpoints.commit(), time.monotonic()
    arrays = {key: np.asarray(value) for key, value in _module(name).run(tier).items()}
    path = Path(folder) / f"{name}.npz"
    with checkpoints.atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    card = {
        "name": name,
        "what": known[name],
        "tier": tier,
        "command": f"python -m course_lib experiment {name} --tier {tier}",
        "seconds": round(time.monotonic() - start, 1),
        "hardware": checkpoints.hardware(),
        "commit": commit,
        "arrays": {key: list(value.shape) for key, value in arrays.items()},
        "sha256": checkpoints.sha256(path),
    }
    checkpoints.write_json(path.with_suffix(".json"), card)
    return arrays, card


def recorded(name: str, folder: str | Path = RECORDS) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays and card of a recorded experiment whose file is the one its card names.

    Raises:
        CheckpointError: no record, or a damaged one.
    """
    path = Path(folder) / f"{name}.npz"
    card = checkpoints.read_card(path)
    checkpoints.verify(path, card)
    with np.load(path, allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}, card

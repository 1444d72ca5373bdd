"""From a recipe to a checkpoint: data, model, `fit`, file and card."""

import json
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from course_lib import checkpoints, data, models
from course_lib.training.loop import Run, TensorData, fit, processes
from course_lib.training.recipe import Recipe


def load_data(
    name: str,
    split: str = "train",
    root: str | Path | None = None,
    *,
    binary: bool = False,
    stack: bool = False,
    edges: bool = False,
    against: str | None = None,
    **options,
) -> Dataset | Tensor:
    """The data that a recipe names: an image set, or points of a two-dimensional toy.

    Args:
        name: for `course_lib.data.dataset`, or a toy of `course_lib.data.toy2d`.
        split, root, options: of `dataset`; a toy takes `n` and `seed`.
        binary: binarise once, by chance (`data.binarize`). stack: three images as colours (`data.stacked`).
        edges: outline and image as a pair (`data.edge_pairs`).
        against: a second toy, as many points of it: labels are 1 for the first law and 0 for this one.
    """
    if against is not None:
        p = load_data(name, split, root, **options)
        q = load_data(against, split, root, **{**options, "seed": options.get("seed", 0) + 1})
        return TensorData(torch.cat([p, q]), (torch.arange(len(p) + len(q)) < len(p)).long())
    toy = getattr(data.toy2d, name, None)
    if isinstance(toy, data.toy2d.Toy):
        seed = 2 * options.get("seed", 0) + (split == "test")
        return toy(options.get("n", 50_000), torch.Generator().manual_seed(seed))
    images = data.dataset(name, split, root, **options)
    images = data.binarize(images) if binary else images
    images = data.stacked(images) if stack else images
    return data.edge_pairs(images) if edges else images


def build(recipe: Recipe) -> torch.nn.Module:
    """The recipe's model with weights drawn from its seed; the global generator is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        return models.build(recipe.family, **recipe.model)


def train(recipe: Recipe, folder: str | Path | None = None, root: str | Path | None = None, **options) -> Run:
    """Build the model, load the data, fit, and leave a checkpoint in `folder` (nothing is written if left out).

    Further options are those of `fit`.
    """
    commit = checkpoints.commit()  # of the code that runs, not of what it may be by the end
    images = load_data(recipe.data, "train", root, **recipe.data_options)
    run = fit(build(recipe), images, recipe, folder=folder, **options)
    if folder is not None and processes().is_main_process:
        save_run(run, recipe, Path(folder) / f"{recipe.family}_{recipe.data}.safetensors", commit)
    return run


def save_run(run: Run, recipe: Recipe, path: Path, commit: str) -> dict:
    """Write the run's model and its card, which names the commit of the code that ran; returns the card."""
    card = {
        "name": path.stem,
        "family": recipe.family,
        "model": dict(recipe.model),
        "data": recipe.data,
        "tier": recipe.tier,
        "recipe": json.loads(recipe.to_json()),
        "steps": len(run.steps),
        "final_loss": {
            group: float(losses[-100:].mean()) for group, losses in run.losses.items() if len(losses)
        },
        "seconds": round(run.seconds, 1),
        "processes": processes().num_processes,
        "hardware": checkpoints.hardware(),
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "commit": commit,
        "metrics": {},
        "published": dict(recipe.published),
    }
    return checkpoints.save(path, run.model.state_dict(), card)

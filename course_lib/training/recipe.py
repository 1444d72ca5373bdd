"""Recipes: everything a training run depends on, as data.

A family's recipes stand in `training/recipes/<family>.py` as a list `RECIPES`. A new family needs no other entry.
"""

import dataclasses
import importlib
import json
import math
import pkgutil
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from course_lib.tiers import TIERS, tier

OPTIMIZERS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}
SCHEDULES = ("constant", "cosine", "step")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One training run.

    Attributes:
        family: module in `course_lib.models`.
        data: name for `course_lib.data.dataset`, or of a two-dimensional toy.
        tier: smoke, laptop, colab or lab.
        steps, batch_size: optimiser steps, and images in each over all processes.
        model: options of the family's `build`.
        data_options: options of `load_data`.
        micro_batches: pieces that a batch is cut into, shared by the processes.
        optimizer, lr, optimizer_options: name, learning rate, further options of torch's optimiser.
        groups: options that differ for a parameter group, by its name.
        schedule: "constant", "cosine" (to zero), or "step" (times `decay` at each of `milestones`).
        warmup: steps in which the learning rate rises linearly.
        clip_norm: bound on a group's gradient norm.
        ema_decay: decay of the averaged copy that is kept for sampling.
        precision: "fp32" or "bf16" (autocast).
        seed: of weights, data order and noise.
        note: the time and the metric to expect, with the machine.
        published: metric -> {"value", "source", "why"}: a number of the literature to set beside ours, its key in
            references.bib, and why the two differ. Goes into the checkpoint's card.
    """

    family: str
    data: str
    tier: str
    steps: int
    batch_size: int
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    data_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    micro_batches: int = 1
    optimizer: str = "adam"
    lr: float = 1e-3
    optimizer_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    groups: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    schedule: str = "constant"
    milestones: tuple[int, ...] = ()
    decay: float = 0.1
    warmup: int = 0
    clip_norm: float | None = None
    ema_decay: float | None = None
    precision: str = "fp32"
    seed: int = 0
    note: str = ""
    published: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        checks = {
            "tier": (self.tier, TIERS),
            "optimizer": (self.optimizer, OPTIMIZERS),
            "schedule": (self.schedule, SCHEDULES),
            "precision": (self.precision, ("fp32", "bf16")),
        }
        for name, (value, allowed) in checks.items():
            if value not in allowed:
                raise ValueError(f"recipe: {name}={value!r}, expected one of {', '.join(allowed)}")
        if self.steps < 0 or self.batch_size < 1 or self.micro_batches < 1:
            raise ValueError("recipe: steps must be >= 0, batch_size and micro_batches >= 1")

    def replace(self, **changes) -> "Recipe":
        """The same recipe with some fields changed."""
        return dataclasses.replace(self, **changes)

    def lr_factor(self, step: int) -> float:
        """What the learning rate is multiplied by at zero-based `step`."""
        factor = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        if self.schedule == "cosine":
            return factor * 0.5 * (1 + math.cos(math.pi * step / self.steps))
        if self.schedule == "step":
            return factor * self.decay ** sum(step >= milestone for milestone in self.milestones)
        return factor

    def make_optimizer(self, group: str, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        """The optimiser of one parameter group."""
        options = {"lr": self.lr, **self.optimizer_options, **self.groups.get(group, {})}
        return OPTIMIZERS[self.optimizer](list(parameters), **options)

    def to_json(self) -> str:
        """What the run depends on (neither the note nor the literature), in a fixed order."""
        fields = dataclasses.asdict(self)
        del fields["note"], fields["published"]
        return json.dumps(fields, sort_keys=True)


def all_recipes(family: str) -> list[Recipe]:
    """All recipes of a family.

    Raises:
        ValueError: the family has none.
    """
    from course_lib.training import recipes as package

    known = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    if family not in known:
        raise ValueError(f"no recipes for {family!r}; there are recipes for {', '.join(known)}")
    return importlib.import_module(f"course_lib.training.recipes.{family}").RECIPES


def recipe(family: str, data: str, tier_name: str | None = None, **changes) -> Recipe:
    """The recipe of a family for a data set in a tier (the tier in force if left out), with fields changed.

    Raises:
        ValueError: there is none; the message lists what there is.
    """
    tier_name = tier_name or tier()
    for candidate in all_recipes(family):
        if (candidate.data, candidate.tier) == (data, tier_name):
            return candidate.replace(**changes)
    there = ", ".join(f"{r.data}/{r.tier}" for r in all_recipes(family))
    raise ValueError(f"{family} has no recipe for {data}/{tier_name}; there are {there}")

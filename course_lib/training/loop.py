"""The one training loop of the course.

A model yields `(group, loss)` pairs in the order of its published algorithm (`training_step`), or has one `loss`; `fit`
differentiates each loss with respect to its group, averages over micro-batches and processes, clips, and steps that
group's optimiser before it asks for the next pair.

Three rules make a run repeatable: data order and noise depend on (seed, step, micro-batch) and on nothing else; a batch is
a fixed number of micro-batches, however many processes share them; and normalisation statistics of a batch are the mean
over its micro-batches. So one process with two micro-batches and two processes with one do the same run, and a resumed
run needs no generator's state.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, reduce
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset, default_collate
from tqdm import tqdm

from course_lib.checkpoints import CheckpointError, atomic_path
from course_lib.training.recipe import Recipe

CHECK_EVERY = 50  # steps between two looks at the device: NaN check, log line, chance to save
DIVERGED = 1e8  # a loss beyond this is on its way to infinity


class DivergenceError(RuntimeError):
    """A loss or gradient that is not a number, or a loss beyond all bounds."""


@dataclasses.dataclass
class Run:
    """What `fit` gives back.

    Attributes:
        model: the trained model in eval mode; the averaged copy where the recipe has an `ema_decay`.
        steps: `(S,)` step numbers from 1.
        losses: group -> `(S,)` loss of each step.
        grad_norms: group -> `(S,)` gradient norm before clipping.
        monitors: name -> `(S,)` of what the model reports beside its losses (a discriminator's accuracy, say).
        seconds: wall-clock time of training, resumed parts included.
    """

    model: nn.Module
    steps: np.ndarray
    losses: dict[str, np.ndarray]
    grad_norms: dict[str, np.ndarray]
    monitors: dict[str, np.ndarray]
    seconds: float


def processes() -> PartialState:
    """Device and place of this process among those that torchrun started (one, without it)."""
    return PartialState(cpu=not (torch.cuda.is_available() or torch.backends.mps.is_available()))


class TensorData(Dataset):
    """A tensor of points as a data set; label 0 where no labels are given."""

    def __init__(self, x: Tensor, y: Tensor | None = None):
        self.x = x
        self.y = torch.zeros(len(x), dtype=torch.int64) if y is None else y

    def __len__(self) -> int:
        return len(self.x)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        return self.x[indices], self.y[indices]


def derived_seed(*parts: object) -> int:
    """A seed that depends on all parts, 63 bits."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@functools.lru_cache(maxsize=2)
def _shuffled(n: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(derived_seed(seed, "epoch", epoch)))


def batch_indices(n: int, batch_size: int, step: int, seed: int) -> Tensor:
    """Indices of the batch of `step`: the stream of one shuffled pass over the data after the other, cut into batches."""
    first, last = step * batch_size, (step + 1) * batch_size
    parts = []
    for epoch in range(first // n, (last - 1) // n + 1):
        order = _shuffled(n, seed, epoch)
        parts.append(order[max(first - epoch * n, 0) : last - epoch * n])
    return torch.cat(parts)


class _Batches:
    """Index lists for the data loader: the micro-batches of this process, step after step."""

    def __init__(self, n: int, recipe: Recipe, start: int, mine: list[int]):
        self.n, self.recipe, self.start, self.mine = n, recipe, start, mine

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.recipe.steps):
            indices = batch_indices(self.n, self.recipe.batch_size, step, self.recipe.seed)
            micro = indices.chunk(self.recipe.micro_batches)
            yield from (micro[m].tolist() for m in self.mine)


def _collate(batch):
    return batch if isinstance(batch, tuple) else default_collate(batch)


def fit(
    model: nn.Module,
    data: Dataset | Tensor,
    recipe: Recipe,
    *,
    folder: str | Path | None = None,
    progress: bool = True,
    save_seconds: float = 30.0,
) -> Run:
    """Train `model` on `data` by `recipe`.

    Args:
        model: follows the course's contract (`loss` or `training_step`); it is trained in place.
        data: items `(x, label)`, or a tensor of points.
        recipe: batch, steps, optimisers, schedule, precision, seed.
        folder: where `resume.pt` and `log.jsonl` go; a run that finds its own resume file there goes on from it. Nothing
            is written if left out.
        progress: show a progress bar.
        save_seconds: how often to write the resume file.

    Returns:
        The `Run`. Same recipe, data, thread count and software: same weights, bit for bit, interrupted or not.

    Raises:
        ValueError: batch larger than the data, or micro-batches that the processes cannot share.
        DivergenceError: a loss or gradient became NaN or infinite; names the step. The last good resume file is kept.
        CheckpointError: the resume file is damaged or of another recipe.
    """
    state = processes()
    device, world, rank = state.device, state.num_processes, state.process_index
    data = TensorData(data) if isinstance(data, Tensor) else data
    _check_batch(recipe, len(data), world)
    mine = list(range(rank, recipe.micro_batches, world))
    model.to(device).train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        loop = _Loop(model, recipe, device, world)
        if folder is not None:
            loop.resume(Path(folder), rank)
        if loop.step == 0:
            loop.initialise(data)
        loader = DataLoader(
            data,
            batch_sampler=_Batches(len(data), recipe, loop.step, mine),
            collate_fn=_collate,
            num_workers=0 if hasattr(data, "__getitems__") else min(4, os.cpu_count() or 1),
            pin_memory=device.type == "cuda",
            generator=torch.Generator(),  # the loader would draw its workers' seed from the global one
        )
        batches = iter(loader)
        bar = tqdm(
            total=recipe.steps,
            initial=loop.step,
            desc=f"{recipe.family} {recipe.data} {recipe.tier}",
            disable=not progress or rank != 0,
            mininterval=1.0,
        )
        saved = time.monotonic()
        with bar:
            while loop.step < recipe.steps:
                loop.train_step([(m, *next(batches)) for m in mine])
                bar.update()
                if loop.step % CHECK_EVERY == 0 or loop.step == recipe.steps:
                    bar.set_postfix(loop.check())
                    last = loop.step == recipe.steps
                    if (
                        folder is not None
                        and rank == 0
                        and (last or time.monotonic() - saved >= save_seconds)
                    ):
                        loop.save(Path(folder))
                        saved = time.monotonic()
    state.wait_for_everyone()
    return loop.finish()


def _check_batch(recipe: Recipe, n: int, world: int) -> None:
    if recipe.batch_size > n:
        raise ValueError(f"batch_size={recipe.batch_size} is more than the {n} items of the data")
    if recipe.batch_size % recipe.micro_batches or recipe.micro_batches % world:
        raise ValueError(
            f"{world} processes cannot share batch_size={recipe.batch_size} cut into micro_batches="
            f"{recipe.micro_batches}: choose micro_batches a multiple of {world} that divides the batch"
        )


class _Loop:
    """State of one training run and the operations on it."""

    def __init__(self, model: nn.Module, recipe: Recipe, device: torch.device, world: int):
        self.model, self.recipe, self.device, self.world = model, recipe, device, world
        groups = (
            model.parameter_groups() if hasattr(model, "parameter_groups") else {"all": model.parameters()}
        )
        self.groups = {
            name: [p for p in parameters if p.requires_grad] for name, parameters in groups.items()
        }
        self.optimizers = {
            name: recipe.make_optimizer(name, parameters)
            for name, parameters in self.groups.items()
            if parameters
        }
        self.base_lr = {name: optimizer.param_groups[0]["lr"] for name, optimizer in self.optimizers.items()}
        self.ema = None
        if recipe.ema_decay is not None:
            self.ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay))
        # One row a step: loss and gradient norm of each group, written on the device, read every CHECK_EVERY steps.
        self.history = torch.full((recipe.steps, len(self.groups), 2), math.nan, device=device)
        self.trained = torch.zeros(recipe.steps, len(self.groups), dtype=torch.bool)
        self.monitors: dict[str, Tensor] = {}  # name -> (steps,), on the device
        self.checked = 0
        self.step = 0
        self.seconds = 0.0
        self.clock = time.monotonic()
        self.folder: Path | None = None
        statistics = (nn.modules.batchnorm._NormBase, nn.utils.parametrizations._SpectralNorm)
        self.statistics = [
            b for m in model.modules() if isinstance(m, statistics) for b in m.buffers(recurse=False)
        ]

    def initialise(self, data: Dataset) -> None:
        """Data-dependent initialisation from the first whole batch, then the same weights in every process."""
        if hasattr(self.model, "initialise"):
            _seed_global(derived_seed(self.recipe.seed, "initialise"), self.device)
            indices = batch_indices(len(data), self.recipe.batch_size, 0, self.recipe.seed).tolist()
            x, _ = _collate(
                data.__getitems__(indices) if hasattr(data, "__getitems__") else [data[i] for i in indices]
            )
            self.model.initialise(x.to(self.device))
        if self.world > 1:
            for tensor in self.model.state_dict().values():
                torch.distributed.broadcast(tensor, src=0)

    def train_step(self, micro_batches: list[tuple[int, Tensor, Tensor]]) -> None:
        """One step of the model's algorithm on one batch, given as this process's micro-batches."""
        recipe, step = self.recipe, self.step
        if isinstance(getattr(self.model, "step", None), Tensor):
            self.model.step.fill_(step)
        elif isinstance(getattr(self.model, "step", None), int):  # read by Python, with no look at the device
            self.model.step = step
        for name, optimizer in self.optimizers.items():
            for parameter_group in optimizer.param_groups:
                parameter_group["lr"] = self.base_lr[name] * recipe.lr_factor(step)
        phases = [self._phases(m, x, y) for m, x, y in micro_batches]
        rows = {name: i for i, name in enumerate(self.groups)}
        for phase in itertools.count():
            results = self._losses(phases, [m for m, *_ in micro_batches], phase)
            if results is None:
                break
            name, loss, gradients = results
            parameters = self.groups[name]
            if self.world > 1:
                loss, gradients = self._average(loss, gradients, parameters)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            limit = math.inf if recipe.clip_norm is None else recipe.clip_norm
            norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
            self.optimizers[name].step()
            self.optimizers[name].zero_grad(set_to_none=True)
            self.history[step, rows[name]] = torch.stack([loss, norm.to(loss.dtype)])
            self.trained[step, rows[name]] = True
        for name, value in getattr(self.model, "monitors", {}).items():
            self.monitors.setdefault(name, torch.full_like(self.history[:, 0, 0], math.nan))[step] = value
        if self.ema is not None:
            self.ema.update_parameters(self.model)
        self.step += 1

    def _phases(self, micro_batch: int, x: Tensor, y: Tensor) -> Iterator[tuple[str, Tensor]]:
        x, y = x.to(self.device, non_blocking=True), y.to(self.device, non_blocking=True)
        generator = torch.Generator(self.device).manual_seed(
            derived_seed(self.recipe.seed, self.step, micro_batch)
        )
        if hasattr(self.model, "training_step"):
            yield from self.model.training_step(x, y, generator=generator)
        else:
            yield "all", self.model.loss(x, y, generator=generator)

    def _losses(
        self, phases: list[Iterator], numbers: list[int], phase: int
    ) -> tuple[str, Tensor, list] | None:
        """Loss and gradients of the next phase, summed over this process's micro-batches with weight 1 / their number."""
        share = 1 / self.recipe.micro_batches
        several = self.recipe.micro_batches > 1
        before = [b.clone() for b in self.statistics] if several else []
        after: list[list[Tensor]] = []
        total, sums, name = torch.zeros((), device=self.device), None, ""
        for micro_batch, losses in zip(numbers, phases, strict=True):
            if several:
                _copy(before, self.statistics)
            _seed_global(
                derived_seed(self.recipe.seed, self.step, micro_batch, "dropout", phase), self.device
            )
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
                pair = next(losses, None)
            if pair is None:
                return None
            name, loss = pair
            if name not in self.groups:
                raise ValueError(
                    f"the model yields group {name!r}; parameter_groups() has {', '.join(self.groups)}"
                )
            gradients = torch.autograd.grad(loss * share, self.groups[name], allow_unused=True)
            total = total + loss.detach().float() * share
            sums = gradients if sums is None else [_add(a, b) for a, b in zip(sums, gradients, strict=True)]
            if several:
                after.append([b.clone() for b in self.statistics])
        if several:
            self._average_statistics(after)
        return name, total, list(sums)

    def _average_statistics(self, after: list[list[Tensor]]) -> None:
        for buffer, values in zip(self.statistics, zip(*after, strict=True), strict=True):
            if buffer.is_floating_point():
                buffer.copy_(reduce(torch.stack(values).sum(0), "sum") / self.recipe.micro_batches)

    def _average(
        self, loss: Tensor, gradients: list, parameters: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Sum over processes; one message for everything."""
        full = [torch.zeros_like(p) if g is None else g for g, p in zip(gradients, parameters, strict=True)]
        message = reduce(torch.cat([loss.reshape(1), *(g.reshape(-1) for g in full)]), "sum")
        parts = message[1:].split([g.numel() for g in full])
        return message[0], [part.view_as(g).to(g.dtype) for part, g in zip(parts, full, strict=True)]

    def check(self) -> dict[str, str]:
        """Look at the steps since the last check: stop at a NaN, write a log line, return what the bar shows."""
        recent = self.history[self.checked : self.step].cpu()
        trained = self.trained[self.checked : self.step]
        names = list(self.groups)
        healthy = recent.isfinite().all(-1) & (recent[..., 0].abs() < DIVERGED)
        broken = torch.nonzero(trained & ~healthy).tolist()
        if broken:
            row, group = broken[0]
            loss, norm = recent[row, group].tolist()
            saved = None if self.folder is None else self.folder / "resume.pt"
            kept = f"; the last good state is in {saved}" if saved and saved.exists() else ""
            raise DivergenceError(
                f"training diverged at step {self.checked + row + 1}: loss of {names[group]!r} is {loss:.4g}, "
                f"gradient norm {norm:.4g}. {self._likely_cause()}{kept}"
            )
        self.seconds += time.monotonic() - self.clock
        self.clock = time.monotonic()
        losses, norms = (
            {
                name: recent[trained[:, i], i, k].mean().item()
                for i, name in enumerate(names)
                if trained[:, i].any()
            }
            for k in (0, 1)
        )
        if self.folder is not None and processes().is_main_process:
            line = {
                "step": self.step,
                "loss": losses,
                "grad_norm": norms,
                "monitors": self._recent_monitors(),
                "lr_factor": self.recipe.lr_factor(self.step - 1),
                "seconds": round(self.seconds, 2),
            }
            with open(self.folder / "log.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        self.checked = self.step
        return {name: f"{value:.4g}" for name, value in losses.items()}

    def _recent_monitors(self) -> dict[str, float]:
        """Means since the last check."""
        return {name: v[self.checked : self.step].nanmean().item() for name, v in self.monitors.items()}

    def _likely_cause(self) -> str:
        """The model's own guess where it has one."""
        if hasattr(self.model, "likely_cause"):
            return self.model.likely_cause(self._recent_monitors())
        return "Lower the learning rate or clip the gradient"

    def save(self, folder: Path) -> None:
        """Write the resume file, whole or not at all."""
        content = {
            "recipe": self.recipe.to_json(),
            "step": self.step,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "history": self.history[: self.step].cpu(),
            "trained": self.trained[: self.step],
            "monitors": {name: values[: self.step].cpu() for name, values in self.monitors.items()},
        }
        with atomic_path(folder / "resume.pt") as temporary:
            torch.save(content, temporary)

    def resume(self, folder: Path, rank: int) -> None:
        """Go on from `folder`'s resume file if there is one, and keep only the log lines that it covers."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        path, log = folder / "resume.pt", folder / "log.jsonl"
        if not broadcast_object_list([path.exists()])[0]:  # one answer for all processes
            if rank == 0:
                log.unlink(missing_ok=True)
            return
        try:
            content = torch.load(path, map_location=self.device, weights_only=True)
            recipe = content["recipe"]
        except Exception as error:
            raise CheckpointError(
                f"{path} is not a whole resume file ({error}): delete it to start anew"
            ) from error
        if recipe != self.recipe.to_json():
            raise CheckpointError(
                f"{path} belongs to another recipe; give this run a folder of its own or delete that file.\n"
                f"there: {recipe}\nhere:  {self.recipe.to_json()}"
            )
        self.model.load_state_dict(content["model"])
        if self.ema is not None:
            self.ema.load_state_dict(content["ema"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(content["optimizers"][name])
        self.step = self.checked = content["step"]
        self.seconds = content["seconds"]
        self.history[: self.step] = content["history"].to(self.device)
        self.trained[: self.step] = content["trained"].cpu()
        for name, values in content["monitors"].items():
            self.monitors[name] = torch.full_like(self.history[:, 0, 0], math.nan)
            self.monitors[name][: self.step] = values.to(self.device)
        if rank == 0 and log.exists():
            lines = [
                line for line in log.read_text(encoding="utf-8").splitlines() if _covers(line, self.step)
            ]
            with atomic_path(log) as temporary:
                temporary.write_text("".join(line + "\n" for line in lines), encoding="utf-8")

    def finish(self) -> Run:
        history = self.history[: self.step].cpu().numpy()
        names = list(self.groups)
        model = self.model if self.ema is None else self.ema.module
        return Run(
            model=model.eval(),
            steps=np.arange(1, self.step + 1),
            losses={name: history[:, i, 0] for i, name in enumerate(names)},
            grad_norms={name: history[:, i, 1] for i, name in enumerate(names)},
            monitors={name: values[: self.step].cpu().numpy() for name, values in self.monitors.items()},
            seconds=self.seconds,
        )


def _add(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b


def _seed_global(seed: int, device: torch.device) -> None:
    """Seed the global generators of the processor and of `device`.

    `torch.manual_seed` would queue a seeding of every other kind of device too: 2 ms a call on a CPU build.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _copy(values: list[Tensor], into: list[Tensor]) -> None:
    for value, buffer in zip(values, into, strict=True):
        buffer.copy_(value)


def _covers(line: str, step: int) -> bool:
    try:
        return json.loads(line)["step"] <= step
    except (json.JSONDecodeError, KeyError):
        return False  # a line cut short by a crash

"""Speed and memory of the measuring bench against common implementations, in one run: `python benchmarks/metrics.py`.

- Fréchet distance of 50,000 against 50,000 x 2,048 features: ours, in a stream of chunks, against `np.cov` of all features
  and pytorch-fid's distance by `scipy.linalg.sqrtm`. The course asks for a third of the time at equal result, and for at most
  200 MB beside the chunk.
- precision and recall of 10,000 against 10,000 x 2,048 features: ours, a chunk of rows at a time, against torch-fidelity's
  full matrices of distances. The course asks for no more time, and a quarter of the memory.

Each implementation runs in a process of its own. Its memory is the peak above what stands when its inputs do.
"""

import contextlib
import ctypes
import multiprocessing
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from course_lib.metrics import FeatureStatistics, frechet_distance, precision_recall

CHUNKS, CHUNK, DIM = 50, 1000, 2048
POINTS, K = 10_000, 3


def feature_chunk(i: int, fake: bool) -> torch.Tensor:
    """Chunk i of the features of a set, float32: ReLU features with a spectrum, the fakes a little off."""
    generator = torch.Generator().manual_seed(2 * i + fake)
    x = torch.randn(CHUNK, DIM, generator=generator) * torch.linspace(0.1, 1.0, DIM)
    return (1.05 * x + 0.02 if fake else x).relu()


class Meter:
    """Seconds of named steps, and the largest memory between `watch_memory` and its end, in MB above that at its start."""

    def __init__(self):
        self.wall, self.processor, self.memory = defaultdict(float), defaultdict(float), 0.0

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        wall, processor = time.perf_counter(), time.process_time()
        yield
        self.wall[name] += time.perf_counter() - wall
        self.processor[name] += time.process_time() - processor

    @contextlib.contextmanager
    def watch_memory(self) -> Iterator[None]:
        # What drawing the inputs left over would be used unseen: give it back first.
        ctypes.CDLL(None).malloc_trim(0)
        base, running = own_memory(), True

        def watch() -> None:
            while running:
                self.memory = max(self.memory, own_memory() - base)
                time.sleep(0.002)

        thread = threading.Thread(target=watch)
        thread.start()
        yield
        running = False
        thread.join()


def own_memory() -> float:
    """Memory of this process in MB, without the pages of program files."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status does not tell RssAnon: memory is measured on Linux only")


def frechet_ours(meter: Meter) -> float:
    moments = []
    for fake in (False, True):
        statistics = FeatureStatistics()
        chunk = feature_chunk(0, fake)
        with meter.watch_memory():
            for i in range(CHUNKS):
                chunk.copy_(feature_chunk(i, fake))
                with meter.step("statistics"):
                    statistics.update(chunk)
            with meter.step("statistics"):
                moments += [statistics.mean, statistics.cov]
    with meter.step("distance"):
        return frechet_distance(*moments)


def frechet_common(meter: Meter) -> float:
    from pytorch_fid.fid_score import calculate_frechet_distance

    moments = []
    for fake in (False, True):
        features = np.concatenate([feature_chunk(i, fake).numpy() for i in range(CHUNKS)])
        with meter.watch_memory(), meter.step("statistics"):
            moments += [features.mean(0, dtype=np.float64), np.cov(features, rowvar=False)]
    with meter.step("distance"):
        return calculate_frechet_distance(*moments)


def neighbours_ours(meter: Meter) -> tuple[float, float]:
    real, fake = two_sets()
    with meter.watch_memory(), meter.step("precision and recall"):
        return precision_recall(real, fake, k=K)


def neighbours_common(meter: Meter) -> tuple[float, float]:
    from torch_fidelity.metric_prc import calculate_precision_recall_full

    real, fake = two_sets()
    with meter.watch_memory(), meter.step("precision and recall"):
        return calculate_precision_recall_full(fake, real, neighborhood=K)


def two_sets() -> list[torch.Tensor]:
    return [torch.cat([feature_chunk(i, fake) for i in range(POINTS // CHUNK)]) for fake in (False, True)]


def measured(function: Callable) -> dict:
    """The function's value, and what it took."""
    torch.ones(512, 512) @ torch.ones(512, 512)  # threads and work space stand before the clock starts
    meter = Meter()
    value = function(meter)
    return {"value": value, "wall": meter.wall, "processor": meter.processor, "memory": meter.memory}


def compare(what: str, ours: Callable, common: Callable) -> None:
    """Run both, each in a fresh process, and print the ratios."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        a, b = (pool.apply(measured, (function,)) for function in (ours, common))
    print(f"{what}: {a['value']} and {b['value']}")
    for clock in ("wall", "processor"):
        for step in a[clock]:
            line(f"{step}, {clock}", a[clock][step], b[clock][step], "s")
        line(f"all, {clock}", sum(a[clock].values()), sum(b[clock].values()), "s")
    line("memory", a["memory"], b["memory"], "MB")


def line(what: str, ours: float, common: float, unit: str) -> None:
    print(f"  {what:32} {ours:7.1f} {unit}, common {common:7.1f} {unit}: {common / ours:.1f} times ours")


if __name__ == "__main__":
    print(f"threads: {torch.get_num_threads()}")
    compare(f"Fréchet distance, 2 x {CHUNKS * CHUNK:,} x {DIM:,}", frechet_ours, frechet_common)
    compare(f"precision and recall, 2 x {POINTS:,} x {DIM:,}", neighbours_ours, neighbours_common)

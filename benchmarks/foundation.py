"""Speed of the ground floor, each as a ratio in one run: `python benchmarks/foundation.py`.

- training loop: our `fit` against a bare PyTorch loop of the same network, batch and optimiser (1.0 = no overhead).
- Fréchet distance: ours by eigenvalues against `scipy.linalg.sqrtm`, 2,048 features, equal result.
- glyphs: images drawn a minute (no peer; the course asks for 20,000 on one core).
"""

import time

import numpy as np
import scipy.linalg
import torch

from course_lib.data import dataset, glyphs
from course_lib.metrics import frechet_distance
from course_lib.models import build
from course_lib.training import Recipe, fit

STEPS, BATCH = 400, 128


def training_loop() -> tuple[float, float]:
    """Seconds of `fit` and of the bare loop, the best of three each, by turns."""
    images = dataset("glyphs", n=10_000)
    plan = Recipe("vae", "glyphs", "smoke", steps=STEPS, batch_size=BATCH)
    fit(build("vae"), images, plan.replace(steps=20), progress=False)  # imports and caches
    ours, bare = [], []
    for _ in range(3):
        start = time.perf_counter()
        fit(build("vae"), images, plan, progress=False)
        ours.append(time.perf_counter() - start)
        bare.append(bare_loop(images.pixels))
    return min(ours), min(bare)


def bare_loop(pixels: torch.Tensor) -> float:
    """Seconds of the same training without our loop around it."""
    model = build("vae")
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    start = time.perf_counter()
    for _ in range(STEPS):
        loss = model.loss(pixels[torch.randint(len(pixels), (BATCH,))].float() / 255)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9)
        optimizer.step()
    return time.perf_counter() - start


def frechet(d: int = 2048) -> tuple[float, float]:
    """Seconds of ours and of the matrix square root."""
    rng = np.random.default_rng(0)
    a, b = (np.cov(rng.standard_normal((2 * d, d)), rowvar=False) for _ in range(2))
    mean = np.zeros(d)
    start = time.perf_counter()
    ours = frechet_distance(mean, a, mean, b)
    first = time.perf_counter() - start
    start = time.perf_counter()
    theirs = np.trace(a + b - 2 * np.real(scipy.linalg.sqrtm(a @ b)))
    second = time.perf_counter() - start
    assert abs(ours / theirs - 1) < 1e-6, (ours, theirs)
    return first, second


def glyphs_a_minute(n: int = 20_000) -> float:
    factors = glyphs.draw_factors(n, torch.Generator().manual_seed(0))
    start = time.perf_counter()
    glyphs.render(factors)
    return 60 * n / (time.perf_counter() - start)


if __name__ == "__main__":
    print(f"threads: {torch.get_num_threads()}")
    ours, bare = training_loop()
    print(
        f"training loop: {STEPS / ours:.0f} steps/s, bare loop {STEPS / bare:.0f}; time ratio {ours / bare:.2f}"
    )
    ours, peer = frechet()
    print(
        f"Fréchet distance, 2,048 features: {ours:.1f} s, sqrtm {peer:.1f} s; {peer / ours:.1f} times faster"
    )
    print(f"glyphs: {glyphs_a_minute():,.0f} images a minute")

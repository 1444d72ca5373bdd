"""Distances between real images and four imitations: other real images, pPCA samples, VAE samples, and k-means centres.

Pixels as they are, no features. Smoke: glyphs and their checkpoints. Larger tiers: MNIST, whose test images are shuffled
first: the file holds easier writers in its first half, which `order_auc` shows.
"""

import numpy as np
import torch
from torch import Tensor

import course_lib
from course_lib.data import dataset
from course_lib.metrics import mmd2, sliced_wasserstein2, wasserstein1
from course_lib.models.density_ratio import DensityRatio

CONTENDERS = ("other real images", "pPCA samples", "VAE mean images", "100 k-means centres")
MEASURES = ("MMD", "sliced W2", "W1", "AUC")


def run(tier: str) -> dict[str, np.ndarray]:
    """`n` (S,) batch sizes; `w1` (4, S, repeats) of minibatches, rows CONTENDERS; `table` (4, 4) of `table_n` images, columns
    MEASURES; `order_auc` of a classifier between the first and the second half of the test file."""
    smoke = tier == "smoke"
    sizes = (25, 50, 100, 200, 400) if smoke else (25, 50, 100, 200, 400, 800, 1600)
    table_n, repeats = (800, 2) if smoke else (4_000, 4)
    data = "glyphs" if smoke else "mnist"
    real, imitations = contenders(data, table_n)
    w1 = np.zeros((len(CONTENDERS), len(sizes), repeats))
    for s, n in enumerate(sizes):
        for r in range(repeats):
            rows = torch.randperm(table_n, generator=torch.Generator().manual_seed(100 * s + r))[:n]
            w1[:, s, r] = [wasserstein1(real[rows], fake[rows]).item() for fake in imitations.values()]
    table = np.array([list(measure(real, fake).values()) for fake in imitations.values()])
    shuffle = torch.Generator().manual_seed(0)
    halves = _test_images(data, table_n).chunk(2)
    order_auc = _auc(*(half[torch.randperm(len(half), generator=shuffle)] for half in halves))
    return {
        "n": np.array(sizes),
        "w1": w1,
        "table": table,
        "table_n": np.array(table_n),
        "order_auc": np.array(order_auc),
    }


def _test_images(data: str, n: int) -> Tensor:
    """At least 2 n test images in the order of the file, `(N, 784)`; of MNIST all of them."""
    return dataset(data, "test", n=2 * n if data == "glyphs" else 10_000).x.flatten(1)


def contenders(data: str, n: int) -> tuple[Tensor, dict[str, Tensor]]:
    """n real test images of "glyphs" or "mnist" and n of each contender, flattened, `(n, 784)` in [0, 1]."""
    from sklearn.cluster import KMeans

    generator = torch.Generator().manual_seed(0)
    test, train = _test_images(data, n), dataset(data, n=2_000).x.flatten(1)
    test = test[torch.randperm(len(test), generator=generator)]
    centres = KMeans(100, n_init=1, max_iter=30, random_state=0).fit(train.numpy()).cluster_centers_
    samples = (
        course_lib.load(f"{family}_{data}").sample(n, generator=generator).flatten(1)
        for family in ("ppca", "vae")
    )
    images = (test[n : 2 * n], *samples, torch.from_numpy(centres).repeat(-(-n // 100), 1)[:n])
    return test[:n], {
        name: x.detach().float().clamp(0, 1) for name, x in zip(CONTENDERS, images, strict=True)
    }


def measure(real: Tensor, fake: Tensor) -> dict[str, float]:
    """MEASURES between two sets of images: root of the U-statistic (0 if negative), root of sliced W2 squared, W1 of at most
    500 images, and the AUC of a classifier on the half that it was not trained on."""
    generator = torch.Generator().manual_seed(0)
    return {
        "MMD": mmd2(real, fake).clamp(min=0).sqrt().item(),
        "sliced W2": sliced_wasserstein2(real, fake, 200, generator).sqrt().item(),
        "W1": wasserstein1(real[:500], fake[:500]).item(),
        "AUC": _auc(real, fake),
    }


def _auc(real: Tensor, fake: Tensor, steps: int = 300) -> float:
    """Share of test pairs that the classifier puts in the right order; 1/2 if it cannot tell."""
    half = len(real) // 2
    x = torch.cat([real[:half], fake[:half]]).float()
    y = torch.cat([torch.ones(half), torch.zeros(half)])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DensityRatio(real.shape[1]).float()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
        for _ in range(steps):
            rows = torch.randint(len(x), (128,))
            optimizer.zero_grad()
            model.loss(x[rows], y[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        inside, outside = (model.log_ratio(part[half:].float()) for part in (real, fake))
    wins = (inside[:, None] > outside).double() + 0.5 * (inside[:, None] == outside).double()
    return wins.mean().item()

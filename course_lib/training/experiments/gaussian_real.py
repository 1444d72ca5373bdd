"""Gaussians of real digits and clothes: test likelihood against rank and training size, classification, and what p(x) prefers.

Smoke: glyphs and sprites. Larger tiers: MNIST and Fashion-MNIST. Pixels are dequantised to 256 levels; likelihoods are in
nats an image for pixels in [0, 1].
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.data import dataset
from course_lib.models.gaussian import DiagonalGaussian, FullGaussian
from course_lib.models.generative_classifier import GenerativeClassifier
from course_lib.models.ppca import ProbabilisticPCA

CHANGES = ("the other set", "blurred", "half as bright", "black", "with noise")


@torch.no_grad()
def run(tier: str) -> dict[str, np.ndarray]:
    """`n` (S,), `k` (K,); `train` and `test` (S, K) log-likelihood at rank k, `full` and `diagonal` (S,) on test images;
    `accuracy` (2,) of one Gaussian per class on both sets; `auroc` (2, 5) of log p(x), rows the set trained on, columns
    CHANGES."""
    smoke = tier == "smoke"
    names = ("glyphs", "shapes") if smoke else ("mnist", "fashion_mnist")
    sizes = (1_000, 3_000) if smoke else (1_000, 5_000, 60_000)
    ks = (10, 50, 200, 500) if smoke else (5, 10, 20, 50, 100, 150, 200, 300, 400, 500, 600, 700)
    sets = [_images(name, sizes[-1]) for name in names]
    (x, _), (x_test, _) = sets[0]
    shape = tuple(x.shape[1:])
    train, test, full, diagonal = [], [], [], []
    for n in sizes:
        fits = [ProbabilisticPCA(shape, k).double().initialise(x[:n]) for k in ks]
        train.append([_score(model, x[: min(n, 10_000)]) for model in fits])
        test.append([_score(model, x_test) for model in fits])
        full.append(_score(FullGaussian(shape).double().initialise(x[:n]), x_test))
        diagonal.append(_score(DiagonalGaussian(shape).double().initialise(x[:n]), x_test))
    return {
        "n": np.array(sizes),
        "k": np.array(ks),
        "train": np.array(train),
        "test": np.array(test),
        "full": np.array(full),
        "diagonal": np.array(diagonal),
        "accuracy": np.array([_accuracy(*pair) for pair in sets]),
        "auroc": np.array([_aurocs(*pair[0], pair[1][0], other[1][0]) for pair, other in (sets, sets[::-1])]),
    }


def _images(name: str, n: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Dequantised training and test images with labels."""
    size = {"size": 28} if name == "shapes" else {}
    pair = dataset(name, n=n, **size), dataset(name, "test", n=2_000 if n < 10_000 else 10_000, **size)
    return tuple((_dequantise(part.x), part.y) for part in pair)


def _dequantise(x: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return x.double() + (torch.rand(x.shape, generator=generator, dtype=torch.float64) - 0.5) / 255


def _score(model: nn.Module, x: Tensor) -> float:
    return torch.cat([model.log_prob(part) for part in x.split(10_000)]).mean().item()


def _accuracy(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> float:
    (x, y), (x_test, y_test) = train, test
    densities = (FullGaussian(x.shape[1:], noise_var=0.01) for _ in range(int(y.max()) + 1))
    model = GenerativeClassifier(densities).double().initialise(x, y)
    return (model.log_posterior(x_test).argmax(1) == y_test).double().mean().item()


def _aurocs(x: Tensor, y: Tensor, x_test: Tensor, other: Tensor) -> list[float]:
    from sklearn.metrics import roc_auc_score

    model = FullGaussian(x.shape[1:], noise_var=0.01).double().initialise(x)
    noise = 0.2 * torch.randn(x_test.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    changed = (
        other,
        F.avg_pool2d(x_test, 3, 1, 1),
        x_test / 2,
        _dequantise(torch.zeros_like(x_test)),
        x_test + noise,
    )
    inside = model.log_prob(x_test)
    return [
        roc_auc_score([1] * len(inside) + [0] * len(x), torch.cat([inside, model.log_prob(x)]).numpy())
        for x in changed
    ]

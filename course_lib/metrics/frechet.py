"""The Fréchet distance between feature distributions (FID), its statistics gathered in a stream.

| symbol | name | meaning |
|---|---|---|
| mu, Sigma | `mean`, `cov` | mean and sample covariance (divisor n - 1) of the features, float64 |
| d | `frechet_distance` | the squared distance ||mu_a - mu_b||^2 + tr(A + B - 2 (A B)^(1/2)) |

Source: Heusel et al. 2017; Dowson & Landau 1982.
"""

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor

import course_lib
from course_lib import checkpoints
from course_lib.distributions import gaussian_w2
from course_lib.metrics import features as feature_networks
from course_lib.metrics.card import Metric

BOOTSTRAP = 20  # resamples behind the interval
BOOTSTRAP_FEATURES = 256  # with more features a resample costs too much


def frechet_distance(mu_a, cov_a, mu_b, cov_b) -> float:
    """Squared Fréchet distance between two Gaussians, in float64.

    The same number as the squared 2-Wasserstein distance: `distributions.gaussian_w2`, which takes the trace of the root
    from eigenvalues and so needs no matrix square root.

    Args:
        mu_a, mu_b: `(d,)` arrays or tensors. cov_a, cov_b: `(d, d)` covariances.

    Raises:
        ValueError: shapes that do not fit, or NaN.
    """
    arrays = [torch.as_tensor(a, dtype=torch.float64) for a in (mu_a, cov_a, mu_b, cov_b)]
    if not all(bool(a.isfinite().all()) for a in arrays):
        raise ValueError("mean or covariance holds NaN or infinity: look at the features first")
    return float(gaussian_w2(*arrays))


class FeatureStatistics:
    """Mean and covariance of features that come in chunks, in float64.

    Chunks are merged by the pairwise update of Chan et al. 1979, which does not subtract large sums from each other.
    """

    def __init__(self):
        self.n = 0
        self.mean: Tensor | None = None  # (d,)
        self._scatter: Tensor | None = None  # (d, d) sum of outer products of deviations

    def update(self, features: Tensor) -> "FeatureStatistics":
        """Add a chunk `(n, d)`.

        Raises:
            ValueError: not a floating-point matrix, another d than before, or NaN.
        """
        if features.ndim != 2 or not features.is_floating_point():
            raise ValueError(f"features must be floats (n, d); got {features.dtype} {tuple(features.shape)}")
        if self.mean is not None and features.shape[1] != len(self.mean):
            raise ValueError(f"features of length {features.shape[1]} after ones of length {len(self.mean)}")
        if not bool(features.isfinite().all()):
            raise ValueError("features hold NaN or infinity")
        if len(features) == 0:
            return self
        chunk = features.detach().to("cpu", torch.float64)
        mean = chunk.mean(0)
        deviation = chunk - mean
        scatter = deviation.T @ deviation
        if self.n == 0:
            self.n, self.mean, self._scatter = len(chunk), mean, scatter
            return self
        total = self.n + len(chunk)
        shift = mean - self.mean
        self._scatter += scatter
        self._scatter.addr_(shift, shift, alpha=self.n * len(chunk) / total)
        self.mean = self.mean + shift * len(chunk) / total
        self.n = total
        return self

    @property
    def cov(self) -> Tensor:
        """Sample covariance `(d, d)`, divisor n - 1.

        Raises:
            ValueError: fewer than two samples.
        """
        if self.n < 2:
            raise ValueError(f"a covariance needs at least two samples; got {self.n}")
        d = len(self.mean)
        if self.n <= d:
            warnings.warn(
                f"{self.n} samples of {d} features: the covariance has rank at most {self.n - 1}, "
                "and a Fréchet distance from it is mostly bias",
                stacklevel=2,
            )
        return self._scatter / (self.n - 1)


def save_statistics(path: Path, statistics: FeatureStatistics, card: dict) -> dict:
    """Store mean and covariance with the card of how the features came about; returns the card."""
    state = {"mean": statistics.mean, "cov": statistics.cov}
    return checkpoints.save(path, state, {**card, "n": statistics.n}, dtype=torch.float64)


def reference_path(data: str, features: str) -> Path:
    """Where the statistics of a real test set are kept."""
    return checkpoints.PRETRAINED / "reference" / f"{data}_{features}.safetensors"


def load_statistics(path: Path) -> tuple[Tensor, Tensor, dict]:
    """(mean, covariance, card) of stored statistics; raises `CheckpointError` unless the file is whole."""
    state, card = checkpoints.load(path)
    return state["mean"], state["cov"], card


def fid(
    real: Tensor | str,
    fake: Tensor,
    features: str | Callable[[Tensor], Tensor] | None = "lenet",
    *,
    split: str = "test",
    seed: int | None = None,
) -> Metric:
    """Fréchet distance between real and generated images in a feature space.

    Args:
        real: images `(N, C, H, W)` in [0, 1]; or the name of stored statistics of a real test set, such as "mnist".
        fake: generated images.
        features: "lenet" (28x28 grey), "inception" (where its weights are), a function from images to `(N, d)`, or None
            if `real` and `fake` are features already.
        split, seed: where the real images come from and the seed of the generated ones, for the card.

    Returns:
        The value with an interval of +- 1.96 bootstrap deviations (up to 256 features) and its card. It is biased
        upwards by about d^2 / 2n: values with different N do not compare.

    Raises:
        ValueError: images of the wrong kind, or fewer than two.
    """
    network, name, weights = _network(features)
    fake_features = network(fake).double()
    if isinstance(real, str):
        mean, cov, stored = load_statistics(
            checkpoints.PRETRAINED / "reference" / f"{real}_{name}.safetensors"
        )
        if stored["weights"] != weights:
            raise ValueError(
                f"the stored statistics of {real} come from other {name} weights: compute them anew"
            )
        n_real, real_features = stored["n"], None
    else:
        real_features = network(real).double()
        n_real = len(real_features)
        mean, cov = _moments(real_features)
    value = frechet_distance(mean, cov, *_moments(fake_features))
    card = {
        "features": name,
        "weights": weights,
        "resize": "299 bilinear" if name == "inception" else "none",
        "n_real": n_real,
        "n_fake": len(fake_features),
        "split": split,
        "dtype": "float64",
        "seed": seed,
        "version": course_lib.__version__,
    }
    interval = None
    if fake_features.shape[1] <= BOOTSTRAP_FEATURES:
        deviation = _bootstrap_deviation(real_features, fake_features, mean, cov)
        interval = (value - 1.96 * deviation, value + 1.96 * deviation)
    return Metric("fid", value, card, interval)


def _network(features) -> tuple[Callable[[Tensor], Tensor], str, str]:
    if features is None:
        return (lambda x: x), "given", ""
    if callable(features):
        return features, getattr(features, "__name__", "function"), ""
    if features not in ("lenet", "inception"):
        raise ValueError(f"unknown features {features!r}: expected 'lenet', 'inception', a function, or None")
    network = getattr(feature_networks, f"{features}_features")
    return network, features, feature_networks.weights_hash(features)


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    statistics = FeatureStatistics().update(features)
    return statistics.mean, statistics.cov


def _resampled(features: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return _moments(features[torch.randint(len(features), (len(features),), generator=generator)])


def _bootstrap_deviation(real: Tensor | None, fake: Tensor, mean: Tensor, cov: Tensor) -> float:
    """Standard deviation of the distance over resamples of the images (stored statistics stay as they are)."""
    generator = torch.Generator().manual_seed(0)

    def values() -> Iterable[float]:
        for _ in range(BOOTSTRAP):
            moments = (mean, cov) if real is None else _resampled(real, generator)
            yield frechet_distance(*moments, *_resampled(fake, generator))

    return float(torch.tensor(list(values()), dtype=torch.float64).std())

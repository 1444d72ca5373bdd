"""The Fréchet distance between feature distributions (FID), its statistics gathered in a stream.

| symbol | name | meaning |
|---|---|---|
| mu, Sigma | `mean`, `cov` | mean and sample covariance (divisor n - 1) of the features, float64 |
| d | `frechet_distance` | the squared distance ||mu_a - mu_b||^2 + tr(A + B - 2 (A B)^(1/2)) |
| FID_N | `fid`, `fid_curve` | d between the features of N real and N generated images; about a + b/N |
| a | `fid_infinity` | its value for endless images, extrapolated |

Source: Heusel et al. 2017; Dowson & Landau 1982; Chong & Forsyth 2020.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from course_lib import checkpoints
from course_lib.distributions import gaussian_w2, matrix_root
from course_lib.metrics.card import Metric
from course_lib.metrics.features import Features, feature_space

ROWS = 1000  # features that are centred at a time: 16 MB for 2,048 of them
BLOCK = 256  # columns of a covariance's block
INFLUENCES = 5_000  # points from whose pull on the distance its error is judged


def frechet_distance(mu_a, cov_a, mu_b, cov_b) -> float:
    """Squared Fréchet distance between two Gaussians, in float64.

    The same number as the squared 2-Wasserstein distance: `distributions.gaussian_w2`, which takes the trace of the root
    from eigenvalues and so needs no matrix square root.

    Args:
        mu_a, mu_b: `(d,)` arrays or tensors. cov_a, cov_b: `(d, d)` covariances.

    Raises:
        ValueError: shapes that do not fit, or NaN.

    Implements: evaluation-fid
    """
    arrays = [torch.as_tensor(a, dtype=torch.float64) for a in (mu_a, cov_a, mu_b, cov_b)]
    if not all(bool(a.isfinite().all()) for a in arrays):
        raise ValueError("mean or covariance holds NaN or infinity: look at the features first")
    return float(gaussian_w2(*arrays))


def fid_bias(eigenvalues: Tensor, n: int) -> float:
    """Mean Fréchet distance between two samples of n of one Gaussian, to first order in 1/n.

    [(5/2) sum_i l_i + sum_ij l_i l_j / (l_i + l_j)] / n; for the identity in d dimensions, d (d + 5) / 2n.

    Args:
        eigenvalues: `(d,)` l, of the common covariance.

    Implements: evaluation-fid-bias
    """
    l = eigenvalues.double()
    l = l[l > 0]
    return ((2.5 * l.sum() + (l.outer(l) / (l + l.unsqueeze(1))).sum()) / n).item()


class FeatureStatistics:
    """Mean and covariance of features that come in chunks, in float64.

    Chunks are merged by the pairwise update of Chan et al. 1979, which does not subtract large sums from each other. Beside
    the caller's chunk stand a few `(d, d)` matrices: some 120 MB for 2,048 features.
    """

    def __init__(self):
        self.n = 0
        self.mean: Tensor | None = None  # (d,)
        self._scatter: Tensor | None = None  # (d, d) sum of outer products of deviations, lower triangle

    def update(self, features: Tensor) -> "FeatureStatistics":
        """Add a chunk `(n, d)`.

        Raises:
            ValueError: not a floating-point matrix, another d than before, or NaN.
        """
        if features.ndim != 2 or not features.is_floating_point():
            raise ValueError(f"features must be floats (n, d); got {features.dtype} {tuple(features.shape)}")
        if self.mean is not None and features.shape[1] != len(self.mean):
            raise ValueError(f"features of length {features.shape[1]} after ones of length {len(self.mean)}")
        if len(features) == 0:
            return self
        if not bool(features.amax().isfinite() & features.amin().isfinite()):
            raise ValueError("features hold NaN or infinity")
        for part in features.detach().cpu().split(ROWS):
            self._merge(part)
        return self

    def _merge(self, part: Tensor) -> None:
        n, d = part.shape
        mean = part.mean(0, dtype=torch.float64)
        if self.mean is None:
            self.mean, self._scatter = mean.new_zeros(d), mean.new_zeros(d, d)
        shift, total = mean - self.mean, self.n + n
        rows = mean.new_empty(n + 1, d)
        torch.sub(part, mean, out=rows[:n])
        # The difference of the means is one more row of the same product.
        rows[n] = (self.n * n / total) ** 0.5 * shift
        for start in range(0, d, BLOCK):  # only the blocks up to the diagonal: half of the work
            stop = start + BLOCK
            self._scatter[start:stop, :stop].addmm_(rows[:, start:stop].T, rows[:, :stop])
        self.mean += n / total * shift
        self.n = total

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
        lower = self._scatter.tril().div_(self.n - 1)
        return lower.add_(lower.tril(-1).T)


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
    features: Features = "lenet",
    *,
    split: str = "test",
    seed: int | None = None,
) -> Metric:
    """Fréchet distance between real and generated images in a feature space.

    Args:
        real: images `(N, C, H, W)` in [0, 1]; or the name of stored statistics of a real test set, such as "mnist".
        fake: generated images.
        features: "lenet" (28x28), "inception" (where its weights are), a function from images to `(N, d)`, or None if
            `real` and `fake` are features already.
        split, seed: where the real images come from and the seed of the generated ones, for the card.

    Returns:
        The value with its card, and an interval for the chance in both samples: +- 1.96 deviations to first order
        (`_variance`). The interval does not hold the bias, about d^2 / 2N upwards: values with different N do not compare.

    Raises:
        ValueError: images of the wrong kind, features of different sizes, NaN, or fewer than two images.
    """
    space = feature_space(features)
    y = space(fake)
    moments_y = _moments(y)
    if isinstance(real, str):
        mean, cov, stored = load_statistics(reference_path(real, space.name))
        if stored["weights"] != space.weights:
            raise ValueError(
                f"the stored statistics of {real} come from other {space.name} weights: compute them anew"
            )
        x, moments_x, n_real = None, (mean, cov), stored["n"]
    else:
        x = space(real)
        moments_x, n_real = _moments(x), len(x)
    if moments_x[0].shape != moments_y[0].shape:
        sizes = len(moments_x[0]), len(moments_y[0])
        raise ValueError(
            f"real features have {sizes[0]} numbers, generated ones {sizes[1]}: compare like with like"
        )
    value = frechet_distance(*moments_x, *moments_y)
    variance = _variance(y, *moments_y, *moments_x)
    if x is not None:
        variance += _variance(x, *moments_x, *moments_y)
    half = 1.96 * variance**0.5
    card = space.protocol(n_real, len(y), split, seed)
    return Metric("fid", value, card, (value - half, value + half))


def fid_curve(
    real: Tensor,
    fake: Tensor,
    features: Features = "lenet",
    *,
    sizes: Sequence[int] | None = None,
    draws: int = 8,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """FID of N real against N generated images for several N, each the mean over random subsets.

    Args:
        sizes: the N; if left out, a quarter, a third, half, two thirds and all of the images (of the smaller set).
        draws: pairs of subsets for each N.

    Returns:
        `(len(sizes),)` N and `(len(sizes),)` distances.

    Raises:
        ValueError: an N that is not from 2 to the number of images; what `fid` refuses.
    """
    space = feature_space(features)
    sets = space(real), space(fake)
    most = min(map(len, sets))
    sizes = list(sizes or (int(most / part) for part in (4, 3, 2, 1.5, 1)))
    if not all(2 <= n <= most for n in sizes):
        raise ValueError(
            f"subsets have from 2 to {most} images, as many as both sets hold; got sizes {sizes}"
        )
    generator = torch.Generator().manual_seed(seed)

    def draw(n: int) -> float:
        subsets = (x[torch.randperm(len(x), generator=generator)[:n]] for x in sets)
        return frechet_distance(*(moment for subset in subsets for moment in _moments(subset)))

    values = [sum(draw(n) for _ in range(draws)) / draws for n in sizes]
    return torch.tensor(sizes), torch.tensor(values, dtype=torch.float64)


def fid_infinity(
    real: Tensor,
    fake: Tensor,
    features: Features = "lenet",
    *,
    sizes: Sequence[int] | None = None,
    draws: int = 8,
    split: str = "test",
    seed: int = 0,
) -> Metric:
    """FID without the bias of finite samples: the intercept a of the line a + b/N through the points of `fid_curve`.

    Both sets shrink together, so the bias of the real images goes too (in the paper only the generated ones do).

    Args:
        sizes, draws: as for `fid_curve`; at least two sizes.

    Returns:
        The intercept, which may fall below 0, with the interval of `fid`: the chance in the images is the same.

    Implements: evaluation-fid-infinity
    Source: Chong & Forsyth 2020.
    """
    space = feature_space(features)
    x, y = space(real), space(fake)
    n, values = fid_curve(x, y, None, sizes=sizes, draws=draws, seed=seed)
    if len(n.unique()) < 2:
        raise ValueError(f"a line needs two sizes that differ; got {n.tolist()}")
    design = torch.stack([torch.ones(len(n)), 1 / n], dim=1).double()
    value = torch.linalg.lstsq(design, values.unsqueeze(1)).solution[0].item()
    all_images = fid(x, y, space.extracted(), split=split, seed=seed)
    half = (all_images.interval[1] - all_images.interval[0]) / 2
    card = {**all_images.card, "sizes": n.tolist(), "draws": draws}
    return Metric("fid_infinity", value, card, (value - half, value + half))


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    statistics = FeatureStatistics().update(features)
    return statistics.mean, statistics.cov


def _variance(x: Tensor, mean: Tensor, cov: Tensor, other_mean: Tensor, other_cov: Tensor) -> float:
    """Variance that the sample x brings into its Fréchet distance from another one, to first order (the delta method).

    With more or less of a point x, the distance moves by 2 (mu - mu') . u + u^T (1 - T) u up to a constant, u = x - mu,
    where T is the linear map that carries the sample's Gaussian to the other one.

    Implements: evaluation-fid-interval
    """
    root = matrix_root(other_cov)
    values, vectors = torch.linalg.eigh(root.T @ cov @ root)
    # A flat direction moves nothing.
    scale = torch.where(values > 1e-12 * values[-1], values, torch.inf) ** -0.25
    u = x[:: -(-len(x) // INFLUENCES)] - mean
    carried = u @ (root @ vectors * scale)  # |carried|^2 = u^T T u
    influence = 2 * u @ (mean - other_mean) + u.square().sum(1) - carried.square().sum(1)
    return (influence.var() / len(x)).item()

"""Fidelity and diversity told apart: how much of the samples looks real, and how much of the real data they reach.

| name | question | judged by | source |
|---|---|---|---|
| `precision_recall` | how many fakes lie on the real manifold; how many real points on the fakes'? | k-NN balls | Kynkäänniemi et al. 2019 |
| `density_coverage` | how many real balls hold a fake; how many fakes does a real ball hold? | k-NN balls around real points only | Naeem et al. 2020 |
| `prd_curve` | which share of each law can be matched with the other, at every exchange rate? | histogram over clusters | Sajjadi et al. 2018 |

All take points `(n, d)`: features, or the points of a toy.
"""

import math

import torch
from torch import Tensor

from course_lib.metrics.neighbours import nearest_neighbours, screened, settled
from course_lib.metrics.pairwise import check_points


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> tuple[float, float]:
    """Share of fakes in some real point's ball, and share of real points in some fake's ball.

    A point's ball reaches to its k-th nearest other point of its own set, boundary included; a copy counts as another
    point. Both sets should be equally large: larger sets have smaller balls.

    Args:
        real, fake: `(n, d)` and `(m, d)`.

    Raises:
        ValueError: no points, NaN, different d, or k not below both n and m.

    Implements: evaluation-precision, evaluation-recall
    Source: Kynkäänniemi et al. 2019, equations 1 and 2.
    """
    check_points(real, fake)
    radii_real, radii_fake = _radii(real, k, "real"), _radii(fake, k, "generated")
    inside, reached = 0, torch.zeros(len(real), dtype=torch.bool, device=real.device)
    for rows, squared, slack in screened(fake, real):
        pairs = fake, real, rows, squared, slack
        inside += int(_in_ball(*pairs, radii_real).any(1).sum())
        reached |= _in_ball(*pairs, radii_fake[rows].unsqueeze(1)).any(0)
    return inside / len(fake), reached.double().mean().item()


def density_coverage(real: Tensor, fake: Tensor, k: int = 5) -> tuple[float, float]:
    """Number of real balls a fake lies in, on average and divided by k; and share of real balls that hold a fake.

    Density may exceed 1. No ball stands around a fake, so one odd sample does not spread over the data.

    Raises:
        ValueError: no points, NaN, different d, or k not below the number of real points.

    Implements: evaluation-density, evaluation-coverage
    Source: Naeem et al. 2020, equations 5 and 6.
    """
    check_points(real, fake)
    radii = _radii(real, k, "real")
    hits, covered = 0, torch.zeros(len(real), dtype=torch.bool, device=real.device)
    for rows, squared, slack in screened(fake, real):
        inside = _in_ball(fake, real, rows, squared, slack, radii)
        hits += int(inside.sum())
        covered |= inside.any(0)
    return hits / (k * len(fake)), covered.double().mean().item()


def expected_coverage(n_real: int, n_fake: int, k: int = 5) -> float:
    """Mean coverage of a perfect sampler, whatever the law: 1 - prod_{i<k} (n_real - 1 - i) / (n_real + n_fake - 1 - i).

    That is the chance that a point's k nearest among all others hold at least one of the fakes.

    Implements: evaluation-coverage-floor
    Source: Naeem et al. 2020, section 3.3.
    """
    return 1 - math.prod((n_real - 1 - i) / (n_real + n_fake - 1 - i) for i in range(k))


def _radii(points: Tensor, k: int, name: str) -> Tensor:
    """Distance of each point to its k-th nearest other point, `(n,)` float64."""
    if not 1 <= k < len(points):
        raise ValueError(
            f"each of the {len(points)} {name} points has {len(points) - 1} neighbours; asked for k={k}"
        )
    return nearest_neighbours(points, points, k + 1)[0][:, -1]  # the nearest is the point itself


def _in_ball(x: Tensor, y: Tensor, rows: slice, squared: Tensor, slack: float, radii: Tensor) -> Tensor:
    """Which pairs of a screened chunk are at most `radii` (broadcast to the chunk) apart."""
    bounds = radii.square().to(squared.dtype)
    inside = squared <= bounds - slack
    i, j = (inside ^ (squared <= bounds + slack)).nonzero(as_tuple=True)  # too close to call
    inside[i, j] = settled(x, y, rows.start + i, j) <= radii.expand(squared.shape)[i, j]
    return inside


def prd_curve(
    real: Tensor, fake: Tensor, clusters: int = 20, angles: int = 1001, runs: int = 10, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Precision and recall of the samples at every exchange rate, `(angles,)` each.

    Real and generated points are clustered together by k-means; their two histograms over the clusters are compared by
    `prd`. The curve is the mean over runs of k-means.

    Raises:
        ValueError: no points, NaN, different d, or fewer points than clusters.

    Source: Sajjadi et al. 2018, section 3.
    """
    from sklearn.cluster import MiniBatchKMeans

    check_points(real, fake)
    if len(real) + len(fake) < clusters:
        raise ValueError(f"{len(real)} + {len(fake)} points do not fill {clusters} clusters")
    union = torch.cat([real, fake]).detach().cpu().double().numpy()
    curves = []
    for run in range(runs):
        kmeans = MiniBatchKMeans(clusters, n_init=10, random_state=seed + run)
        labels = torch.from_numpy(kmeans.fit_predict(union)).long()
        shares = [
            torch.bincount(part, minlength=clusters).double() / len(part)
            for part in labels.split([len(real), len(fake)])
        ]
        curves.append(torch.stack(prd(*shares, angles)))
    precision, recall = torch.stack(curves).mean(0)
    return precision, recall


def prd(real: Tensor, fake: Tensor, angles: int = 1001) -> tuple[Tensor, Tensor]:
    """The curve of two probability vectors `(K,)`: precision sum_i min(lambda p_i, q_i), recall sum_i min(p_i, q_i / lambda).

    lambda = tan(angle) with equally spaced angles in (0, pi/2): low for high recall, high for high precision.

    Implements: evaluation-prd
    Source: Sajjadi et al. 2018, theorem 1.
    """
    edge = 1e-10
    slope = torch.linspace(edge, math.pi / 2 - edge, angles, dtype=torch.float64).tan().unsqueeze(1)
    precision = torch.minimum(slope * real, fake).sum(1)
    return precision.clamp(max=1), (precision / slope.squeeze(1)).clamp(max=1)


def f_beta(precision: Tensor, recall: Tensor, beta: float) -> float:
    """The largest (1 + beta^2) P R / (beta^2 P + R) along a curve: beta > 1 leans on recall, beta < 1 on precision.

    Implements: evaluation-f-beta
    """
    product, total = precision * recall, beta**2 * precision + recall
    return ((1 + beta**2) * product / total.clamp(min=1e-300)).max().item()


def prd_f8(real: Tensor, fake: Tensor, **options) -> tuple[float, float]:
    """(F8, F1/8) of `prd_curve`: what is published as (recall, precision). Options are those of `prd_curve`.

    Source: Sajjadi et al. 2018, section 4.
    """
    precision, recall = prd_curve(real, fake, **options)
    return f_beta(precision, recall, 8), f_beta(precision, recall, 1 / 8)

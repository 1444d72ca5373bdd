"""The kernel Inception distance (KID): the unbiased squared MMD of features, averaged over subsets.

Its mean is the same for every number of images, unlike that of the FID, and 0 for a perfect sampler; so it may be negative.

Source: Bińkowski et al. 2018.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from course_lib.metrics.card import Metric
from course_lib.metrics.features import Features, feature_space
from course_lib.metrics.mmd import mmd2
from course_lib.metrics.pairwise import check_points


def kid(
    real: Tensor,
    fake: Tensor,
    features: Features = "lenet",
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    split: str = "test",
    seed: int = 0,
) -> Metric:
    """Mean over random subsets of the U-statistic of the squared MMD, with the kernel (x.y / d + 1)^3, in float64.

    Args:
        real, fake, features: as for `fid`; no stored statistics, the kernel needs the images.
        subsets, subset_size: how many subsets of each set, without replacement, and of how many images.
        split, seed: for the card; the seed also draws the subsets.

    Returns:
        The value with its card, and +- 1.96 standard errors. The subsets share images, so the error is not their deviation
        s over the root of their number: with N images and subsets of m it is s sqrt(m / (N - m) + 1 / subsets), the first
        term for the chance in the images, the second for that in the subsets. No interval where m = N.

    Raises:
        ValueError: fewer images than a subset takes; what `fid` refuses.

    Implements: evaluation-kid
    """
    space = feature_space(features)
    x, y = space(real), space(fake)
    check_points(x, y)
    n = min(len(x), len(y))
    if not 2 <= subset_size <= n or subsets < 1:
        raise ValueError(
            f"{subsets} subsets of {subset_size} from {len(x)} real and {len(y)} generated images: "
            f"expected at least one subset, of 2 to {n} images"
        )
    draws = draw_subsets(len(x), len(y), subsets, subset_size, seed)
    values = torch.stack([mmd2(x[i].double(), y[j].double(), kernel="cubic") for i, j in draws])
    value, interval = values.mean().item(), None
    if subset_size < n and subsets > 1:
        half = 1.96 * values.std().item() * (subset_size / (n - subset_size) + 1 / subsets) ** 0.5
        interval = (value - half, value + half)
    card = {**space.protocol(len(x), len(y), split, seed), "subsets": subsets, "subset_size": subset_size}
    return Metric("kid", value, card, interval)


def draw_subsets(
    n_real: int, n_fake: int, subsets: int, size: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The indices (real, generated) of each subset."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(subsets):
        yield tuple(torch.randperm(n, generator=generator)[:size] for n in (n_real, n_fake))

"""FID and KID against the number of images: a VAE, two damaged copies of the data, and real images.

Smoke: glyphs, up to 1,000 images. Larger tiers: MNIST, up to 10,000. As many real as generated images at every size.
"""

import numpy as np
import torch

from course_lib.data import dataset
from course_lib.metrics import feature_space, fid_infinity, frechet_distance, kid
from course_lib.training.experiments.evaluation_table import samplers

NAMES = ("real images", "VAE", "no 7, 8, 9", "real, with noise")
SMOKE = 1_000, (100, 200, 500, 1_000), 5  # images, sizes of subsets, draws of each


def run(tier: str) -> dict[str, np.ndarray]:
    """`sampler` (R,); `n` (S,); `fid` and `kid` (R, S, draws) of random subsets of n real and n generated images;
    `fid_infinity` (R, 3) with its interval, extrapolated from `limit_n` images; `first` (S,) the FID of n real images
    against the first n of the test file."""
    smoke = tier == "smoke"
    data = "glyphs" if smoke else "mnist"
    largest, sizes, draws = SMOKE if smoke else (10_000, (100, 200, 500, 1_000, 2_000, 5_000, 10_000), 10)
    fakes, _, test, _ = samplers(data, largest)
    space = feature_space("lenet")
    real, given = space(test).double(), space.extracted()
    generator = torch.Generator().manual_seed(0)
    fids, kids, limits = [], [], []
    for name in NAMES:
        fake = space(fakes[name]).double()
        values = np.full((2, len(sizes), draws), np.nan)
        for i, n in enumerate(sizes):
            for j in range(draws if n < largest else 1):
                x, y = (f[torch.randperm(len(f), generator=generator)[:n]] for f in (real, fake))
                values[0, i, j] = frechet_distance(x.mean(0), x.T.cov(), y.mean(0), y.T.cov())
                values[1, i, j] = kid(x, y, given, subsets=1, subset_size=n).value if n <= 2_000 else np.nan
        fids.append(values[0])
        kids.append(values[1])
        limit = fid_infinity(real, fake, given)
        limits.append((limit.value, *limit.interval))
    first, fresh = space(dataset(data, "test", n=largest).x).double(), space(fakes["real images"]).double()
    return {
        "sampler": np.array(NAMES),
        "n": np.array(sizes),
        "fid": np.array(fids),
        "kid": np.array(kids),
        "fid_infinity": np.array(limits),
        "limit_n": np.array(largest),
        "first": np.array(
            [
                frechet_distance(first[:n].mean(0), first[:n].T.cov(), fresh[:n].mean(0), fresh[:n].T.cov())
                for n in sizes
            ]
        ),
    }

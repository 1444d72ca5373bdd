"""Every metric of chapter 03 on ten samplers of one data set, with real images as the floor.

Smoke: glyphs, 1,000 images each. Larger tiers: MNIST, 10,000 images each.
"""

import dataclasses

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import course_lib
from course_lib.data import dataset
from course_lib.metrics import (
    FeatureSpace,
    Metric,
    bits_per_dim,
    dequantize,
    evaluate_samples,
    feature_space,
    fid_infinity,
    inception_score,
)
from course_lib.models.gaussian import FullGaussian
from course_lib.models.generative_classifier import GenerativeClassifier
from course_lib.models.ppca import ProbabilisticPCA

KNOWN = 7  # digits that the incomplete sampler draws: 0 .. 6
# Chosen so that these samplers and the VAE have about the same FID:
MEMORY = {"glyphs": 50, "mnist": 18}  # training images that the memoriser knows
NOISE = {"glyphs": 0.1, "mnist": 0.13}  # standard deviation added to real pixels
SHOWN = 12  # images of each sampler that are kept


@torch.no_grad()
def samplers(data: str, n: int) -> tuple[dict[str, Tensor], dict[str, nn.Module], Tensor, Tensor]:
    """n images from each sampler of the chapter.

    Args:
        data: "glyphs" or "mnist".

    Returns:
        Images `(n, 1, 28, 28)` in [0, 1] by name, "real images" first; the models among the samplers that have a density; test
        images `(n, ...)`; and the 2n training images that the models and the memoriser have seen. Real images, with or
        without damage, are none of those.
    """
    images = dataset(data, n=5 * n)
    test = dataset(data, "test", n=n if data == "glyphs" else None).x
    # MNIST's test file is not in random order: its first half is the cleaner one.
    test = test[torch.randperm(len(test), generator=torch.Generator().manual_seed(0))[:n]]
    train, train_y, fresh = images.x[: 2 * n], images.y[: 2 * n], images.x[2 * n :]
    shape = images.shape
    generator = torch.Generator().manual_seed(0)
    vae, ppca = course_lib.load(f"vae_{data}"), course_lib.load(f"ppca_{data}")
    spread = dequantize(train.double(), generator=generator)  # a density needs the noise
    gaussian = FullGaussian(shape).double().initialise(spread)
    mixture = GenerativeClassifier(ProbabilisticPCA(shape, 40) for _ in range(10)).double()
    mixture.initialise(spread, train_y)
    fakes = {
        "real images": fresh[:n],
        "VAE": vae.sample(n, generator=generator),
        "VAE, pixels drawn": vae.sample(n, pixels=True, generator=generator),
        "few images, repeated": train[torch.randint(MEMORY[data], (n,), generator=generator)],
        "no 7, 8, 9": fresh[images.y[2 * n :] < KNOWN][:n],
        "real, with noise": fresh[:n] + NOISE[data] * torch.randn(fresh[:n].shape, generator=generator),
        "real, blurred": F.avg_pool2d(fresh[:n], 3, 1, 1),
        "mixture of ten": mixture.sample(n, generator=generator),
        "one Gaussian": gaussian.sample(n, generator=generator),
        "pPCA, k = 100": ppca.sample(n, generator=generator),
    }
    densities = {"mixture of ten": mixture, "one Gaussian": gaussian, "pPCA, k = 100": ppca.double()}
    return {name: x.float().clamp(0, 1) for name, x in fakes.items()}, densities, test, train


def remembering(space: FeatureSpace) -> FeatureSpace:
    """The same space, which extracts the features of one tensor of images only once."""
    seen = {}

    def extract(images: Tensor) -> Tensor:
        if id(images) not in seen:
            seen[id(images)] = images, space(images)  # holding the images keeps their id theirs
        return seen[id(images)][1]

    return dataclasses.replace(space, extract=extract)


@torch.no_grad()
def measure(
    fake: Tensor,
    test: Tensor,
    train: Tensor,
    *,
    data: str,
    density: nn.Module | None = None,
    features: FeatureSpace | None = None,
) -> dict[str, Metric]:
    """All metrics of one sampler in lenet features: `evaluate_samples`, with bits/dim where there is a density, and the
    Inception score of the same digit classifier."""
    space = features or feature_space("lenet")
    likelihood = None
    if density is not None:
        spread = dequantize(test.double(), generator=torch.Generator().manual_seed(0))
        values = torch.cat([density.log_prob(part) for part in spread.split(1000)])
        likelihood = {"bits_per_dim": bits_per_dim(values, test[0].numel())}
    classifier = course_lib.load("digit_classifier_mnist")
    probabilities = classifier.head(space(fake)).softmax(1)  # its last layer reads the features
    metrics = evaluate_samples(fake, test, train=train, features=space, likelihood=likelihood, data=data)
    return metrics | {"inception_score": inception_score(probabilities)}


def run(tier: str) -> dict[str, np.ndarray]:
    """`sampler` (R,) and `metric` (M,) names; `value` (R, M), NaN where a sampler has none; `low` and `high` (R, M), the 95 %
    intervals, NaN where there is none; `fid_infinity` (R, 3) with its interval; `shown` (R, 12, 28, 28) uint8 images;
    `n` images of each."""
    data, n = ("glyphs", 1_000) if tier == "smoke" else ("mnist", 10_000)
    fakes, densities, test, train = samplers(data, n)
    space = remembering(feature_space("lenet"))
    rows = {
        name: measure(x, test, train, data=data, density=densities.get(name), features=space)
        for name, x in fakes.items()
    }
    limits = [fid_infinity(test, x, space) for x in fakes.values()]
    metrics = list(dict.fromkeys(key for row in rows.values() for key in row))

    def array(of) -> np.ndarray:
        return np.array([[of(row[m]) if m in row else np.nan for m in metrics] for row in rows.values()])

    nothing = (np.nan, np.nan)
    return {
        "sampler": np.array(list(rows)),
        "metric": np.array(metrics),
        "value": array(lambda metric: metric.value),
        "low": array(lambda metric: (metric.interval or nothing)[0]),
        "high": array(lambda metric: (metric.interval or nothing)[1]),
        "fid_infinity": np.array([(m.value, *m.interval) for m in limits]),
        "shown": np.stack([(255 * x[:SHOWN, 0]).round().to(torch.uint8).numpy() for x in fakes.values()]),
        "n": np.array(n),
    }

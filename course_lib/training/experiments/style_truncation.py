"""Precision and recall of the glyph checkpoint against the strength of truncation.

Features of the glyph classifier, k = 3, three seeds of samples and of real images. Smoke: one seed, few images.
"""

import numpy as np
import torch

import course_lib
from course_lib.data import dataset
from course_lib.metrics import fid
from course_lib.metrics.features import digit_classifier, in_batches
from course_lib.metrics.precision_recall import precision_recall

PSI = (0.1, 0.3, 0.5, 0.7, 0.85, 1.0, 1.2)


def features(images: torch.Tensor) -> torch.Tensor:
    """The glyph classifier's last hidden layer, `(N, 64)`."""
    return in_batches(digit_classifier("glyphs")[0].features, images)


def run(tier: str) -> dict[str, np.ndarray]:
    """`psi` (P,); `precision`, `recall`, `distance` (Frechet) (P, seeds); `floor` (3, seeds) the same of one half of the
    test images against the other; `n` images a side."""
    smoke = tier == "smoke"
    psi = PSI[1::3] if smoke else PSI
    n = 300 if smoke else 1_000
    model = course_lib.load("style_glyphs")
    real = features(dataset("glyphs", "test").x)
    columns, floor = [], []
    for seed in (0,) if smoke else (0, 1, 2):
        mine, other = real[torch.randperm(len(real), generator=torch.Generator().manual_seed(seed))][
            : 2 * n
        ].chunk(2)
        rows = [other]
        for value in psi:
            generator = torch.Generator().manual_seed(seed)
            images = [model.sample(100, psi=value, generator=generator) for _ in range(n // 100)]
            rows.append(features(torch.cat(images)))
        scores = [(*precision_recall(mine, fake), fid(mine, fake, features=None).value) for fake in rows]
        floor.append(scores[0])
        columns.append(scores[1:])
    scores = np.array(columns).transpose(2, 1, 0)  # (3, P, seeds)
    names = ("precision", "recall", "distance")
    return {
        "psi": np.array(psi), "n": np.array(n), "floor": np.array(floor).T,
        **dict(zip(names, scores, strict=True)),
    }  # fmt: skip

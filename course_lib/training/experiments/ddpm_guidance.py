"""The weight of the label: how often a classifier reads the digit that was asked for, and what the samples lose for it.

Laptop: the checkpoint `ddpm_mnist` with its 50 steps, 300 images for each weight. Smoke: an untrained network on glyphs.
"""

import numpy as np
import torch

from course_lib.data import dataset
from course_lib.metrics import fid, lenet_features, precision_recall
from course_lib.models import load
from course_lib.training import build, recipe

WEIGHTS = (0.0, 0.5, 1.0, 2.0, 4.0)


def run(tier: str) -> dict[str, np.ndarray]:
    """`weight` (W,); `accuracy` (W,) share of images in which the digit classifier reads their label; `fid`, `precision`, `recall`
    (W,) of `images` samples with equal shares of labels against test images, LeNet features; `floor` (4,): the same four for
    other test images; `samples` (W, 20, 28, 28) uint8, two of each label from the same noise; `steps` of the sampler."""
    smoke = tier == "smoke"
    name = "glyphs" if smoke else "mnist"
    model = build(recipe("ddpm", name, "smoke")).eval() if smoke else load("ddpm_mnist")
    classifier = load(f"digit_classifier_{name}")
    images, steps = (40, 4) if smoke else (300, model.n_evaluations)
    data = dataset(name, "test", n=2 * images if smoke else None)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(5))
    real, other = order[:images], order[images : 2 * images]
    labels = torch.arange(10).repeat(images // 10)
    features = lenet_features(data.x[real])

    def score(x: torch.Tensor, y: torch.Tensor) -> list[float]:
        precision, recall = precision_recall(features, lenet_features(x))
        return [classifier.accuracy(x, y), fid(data.x[real], x).value, precision, recall]

    rows, samples = [], []
    for weight in WEIGHTS:
        generator = torch.Generator().manual_seed(0)
        x = torch.cat(
            [
                model.sample(len(part), part, generator=generator, guidance=weight, steps=steps)
                for part in labels.split(250)
            ]
        )
        rows.append(score(x, labels))
        samples.append((x[:20, 0] * 255).round().byte().numpy())
    accuracy, distances, precisions, recalls = np.array(rows).T
    return {
        "weight": np.array(WEIGHTS),
        "accuracy": accuracy,
        "fid": distances,
        "precision": precisions,
        "recall": recalls,
        "floor": np.array(score(data.x[other], data.y[other])),
        "samples": np.array(samples),
        "images": np.array(images),
        "steps": np.array(steps),
    }

"""Measure a stored model on the test set."""

from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

import course_lib
from course_lib.metrics import Metric, fid
from course_lib.training.launch import load_data

IWAE_SAMPLES = 500  # importance samples of the test likelihood's bound


def evaluate(
    model: nn.Module, card: dict, *, n: int = 10_000, seed: int = 0, root: str | Path | None = None
) -> dict[str, Metric]:
    """FID, and the likelihood or its bounds where the family has them, on the test set of the card's data.

    Args:
        model: in eval mode, as `course_lib.load` gives it.
        card: its card: names data and data options.
        n: samples to draw and test images to use.
        seed: of samples and of Monte Carlo draws.
        root: data folder.

    Returns:
        name -> Metric: "fid" for 28x28 grey images; "accuracy" in per cent; "log_likelihood", "elbo", "iwae" in nats
        an image.
    """
    options = {key: value for key, value in card["recipe"]["data_options"].items() if key != "n"}
    test = load_data(card["data"], "test", root, **options)
    x = (test if isinstance(test, Tensor) else test.x)[:n]
    generator = torch.Generator().manual_seed(seed)
    protocol = {
        "data": card["data"],
        **options,
        "split": "test",
        "seed": seed,
        "version": course_lib.__version__,
    }
    metrics = {}
    if hasattr(model, "sample") and x.shape[1:] == (1, 28, 28):
        fake = torch.cat([model.sample(len(part), generator=generator) for part in x.split(1000)])
        grey = load_data(card["data"], "test", root, **{k: v for k, v in options.items() if k != "binary"}).x[
            :n
        ]
        metrics["fid"] = fid(grey, fake.clamp(0, 1), seed=seed)
    if hasattr(model, "accuracy"):
        metrics["accuracy"] = Metric(
            "accuracy", 100 * model.accuracy(x, test.y[:n]), {**protocol, "n": len(x)}, unit="%"
        )
    if hasattr(model, "log_prob"):
        metrics["log_likelihood"] = _mean("log_likelihood", _over(model.log_prob, x), protocol)
    if hasattr(model, "elbo"):
        values = _over(lambda part: model.elbo(part, generator=generator), x)
        metrics["elbo"] = _mean("elbo", values, protocol)
    if hasattr(model, "iwae"):
        values = _over(lambda part: model.iwae(part, IWAE_SAMPLES, generator=generator), x, batch=20)
        metrics["iwae"] = _mean("iwae", values, {**protocol, "importance_samples": IWAE_SAMPLES})
    return metrics


@torch.no_grad()
def _over(function, x: Tensor, batch: int = 500) -> Tensor:
    return torch.cat([function(part) for part in tqdm(x.split(batch), desc="evaluate", mininterval=2.0)])


def _mean(name: str, values: Tensor, card: dict) -> Metric:
    """Mean over test images with its 95 % interval."""
    mean, error = values.double().mean().item(), values.double().std().item() / len(values) ** 0.5
    return Metric(name, mean, {**card, "n": len(values)}, (mean - 1.96 * error, mean + 1.96 * error), "nats")

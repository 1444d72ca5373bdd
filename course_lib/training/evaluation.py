"""Measure a stored model on the test set."""

from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

import course_lib
from course_lib.data import toy2d
from course_lib.metrics import Metric, bits_per_dim, dequantize, evaluate_samples
from course_lib.models.ddpm import DDPM
from course_lib.models.diffusion_bound import DRAWN_STEPS
from course_lib.training.launch import load_data

IWAE_SAMPLES = 500  # importance samples of the test likelihood's bound


def evaluate(
    model: nn.Module, card: dict, *, n: int = 10_000, seed: int = 0, root: str | Path | None = None
) -> dict[str, Metric]:
    """Measure a model's samples, and the likelihood or its bounds where the family has them, on the test set of its data.

    Args:
        model: in eval mode, as `course_lib.load` gives it.
        card: its card: names data and data options.
        n: samples to draw and test data to use.
        seed: of samples and of Monte Carlo draws.
        root: data folder.

    Returns:
        name -> Metric: what `evaluate_samples` says of samples of 28x28 images (LeNet features) or of points; "l1", the mean
        distance of a pixel from its target, where the data are pairs of outline and image; "accuracy" in per cent;
        "log_likelihood", "elbo", "iwae" in nats, and "bits_per_dim" of dequantised images, or a diffusion model's bound on it
        for 8-bit levels; "evaluations" of the network for one sample, where it takes several. Samples are compared with
        grey images, even if the model learned binarised ones.
    """
    options = dict(card["recipe"]["data_options"])
    grey = {key: value for key, value in options.items() if key != "binary"}
    paired = options.get("edges", False)  # two channels: the outline that the model is given, and the image

    def load(split: str, options: dict) -> tuple[Tensor, Tensor | None]:
        data = load_data(card["data"], split, root, **options)
        return (data, None) if isinstance(data, Tensor) else (data.x, data.y)

    def test(options: dict) -> tuple[Tensor, Tensor | None]:
        x, y = load("test", {key: value for key, value in options.items() if key != "n"})
        return x[:n], y if y is None else y[:n]

    x, y = test(options)
    generator = torch.Generator().manual_seed(seed)
    metrics = {}
    if hasattr(model, "sample") and (x.ndim == 2 or x.shape[2:] == (28, 28)):
        fake = torch.cat(
            [
                model.sample(len(part), part[:, :1] if paired else None, generator=generator).detach()
                for part in x.split(1000)
            ]
        )
        real, train = (data[:, 1:] if paired else data for data in (test(grey)[0], load("train", grey)[0]))
        metrics = evaluate_samples(
            fake if x.ndim == 2 else fake.clamp(0, 1),
            real,
            train=train,
            features=None if x.ndim == 2 else "lenet",
            modes=_modes(card["data"], grey),
            data=card["data"],
            seed=seed,
        )
    protocol = {"data": card["data"], **{key: value for key, value in options.items() if key != "n"}}
    protocol |= {"split": "test", "seed": seed, "version": course_lib.__version__, "n": len(x)}
    if getattr(model, "n_evaluations", 1) > 1:
        metrics["evaluations"] = Metric("evaluations", model.n_evaluations, protocol)
    if paired:
        metrics["l1"] = Metric.mean("l1", (fake - real).abs().flatten(1).mean(1), protocol)
    if hasattr(model, "accuracy"):
        metrics["accuracy"] = Metric("accuracy", 100 * model.accuracy(x, y), protocol, unit="%")
    if hasattr(model, "log_prob"):
        metrics["log_likelihood"] = Metric.mean("log_likelihood", _over(model.log_prob, x), protocol, "nats")
        if x.ndim == 4 and not options.get("binary"):
            log_prob = _over(lambda part: model.log_prob(dequantize(part, generator=generator)), x)
            values = bits_per_dim(log_prob, x[0].numel())
            metrics["bits_per_dim"] = Metric.mean("bits_per_dim", values, protocol, "bits/dim")
    if hasattr(model, "elbo"):
        values = _over(lambda part: model.elbo(part, generator=generator), x)
        diffusion = isinstance(model, DDPM)
        bound = {**protocol, "drawn_steps": DRAWN_STEPS} if diffusion else protocol
        metrics["elbo"] = Metric.mean("elbo", values, bound, "nats")
        if diffusion and x.ndim == 4:
            bits = bits_per_dim(values, x[0].numel(), levels=1)
            metrics["bits_per_dim"] = Metric.mean("bits_per_dim", bits, bound, "bits/dim")
    if hasattr(model, "iwae"):
        values = _over(lambda part: model.iwae(part, IWAE_SAMPLES, generator=generator), x, batch=20)
        samples = {"importance_samples": IWAE_SAMPLES}
        metrics["iwae"] = Metric.mean("iwae", values, {**protocol, **samples}, "nats")
    return metrics


def _modes(name: str, options: dict):
    """The `modes` of `evaluate_samples` for data whose modes are known."""
    if options.get("stack"):
        return name
    centres = getattr(getattr(toy2d, name, None), "modes", None)
    return None if centres is None else (lambda points: torch.cdist(points, centres).argmin(1), len(centres))


@torch.no_grad()
def _over(function, x: Tensor, batch: int = 500) -> Tensor:
    return torch.cat([function(part) for part in tqdm(x.split(batch), desc="evaluate", mininterval=2.0)])

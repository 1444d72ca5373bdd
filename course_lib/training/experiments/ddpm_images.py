"""One trained network at work: samples with all its steps, the guess of x_0 on the way, and the bound step by step.

Laptop: the checkpoint `ddpm_mnist`. Smoke: an untrained network on glyphs.
"""

import numpy as np
import torch

from course_lib.data import dataset
from course_lib.models import load
from course_lib.models.gaussian_diffusion import inward
from course_lib.training import build, recipe


def run(tier: str) -> dict[str, np.ndarray]:
    """`samples` (N, 28, 28) uint8 with all T steps, one row of labels after the other; `guess_time` (F,), `guess` and `noisy`
    (F, 10, 28, 28) uint8: x^_0 and x_t on the way of the first ten; `time` (S,) zero-based and `term`, `term_error` (S,) in
    bits per dimension: the bound's terms on `term_images` test images, and the standard error of their mean; `prior` the term
    of the last marginal; `full`, `drawn` and their `_error`: bits per dimension by the sum of all terms on `full_images` images,
    and by ten drawn steps on `drawn_images`; `steps` T."""
    smoke = tier == "smoke"
    name = "glyphs" if smoke else "mnist"
    model = build(recipe("ddpm", name, "smoke")).eval() if smoke else load("ddpm_mnist")
    T = model.diffusion.T
    n, term_images, full_images, drawn_images = (10, 4, 2, 4) if smoke else (50, 200, 40, 2_000)
    times = sorted({*range(3), *np.geomspace(1, T - 1, 6 if smoke else 40).round().astype(int).tolist()})
    test = dataset(name, "test", n=None if not smoke else 40).x
    test = test[torch.randperm(len(test), generator=torch.Generator().manual_seed(3))]

    def grey(x: torch.Tensor) -> np.ndarray:
        return ((x[:, 0] + 1) * 127.5).clamp(0, 255).round().byte().numpy()

    keep = set(np.linspace(0, T - 1, 13).round().astype(int).tolist())
    labels = torch.arange(10).repeat(n // 10)
    frames: dict[str, list] = {"guess_time": [], "guess": [], "noisy": []}
    for t, x, guess in model.trajectory(n, labels, generator=torch.Generator().manual_seed(0)):
        if t in keep:
            frames["guess_time"].append(t)
            frames["guess"].append(grey(guess[:10]))
            frames["noisy"].append(grey(x[:10]))

    dim = test[0].numel() * np.log(2)
    generator = torch.Generator().manual_seed(1)

    def mean(values: torch.Tensor) -> tuple[float, float]:
        values = values.double() / dim
        return values.mean().item(), values.std().item() / len(values) ** 0.5

    some = test[:term_images]
    terms = [mean(model.bound_terms(some, torch.full((term_images,), t), generator=generator)) for t in times]
    full = mean(-model.elbo(test[:full_images], None, generator=generator))
    drawn = torch.cat([model.elbo(part, generator=generator) for part in test[:drawn_images].split(250)])
    return {
        "samples": grey(x),
        **{key: np.array(values) for key, values in frames.items()},
        "time": np.array(times),
        "term": np.array([value for value, _ in terms]),
        "term_error": np.array([error for _, error in terms]),
        "prior": np.array(mean(model.diffusion.prior_kl(inward(some, model.shape)))[0]),
        "full": np.array(full[0]),
        "full_error": np.array(full[1]),
        "drawn": np.array(mean(-drawn)[0]),
        "drawn_error": np.array(mean(-drawn)[1]),
        "term_images": np.array(term_images),
        "full_images": np.array(full_images),
        "drawn_images": np.array(drawn_images),
        "steps": np.array(T),
    }

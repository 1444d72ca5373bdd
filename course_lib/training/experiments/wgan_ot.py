"""Three ways to say how far apart two laws are: a critic on fresh data, exact transport of samples, and the truth.

A translated Gaussian, where the truth is the shift, in several dimensions; and images, where nobody knows it. Smoke: glyphs,
fewer points. Larger tiers: MNIST against samples of the checkpoint `wgan_mnist`. Pixels in [-1, 1].
"""

import numpy as np
import torch
from torch import Tensor

from course_lib.data import dataset
from course_lib.metrics import wasserstein1
from course_lib.models import load
from course_lib.models.wgan import Critic, build_critic
from course_lib.nn import DCGANDiscriminator
from course_lib.training import Recipe, fit

DIMS = (2, 8, 32)
SHIFT = 1.0


def run(tier: str) -> dict[str, np.ndarray]:
    """`dim` (D,), `n` (N,); `transport` and `floor` (D, N, draws): exact W_1 of n points of N(v, I) against n of N(0, I), and
    of two samples of N(0, I), where ||v|| = `shift`; `critic` (D, seeds): a spectrally normalised critic's estimate on fresh
    points. `image_n` (M,); `image_transport`, `image_floor` (M, draws): test images against samples, and against test
    images; `image_critic` (seeds,)."""
    smoke = tier == "smoke"
    sizes = (16, 64, 256) if smoke else (16, 64, 256, 1024)
    draws, seeds, steps = (2, 1, 100) if smoke else (8, 3, 500)
    generator = torch.Generator().manual_seed(0)
    rows: dict[str, list] = {"transport": [], "floor": [], "critic": []}
    for dim in DIMS:
        v = torch.zeros(dim)
        v[0] = SHIFT

        def pair(n: int, shift: Tensor) -> Tensor:
            return torch.randn(n, 2, len(shift), generator=generator) + torch.stack([shift, 0 * shift])

        rows["transport"].append(_transport(lambda n, v=v: pair(n, v), sizes, draws))
        rows["floor"].append(_transport(lambda n, v=v: pair(n, 0 * v), sizes, draws))
        estimates = []
        for seed in range(seeds):
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                critic = build_critic(dim, lipschitz="spectral")
            estimates.append(_estimate(critic, pair(20_000, v), pair(20_000, v), steps, 3e-3, tier, seed))
        rows["critic"].append(estimates)

    name = "glyphs" if smoke else "mnist"
    n_images = 300 if smoke else 10_000
    real = 2 * dataset(name, "test", n=n_images).x - 1
    # shuffled, because two groups of people wrote the two halves of MNIST's test set
    real = real[torch.randperm(n_images, generator=generator)]
    fake = torch.cat([load(f"wgan_{name}").sample(100, generator=generator) for _ in range(n_images // 100)])
    fake = 2 * fake - 1
    image_sizes = (16, 64) if smoke else (16, 64, 256, 1024)

    def against(other: Tensor):
        def pick(n: int) -> Tensor:
            order = torch.randperm(len(real), generator=generator)
            return torch.stack([real[order[:n]], other[order[n : 2 * n]]], 1)

        return pick

    half = n_images // 2
    image_critic = []
    for seed in range(seeds):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            critic = Critic(DCGANDiscriminator(1, 28, 16, "spectral"), "spectral")
        pairs = torch.stack([real, fake], 1)
        image_critic.append(_estimate(critic, pairs[:half], pairs[half:], steps, 1e-3, tier, seed))
    return {
        "dim": np.array(DIMS),
        "n": np.array(sizes),
        "shift": np.array(SHIFT),
        **{key: np.array(values) for key, values in rows.items()},
        "image_n": np.array(image_sizes),
        "image_transport": np.array(_transport(against(fake), image_sizes, draws)),
        "image_floor": np.array(_transport(against(real), image_sizes, draws)),
        "image_critic": np.array(image_critic),
    }


def _transport(pair, sizes, draws: int) -> list[list[float]]:
    samples = ([pair(n).flatten(2).unbind(1) for _ in range(draws)] for n in sizes)
    return [[wasserstein1(x, y).item() for x, y in row] for row in samples]


def _estimate(
    critic: Critic, train: Tensor, fresh: Tensor, steps: int, lr: float, tier: str, seed: int
) -> float:
    plan = Recipe(
        "wgan",
        "pairs",
        tier,
        steps=steps,
        batch_size=min(64, len(train)),
        lr=lr,
        schedule="cosine",
        seed=seed,
    )
    critic = fit(critic, train, plan, progress=False).model
    with torch.no_grad():
        return (critic(fresh[:, 0]).mean() - critic(fresh[:, 1]).mean()).item()

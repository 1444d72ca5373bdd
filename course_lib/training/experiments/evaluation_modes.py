"""Modes and their KL on stacked digits against the number of samples: real stacks, a VAE's, and one that never draws a 9.

Smoke: glyphs, up to 1,000 stacks. Larger tiers: MNIST, up to 26,000, the number of the published protocol.
"""

import numpy as np
import torch
from torch import Tensor

import course_lib
from course_lib.data import dataset
from course_lib.metrics import kl_floor, mode_statistics, stacked_modes


@torch.no_grad()
def stacks(data: str, n: int) -> dict[str, Tensor]:
    """n stacked digits `(n, 3, 28, 28)` from each of three samplers."""
    images = dataset(data)
    vae, generator = course_lib.load(f"vae_{data}"), torch.Generator().manual_seed(0)
    without = images.x[images.y < 9]
    pick = torch.randint(len(without), (3 * n,), generator=generator)
    return {
        "real images": images.x[torch.randint(len(images), (3 * n,), generator=generator)],
        "three VAE samples": torch.cat([vae.sample(n, generator=generator) for _ in range(3)]).clamp(0, 1),
        "never a 9": without[pick],
    }


def run(tier: str) -> dict[str, np.ndarray]:
    """`sampler` (R,); `n` (S,) numbers of stacks; `covered` and `kl` (R, S), KL against equal modes in nats; `floor` (S,)
    of a perfect sampler and a perfect classifier; `label_kl` KL of the data's own mode frequencies against equal modes."""
    data = "glyphs" if tier == "smoke" else "mnist"
    sizes = (250, 500, 1_000) if tier == "smoke" else (500, 1_000, 2_000, 5_000, 10_000, 26_000)
    covered, kl = [], []
    sheets = stacks(data, sizes[-1])
    for x in sheets.values():
        modes = stacked_modes(x.view(-1, 3, 28, 28), data)
        results = [mode_statistics(modes[:n], 1000) for n in sizes]
        covered.append([c for c, _ in results])
        kl.append([value for _, value in results])
    share = torch.bincount(dataset(data).y, minlength=10).double() / len(dataset(data))
    return {
        "sampler": np.array(list(sheets)),
        "n": np.array(sizes),
        "covered": np.array(covered),
        "kl": np.array(kl),
        "floor": np.array([kl_floor(1000, n) for n in sizes]),
        "label_kl": 3 * (share * (10 * share).log()).sum().numpy(),
    }

"""Mode collapse on stacked digits: how many of 1,000 modes a DCGAN reaches with Adam and with SGD.

Three seeds, the same network and steps; three digits stacked as colours give 1,000 modes, read back by the digit
classifier. Smoke: glyphs, one seed, a few steps. Larger tiers: MNIST.
"""

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.metrics import kl_floor, mode_statistics, stacked_modes
from course_lib.training import build, fit, load_data, recipe

SGD = {"optimizer": "sgd", "optimizer_options": {}}
METHODS = {
    "Adam": {},
    "SGD, Adam's learning rate": SGD,
    "SGD, learning rate 0.05": {**SGD, "lr": 0.05},
}


def draw(model: nn.Module, n: int) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.cat([model.sample(min(n, 1_000), generator=random) for _ in range(-(-n // 1_000))])[:n]


def run(tier: str) -> dict[str, np.ndarray]:
    """`method` (M,); `modes` and `kl` (M, seeds) on `samples` draws; `data_modes`, `data_kl` of as many test images; `floor`
    KL of a perfect sampler; `images` (M, 20, 3, 28, 28) uint8 of the first seed; `steps`."""
    smoke = tier == "smoke"
    data, steps, samples = ("glyphs", 40, 500) if smoke else ("mnist", 1_500, 5_000)
    plan = recipe("gan", "glyphs", "smoke").replace(data=data, tier=tier, steps=steps)
    plan = plan.replace(model={**plan.model, "image_shape": [3, 28, 28]}, data_options={"stack": True})
    train = load_data(data, "train", stack=True)
    rows: dict[str, list] = {"modes": [], "kl": [], "images": []}
    for options in METHODS.values():
        found = []
        for seed in (0,) if smoke else (0, 1, 2):
            chosen = plan.replace(**options, seed=seed)
            images = draw(fit(build(chosen), train, chosen).model, samples)
            found.append(mode_statistics(stacked_modes(images, data), 1000))
            if seed == 0:
                rows["images"].append((255 * images[:20]).round().byte().numpy())
        rows["modes"].append([modes for modes, _ in found])
        rows["kl"].append([kl for _, kl in found])
    real = load_data(data, "test", stack=True).x[:samples]
    data_modes, data_kl = mode_statistics(stacked_modes(real, data), 1000)
    return {
        "method": np.array(list(METHODS)),
        **{name: np.array(values) for name, values in rows.items()},
        "samples": np.array(samples),
        "data_modes": np.array(data_modes),
        "data_kl": np.array(data_kl),
        "floor": np.array(kl_floor(1000, samples)),
        "steps": np.array(steps),
    }

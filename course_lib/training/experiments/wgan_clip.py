"""Gradient norms across the layers of a deep critic: weights clipped at several bounds, and a gradient penalty.

The setting of Gulrajani et al. 2017, figure 1b: a critic of twelve ReLU layers between the Swiss roll and a Gaussian. Smoke:
one seed, fewer steps.
"""

import numpy as np
import torch
from torch import Tensor

from course_lib.data import toy2d
from course_lib.models.wgan import Critic, build_critic
from course_lib.training import Recipe, fit

BOUNDS = (0.003, 0.01, 0.03, 0.1)
DEPTH, WIDTH = 12, 64


def layer_gradients(critic: Critic, real: Tensor, fake: Tensor) -> list[float]:
    """Norm of the gradient of the distance in each affine map's output, from the data to the value, mean over points."""
    outputs: list[Tensor] = []
    layers = [m for m in critic.modules() if isinstance(m, torch.nn.Linear)]
    hooks = [m.register_forward_hook(lambda layer, inputs, output: outputs.append(output)) for m in layers]
    value = critic(torch.cat([real, fake])).sum()
    gradients = torch.autograd.grad(value, outputs)
    for hook in hooks:
        hook.remove()
    return [g.flatten(1).norm(dim=1).mean().item() for g in gradients]


def run(tier: str) -> dict[str, np.ndarray]:
    """`bound` (K,) the clipping bounds; `gradients` (K + 1, seeds, layers) gradient norms at each layer, the last row with a
    penalty; `distance` (K + 1, seeds) the critic's estimate."""
    smoke = tier == "smoke"
    seeds, steps = (1, 100) if smoke else (3, 500)
    rows: dict[str, list] = {"gradients": [], "distance": []}
    for bound in (*BOUNDS, None):
        found: dict[str, list] = {name: [] for name in rows}
        for seed in range(seeds):
            options = {"lipschitz": "penalty"} if bound is None else {"lipschitz": "clip", "clip": bound}
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                critic = build_critic(2, WIDTH, DEPTH, **options)
            generator = torch.Generator().manual_seed(seed)
            pairs = torch.stack(
                [toy2d.swiss_roll(10_000, generator), torch.randn(10_000, 2, generator=generator)], 1
            )
            real, fake = pairs[:1_000].unbind(1)
            critic.stepped()
            optimizer = {"optimizer": "rmsprop", "lr": 1e-3} if bound else {"lr": 1e-3}
            plan = Recipe("wgan", "swiss_roll", tier, steps=steps, batch_size=256, seed=seed, **optimizer)
            run = fit(critic, pairs, plan, progress=False)
            found["gradients"].append(layer_gradients(critic, real, fake))
            found["distance"].append(run.monitors["distance"][-20:].mean())
        for name, values in found.items():
            rows[name].append(values)
    return {"bound": np.array(BOUNDS)} | {name: np.array(values) for name, values in rows.items()}

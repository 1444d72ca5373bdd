"""What reaches the generator while the discriminator improves: gradient norms of both losses, and their spread.

A generator is trained for a few steps and then frozen. A new discriminator learns to tell its samples from the data, and
before each of its steps we note the gradients that it would send. Three seeds. Smoke: glyphs. Larger tiers: MNIST.
"""

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.models.gan import discriminator_loss, generator_loss
from course_lib.training import build, fit, load_data, recipe

OBJECTIVES = ("saturating", "non_saturating")
BATCHES = 16  # noise batches of the spread


def gradients(model: nn.Module, noise: Tensor, objective: str) -> Tensor:
    """Generator gradient of each batch of noise `(K, B, d)`, flattened: `(K, P)`."""
    parameters = list(model.generator.parameters())
    rows = []
    for z in noise:
        loss = generator_loss(model.discriminator(model.generator(z)), objective)
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)]))
    return torch.stack(rows)


def run(tier: str) -> dict[str, np.ndarray]:
    """`trained` steps of the generator; `step` (S,) of the discriminator; `norm` (2, seeds, S) of the mean gradient over 16
    batches, rows OBJECTIVES; `spread` (2, seeds, S) root mean square distance of one batch's gradient from that mean;
    `fooled` (seeds, S) mean of D on samples."""
    smoke = tier == "smoke"
    plan = recipe("gan", "glyphs", "smoke").replace(data="glyphs" if smoke else "mnist", tier=tier)
    plan = plan.replace(steps=50 if smoke else 100)
    images = load_data(plan.data, "train", **plan.data_options).x
    steps = (0, 2, 5, 10, 20, 50) if smoke else (0, 2, 5, 10, 20, 50, 100, 200, 400, 800)
    rows: dict[str, list] = {"norm": [], "spread": [], "fooled": []}
    for seed in (0,) if smoke else (0, 1, 2):
        model = fit(build(plan.replace(seed=seed)), load_data(plan.data), plan.replace(seed=seed)).model
        model.discriminator = build(
            plan.replace(seed=100 + seed, model={**plan.model, "norm": "none"})
        ).discriminator
        optimizer = torch.optim.Adam(model.discriminator.parameters(), lr=5e-4, betas=(0.5, 0.999))
        random = torch.Generator().manual_seed(seed)
        noise = torch.stack([model.noise(64, random) for _ in range(BATCHES)])
        found: dict[str, list] = {name: [] for name in rows}
        for step in range(steps[-1] + 1):
            real = model.inward(images[torch.randint(len(images), (64,), generator=random)])
            with torch.no_grad():
                fake = model.generator(model.noise(64, random))
            on_real, on_fake = model.discriminator(real), model.discriminator(fake)
            if step in steps:
                each = [gradients(model, noise, objective) for objective in OBJECTIVES]
                found["norm"].append([g.mean(0).norm().item() for g in each])
                found["spread"].append([(g - g.mean(0)).square().sum(1).mean().sqrt().item() for g in each])
                found["fooled"].append(on_fake.sigmoid().mean().item())
            optimizer.zero_grad()
            discriminator_loss(on_real, on_fake).backward()
            optimizer.step()
        for name, values in found.items():
            rows[name].append(values)
    both = {name: np.array(rows[name]).transpose(2, 0, 1) for name in ("norm", "spread")}
    return {
        "trained": np.array(plan.steps),
        "step": np.array(steps),
        **both,
        "fooled": np.array(rows["fooled"]),
    }

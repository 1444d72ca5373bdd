"""Training on the importance-weighted bound with k = 1, 5 and 20 codes, judged by one test likelihood estimate.

Same network, data, steps and seed for each k. Smoke: glyphs, 200 steps. Larger tiers: statically binarised MNIST.
"""

import numpy as np
import torch

from course_lib.models.vae import VAE
from course_lib.training import fit, load_data, recipe

KS = (1, 5, 20)


def run(tier: str) -> dict[str, np.ndarray]:
    """`k` (3,); `elbo` and `nll` (3,) nats an image on `images` test images, `nll` from `nll_k` codes; `active` (3,) latent
    dimensions with a KL above 0.01 nats; `steps`."""
    smoke = tier == "smoke"
    plan = recipe("vae", "glyphs" if smoke else "mnist", "smoke" if smoke else "laptop")
    plan = plan.replace(steps=200 if smoke else 6_000, batch_size=50)
    images, nll_k = (200, 50) if smoke else (1_000, 500)
    train = load_data(plan.data, "train", **plan.data_options)
    test = load_data(plan.data, "test", **plan.data_options).x[:images]
    rows: dict[str, list] = {"elbo": [], "nll": [], "active": []}
    for k in KS:
        with torch.random.fork_rng():
            torch.manual_seed(plan.seed)
            model = VAE(**plan.model, importance_samples=k)
        model = fit(model, train, plan).model
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            mu, log_var = model.encode(test)
            kl = 0.5 * (mu**2 + log_var.exp() - 1 - log_var).mean(0)
            rows["elbo"].append(model.elbo(test, 10, generator=generator).mean().item())
        bound = torch.cat([model.iwae(part, nll_k, generator=generator) for part in test.split(100)])
        rows["nll"].append(-bound.mean().item())
        rows["active"].append(int((kl > 0.01).sum()))
    return {
        "k": np.array(KS),
        **{name: np.array(values) for name, values in rows.items()},
        "nll_k": np.array(nll_k),
        "images": np.array(images),
        "steps": np.array(plan.steps),
    }

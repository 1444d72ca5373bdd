"""Two latent dimensions on MNIST: codes of an autoencoder and a VAE fitted to the same 1,000 images, and the VAE's plane.

The protocol of SLIDES: 1,000 training images, MLPs, codes of 256 test images. The plane is decoded by a third model, a VAE
trained on all images. Smoke: glyphs, a few steps.
"""

import numpy as np
import torch

from course_lib.models.vae import VAE, Autoencoder, code_plane
from course_lib.training import Recipe, fit, load_data

SIDE = 20


def run(tier: str) -> dict[str, np.ndarray]:
    """`ae_train`, `vae_train` (1000, 2) and `ae_test`, `vae_test` (256, 2) mean codes; `vae_std` (256, 2) the encoder's
    standard deviations; `label_train`, `label_test`; `plane` (400, 28, 28) uint8 mean images, row by row."""
    smoke = tier == "smoke"
    data = "glyphs" if smoke else "mnist"
    train = load_data(data, "train", binary=True)
    test = load_data(data, "test", binary=True).head(256)
    few = train.head(1_000)
    base = Recipe("vae", data, tier, steps=300 if smoke else 10_000, batch_size=100, schedule="cosine")
    config = {"latent_dim": 2, "hidden": [400, 200], "likelihood": "bernoulli"}

    def trained(kind, images, **changes):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = kind(**config)
        return fit(model, images, base.replace(**changes)).model

    arrays = {"label_train": few.y, "label_test": test.y}
    for name, kind in {"ae": Autoencoder, "vae": VAE}.items():
        model = trained(kind, few)
        with torch.no_grad():
            arrays[f"{name}_train"] = model.encode(few.x)[0]
            arrays[f"{name}_test"], log_var = model.encode(test.x)
        if name == "vae":
            arrays["vae_std"] = torch.exp(0.5 * log_var)
    full = trained(VAE, train, steps=300 if smoke else 20_000)
    with torch.no_grad():
        pictures = full.decode(code_plane(SIDE))[:, 0]
    return {
        **{k: np.asarray(v) for k, v in arrays.items()},
        "plane": np.asarray((255 * pictures).round().byte()),
    }

"""Speed of adversarial training, each as a ratio in one run: `python benchmarks/adversarial.py`.

- one step (discriminator, then generator) of a DCGAN by our model and `fit`, against the same networks, batch, optimisers and
  losses in a plain PyTorch loop (1.0 = no overhead; the course asks for at most 1.05).
- the same step in bfloat16 with channels last, against float32 (the course asks for at least 1.5 times as fast where the
  processor computes in bfloat16).

Times are processor times of this process, the best of several turns, so that other work on the machine counts little.
"""

import time

import torch
import torch.nn.functional as F

from course_lib.data import dataset
from course_lib.models import build
from course_lib.nn import DCGANDiscriminator, DCGANGenerator
from course_lib.training import Recipe, fit

STEPS, BATCH, WIDTH, LATENT, TURNS = 20, 64, 64, 64, 4
PLAN = Recipe(
    "gan",
    "glyphs",
    "smoke",
    steps=STEPS,
    batch_size=BATCH,
    lr=2e-4,
    optimizer_options={"betas": [0.5, 0.999]},
)


def ours(
    images, precision: str = "fp32", memory_format: torch.memory_format = torch.contiguous_format
) -> float:
    """Seconds of `fit`."""
    model = build("gan", width=WIDTH, latent_dim=LATENT).to(memory_format=memory_format)
    start = time.process_time()
    fit(model, images, PLAN.replace(precision=precision), progress=False)
    return time.process_time() - start


def plain(pixels: torch.Tensor) -> float:
    """Seconds of the loop that one writes without a library: algorithm 1 with the non-saturating loss."""
    generator, discriminator = DCGANGenerator(LATENT, 1, 28, WIDTH), DCGANDiscriminator(1, 28, WIDTH)
    opt_d, opt_g = (
        torch.optim.Adam(m.parameters(), 2e-4, betas=(0.5, 0.999)) for m in (discriminator, generator)
    )
    ones, zeros = torch.ones(BATCH), torch.zeros(BATCH)
    start = time.process_time()
    for _ in range(STEPS):
        real = pixels[torch.randint(len(pixels), (BATCH,))].float() / 127.5 - 1
        fake = generator(torch.randn(BATCH, LATENT)).detach()
        loss = F.binary_cross_entropy_with_logits(discriminator(real), ones)
        loss = loss + F.binary_cross_entropy_with_logits(discriminator(fake), zeros)
        opt_d.zero_grad()
        loss.backward()
        opt_d.step()
        for parameter in discriminator.parameters():  # no gradient for whom it is not the turn
            parameter.requires_grad_(False)
        loss = F.binary_cross_entropy_with_logits(discriminator(generator(torch.randn(BATCH, LATENT))), ones)
        opt_g.zero_grad()
        loss.backward()
        opt_g.step()
        for parameter in discriminator.parameters():
            parameter.requires_grad_(True)
    return time.process_time() - start


def measure() -> dict[str, float]:
    """Best seconds for STEPS steps: "ours", "plain", "bf16"."""
    images = dataset("glyphs", n=10_000)
    fit(build("gan", width=8), images, PLAN.replace(steps=3), progress=False)  # imports and caches
    times: dict[str, list[float]] = {"ours": [], "plain": [], "bf16": []}
    for _ in range(TURNS):
        times["ours"].append(ours(images))
        times["plain"].append(plain(images.pixels))
        times["bf16"].append(ours(images, "bf16", torch.channels_last))
    return {name: min(values) for name, values in times.items()}


if __name__ == "__main__":
    print(f"threads: {torch.get_num_threads()}")
    best = measure()
    print(
        f"DCGAN step, width {WIDTH}, batch {BATCH}: ours {STEPS / best['ours']:.1f} steps/s, plain loop "
        f"{STEPS / best['plain']:.1f}; time ratio {best['ours'] / best['plain']:.3f}"
    )
    print(
        f"bfloat16 and channels last: {STEPS / best['bf16']:.1f} steps/s, {best['ours'] / best['bf16']:.2f} times as fast as "
        "float32"
    )

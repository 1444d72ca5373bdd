"""Speed of diffusion models, each as a ratio in one run: `python benchmarks/diffusion.py`.

- one training step (noise, U-Net, squared error, Adam) and one sampling step of DDPM at the default size, against diffusers'
  `UNet2DModel` and `DDPMScheduler` at the same size: both in float32 (1.0 = as fast; the course asks for at most 1.0), and
  ours in bfloat16 against theirs in float32 (asked: at least 1.2 times as fast where the processor computes in bfloat16).
- sampling 1,000 images of 28x28 by a denoising diffusion GAN with 4 steps, DDIM with 50, and DDPM with 1,000, on U-Nets of that
  size. Fewer images and, for DDPM, fewer of its equal steps are timed, and scaled up: the line says how many.

Weights are random: they don't change the time. Times are processor times of this process, the best of several turns, so that
other work on the machine counts little.
"""

import itertools
import time
from collections.abc import Callable

import torch

from course_lib.models import build
from course_lib.models.score_sde import of_ddpm
from course_lib.sampling import processes, sde

BATCH, TURNS = 32, 4
IMAGES, DDPM_STEPS = 32, 10  # timed for the comparison of samplers
T = 1000


def seconds(work: Callable[[], None]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def bfloat16() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


def ours(precision: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """A training step and a sampling step of our DDPM."""
    model = build("ddpm", T=T)
    optimizer = torch.optim.Adam(model.parameters(), 2e-4)
    images = torch.rand(BATCH, 1, 28, 28)
    xt, t = torch.randn(BATCH, 1, 28, 28), torch.full((BATCH,), T // 2)

    def train() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = model.loss(images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    @torch.no_grad()
    def sample() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            model.step(xt, t, torch.randn_like(xt))

    return train, sample


def theirs() -> tuple[Callable[[], None], Callable[[], None]]:
    """The same two steps by diffusers."""
    from diffusers import DDPMScheduler, UNet2DModel

    network = UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=1,
        freq_shift=1,
        flip_sin_to_cos=False,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(32, 64, 64),
        layers_per_block=2,
        norm_eps=1e-6,
        norm_num_groups=8,
        attention_head_dim=None,
    )
    weights = (
        sum(parameter.numel() for parameter in net.parameters()) for net in (network, build("ddpm").network)
    )
    assert len(set(weights)) == 1, "the two networks are not of one size"
    scheduler = DDPMScheduler(T, variance_type="fixed_large")
    optimizer = torch.optim.Adam(network.parameters(), 2e-4)
    images = torch.rand(BATCH, 1, 28, 28)
    xt, t = torch.randn(BATCH, 1, 28, 28), T // 2

    def train() -> None:
        x0, noise, steps = 2 * images - 1, torch.randn(BATCH, 1, 28, 28), torch.randint(T, (BATCH,))
        predicted = network(scheduler.add_noise(x0, noise, steps), steps).sample
        loss = (predicted - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    @torch.no_grad()
    def sample() -> None:
        scheduler.step(network(xt, t).sample, t, xt)

    return train, sample


def measure_steps() -> dict[str, tuple[float, float]]:
    """Best seconds of a training and of a sampling step: "ours", "bf16", "diffusers"."""
    contestants = {"ours": ours("fp32"), "bf16": ours("bf16"), "diffusers": theirs()}
    times: dict[str, list[tuple[float, ...]]] = {name: [] for name in contestants}
    for _ in range(TURNS + 1):
        for name, works in contestants.items():
            times[name].append(tuple(map(seconds, works)))
    return {name: tuple(map(min, zip(*turns[1:], strict=True))) for name, turns in times.items()}


def measure_samplers() -> dict[str, float]:
    """Seconds for 1,000 images in bfloat16."""
    gan, ddpm = build("ddgan", T=4), build("ddpm", T=T)
    process, score = processes.VPSDE(), of_ddpm(ddpm)
    times = torch.linspace(1.0, 0.0, 51)
    noise = torch.randn(IMAGES, 1, 28, 28)

    def chain() -> None:
        for _ in itertools.islice(ddpm.trajectory(IMAGES), DDPM_STEPS):
            pass

    def flow() -> None:
        sde.ddim(process, score, noise, times)

    with bfloat16():
        gan.sample(IMAGES)  # warms up
        scale = 1_000 / IMAGES
        return {
            "gan": scale * min(seconds(lambda: gan.sample(IMAGES)) for _ in range(TURNS)),
            "ddim": scale * seconds(flow),
            "ddpm": scale * T / DDPM_STEPS * min(seconds(chain) for _ in range(2)),
        }


if __name__ == "__main__":
    print(f"threads: {torch.get_num_threads()}")
    best = measure_steps()
    for i, step in enumerate(("training", "sampling")):
        one, half, peer = (best[name][i] for name in ("ours", "bf16", "diffusers"))
        print(
            f"DDPM {step} step, batch {BATCH}: ours {1 / one:.2f} steps/s, diffusers {1 / peer:.2f}, time ratio {one / peer:.3f}; "
            f"in bfloat16 {1 / half:.2f}, {peer / half:.2f} times as fast as diffusers in float32"
        )
    took = measure_samplers()
    print(
        f"1,000 images of 28x28 in bfloat16, scaled from {IMAGES} images (DDPM: from {DDPM_STEPS} of its steps): "
        f"DDGAN, 4 steps {took['gan']:.0f} s; DDIM, 50 steps {took['ddim']:.0f} s, {took['ddim'] / took['gan']:.1f} times as "
        f"long; DDPM, 1,000 steps {took['ddpm']:.0f} s, {took['ddpm'] / took['gan']:.0f} times as long"
    )

"""Generative adversarial networks: a generator and a discriminator that play against each other.

The generator turns noise into samples; the discriminator learns to tell them from data. At its best the discriminator is
D* = p / (p + q), with p the law of the data and q that of the samples, and the generator that beats it descends a
divergence: 2 JSD - 2 log 2 in the original game, any f-divergence in the game of f-GAN.

| symbol | here | shape | meaning |
|---|---|---|---|
| z | `z` | (B, d) | noise from N(0, I), d = `latent_dim` |
| G(z) | `generator(z)` | (B, C, H, W) in [-1, 1], or (B, dim) | a sample |
| v(x) | `discriminator(x)` | (B,) | the logit; D = sigmoid(v) |
| T(x) | `divergence.activation(v)` | (B,) | f-GAN's critic, in the domain of the conjugate f* |

Sources: Goodfellow et al. 2014 (equation 1, algorithm 1, section 3); Nowozin et al. 2016 (equations 4-8, table 2); Radford
et al. 2016 (networks); Metz et al. 2017 (unrolling, equations 3-7). Losses are in nats, averaged over the batch.
"""

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from course_lib.metrics.divergences import F_DIVERGENCES
from course_lib.nn import MLP, DCGANDiscriminator, DCGANGenerator

OBJECTIVES = ("non_saturating", "saturating", *F_DIVERGENCES)


def _wide(logits: Tensor) -> Tensor:
    """At least float32: a mean over a batch in bfloat16 has three digits."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def discriminator_loss(real: Tensor, fake: Tensor, objective: str = "non_saturating") -> Tensor:
    """What the discriminator descends: minus the value of the game.

    Args:
        real, fake: logits `(B,)` of data and of samples.
        objective: "non_saturating" and "saturating" share -E log D - E log(1 - D); a name of `F_DIVERGENCES` gives
            -E_data[T] + E_g[f*(T)].

    Implements: gan-value, gan-fgan
    """
    real, fake = _wide(real), _wide(fake)
    if objective in F_DIVERGENCES:
        divergence = F_DIVERGENCES[objective]
        return divergence.conjugate(divergence.activation(fake)).mean() - divergence.activation(real).mean()
    return F.softplus(-real).mean() + F.softplus(fake).mean()  # -log D(real) - log(1 - D(fake))


def generator_loss(fake: Tensor, objective: str = "non_saturating") -> Tensor:
    """What the generator descends.

    Args:
        fake: logits `(B,)` of samples.
        objective: "saturating" E log(1 - D), "non_saturating" -E log D, or a name of `F_DIVERGENCES`: -E[f*(T)].

    Implements: gan-saturating, gan-non-saturating, gan-logit-slopes, gan-fgan
    """
    fake = _wide(fake)
    if objective in F_DIVERGENCES:
        divergence = F_DIVERGENCES[objective]
        return -divergence.conjugate(divergence.activation(fake)).mean()
    return -F.softplus(fake).mean() if objective == "saturating" else F.softplus(-fake).mean()


def latent_circle(start: Tensor, end: Tensor, turns: Tensor) -> Tensor:
    """Codes cos(t) start + sin(t) end on the circle through two independent draws, each of them again N(0, I).

    Args:
        start, end: `(d,)`, or `(n, d)` for a circle each; reached at t = 0 and at a quarter turn.
        turns: `(n,)` positions, 1 = the whole circle.

    Returns:
        `(n, d)`.

    Implements: gan-circle
    """
    angle = 2 * math.pi * turns.unsqueeze(-1)
    return angle.cos() * start + angle.sin() * end


def judged_rightly(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's accuracy on a batch: the share of logits above 0 on data and below 0 on samples."""
    return torch.cat([(real > 0).flatten(), (fake < 0).flatten()]).float().mean()


def who_lost(accuracy: float, restraint: str) -> str:
    """What probably ended a game, from the share of images that the discriminator judged rightly before the end.

    Args:
        restraint: what holds this game's discriminator back, as advice.
    """
    if accuracy > 0.95:
        return (
            f"The discriminator has won (accuracy {accuracy:.2f}) and the generator gets no useful gradient: lower the "
            f"discriminator's learning rate, or {restraint}"
        )
    if accuracy < 0.55:
        return (
            f"The discriminator has lost (accuracy {accuracy:.2f}) and its gradient is noise: lower the generator's "
            "learning rate"
        )
    return f"The game itself blew up (accuracy {accuracy:.2f}): lower both learning rates, or Adam's beta_1"


class ImplicitModel(nn.Module):
    """A law known by its sampler alone: noise through a generator.

    Args:
        generator: network from noise `(B, latent_dim)` to images in [-1, 1], or to points.
        latent_dim: length of the noise.
        images: samples are images, in [0, 1] at the door; else points as they are.

    Implements: gan-sampler
    """

    n_evaluations = 1

    def __init__(self, generator: nn.Module, latent_dim: int, images: bool = True):
        super().__init__()
        self.generator, self.latent_dim, self.images = generator, latent_dim, images

    def noise(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """`(n, latent_dim)` standard normal, on the networks' device."""
        like = next(self.generator.parameters())
        return torch.randn(n, self.latent_dim, generator=generator, device=like.device, dtype=like.dtype)

    def inward(self, x: Tensor) -> Tensor:
        """Data as the networks see them.

        Raises:
            ValueError: integers, another number of dimensions, or (looked at on the CPU only) images outside [0, 1].
        """
        expected = "(B, C, H, W) in [0, 1]" if self.images else "(B, dim)"
        if not x.is_floating_point() or x.ndim != (4 if self.images else 2):
            raise ValueError(f"expected float data {expected}; got {x.dtype} {tuple(x.shape)}")
        if self.images and x.device.type == "cpu" and x.numel() and (x.amin() < 0 or x.amax() > 1):
            raise ValueError(f"images must lie in [0, 1]; got values from {x.amin():.3g} to {x.amax():.3g}")
        return 2 * x - 1 if self.images else x

    def decode(self, z: Tensor) -> Tensor:
        """Samples from noise `(B, d)`: images in [0, 1], or points."""
        x = self.generator(z)
        return (x + 1) / 2 if self.images else x

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """`n` samples."""
        return self.decode(self.noise(n, generator))


class GAN(ImplicitModel):
    """A generator, a discriminator and the game between them.

    Args:
        generator, discriminator: networks as in the table above.
        latent_dim: length of the noise.
        objective: one of `OBJECTIVES`.
        unroll: inner steps of the discriminator that the generator looks ahead (0: none).
        unroll_lr: step size of these, plain gradient descent.
        images: samples and data are images in [0, 1], which the networks see in [-1, 1]; else points as they are.

    Raises:
        ValueError: unknown objective.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        latent_dim: int,
        objective: str = "non_saturating",
        unroll: int = 0,
        unroll_lr: float = 0.1,
        images: bool = True,
    ):
        super().__init__(generator, latent_dim, images)
        if objective not in OBJECTIVES:
            raise ValueError(f"objective={objective!r}: expected one of {', '.join(OBJECTIVES)}")
        self.discriminator, self.objective = discriminator, objective
        self.unroll, self.unroll_lr = unroll, unroll_lr
        self.monitors: dict[str, Tensor] = {}

    def parameter_groups(self) -> dict[str, Iterator[nn.Parameter]]:
        return {"discriminator": self.discriminator.parameters(), "generator": self.generator.parameters()}

    def training_step(
        self, x: Tensor, y: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Iterator[tuple[str, Tensor]]:
        """Algorithm 1 with one step of the discriminator for each of the generator, on fresh noise each."""
        x = self.inward(x)
        fake = self.generator(self.noise(len(x), generator)).detach()
        logits_real, logits_fake = self.discriminator(x), self.discriminator(fake)
        self.monitors = {"discriminator_accuracy": judged_rightly(logits_real, logits_fake)}
        yield "discriminator", discriminator_loss(logits_real, logits_fake, self.objective)

        fake = self.generator(self.noise(len(x), generator))
        judge = self._unrolled(x, fake) if self.unroll else self.discriminator
        yield "generator", generator_loss(judge(fake), self.objective)

    def _unrolled(self, x: Tensor, fake: Tensor):
        """The discriminator after `unroll` steps of gradient descent on this batch, as a function of the samples.

        The steps stay in the graph, so the generator's gradient knows how the discriminator will answer.

        Implements: gan-unrolled
        """
        parameters = dict(self.discriminator.named_parameters())
        for _ in range(self.unroll):
            real_logits, fake_logits = (
                functional_call(self.discriminator, parameters, (v,)) for v in (x, fake)
            )
            loss = discriminator_loss(real_logits, fake_logits, self.objective)
            gradients = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
            parameters = {
                name: p - self.unroll_lr * g
                for (name, p), g in zip(parameters.items(), gradients, strict=True)
            }
        return lambda points: functional_call(self.discriminator, parameters, (points,))

    def likely_cause(self, monitors: dict[str, float]) -> str:
        """What probably went wrong, from the discriminator's accuracy before the end."""
        return who_lost(monitors["discriminator_accuracy"], "bound it with spectral normalisation")


def build(
    image_shape: Sequence[int] | None = (1, 28, 28),
    dim: int = 2,
    latent_dim: int = 64,
    width: int = 64,
    depth: int = 2,
    norm: str = "batch",
    **options,
) -> GAN:
    """A DCGAN for images, or a pair of MLPs for points.

    Args:
        image_shape: (C, H, W) with H = W; None for points of dimension `dim`.
        width: channels of the largest map, or units of a hidden layer.
        depth: hidden layers of the MLPs.
        norm: of the discriminator's maps (images only).
        options: of `GAN`.
    """
    if image_shape is None:
        networks = (
            MLP([latent_dim, *[width] * depth, dim], nn.ReLU),
            nn.Sequential(MLP([dim, *[width] * depth, 1], nn.ReLU), nn.Flatten(0)),
        )
        return GAN(*networks, latent_dim, images=False, **options)
    channels, size, _ = image_shape
    return GAN(
        DCGANGenerator(latent_dim, channels, size, width),
        DCGANDiscriminator(channels, size, width, norm),
        latent_dim,
        **options,
    )

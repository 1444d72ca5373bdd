"""Denoising diffusion GANs: a diffusion of a few large steps whose reverse steps are drawn by a conditional GAN.

A large step back from noise to data has several plausible answers, which no Gaussian holds. So a generator with a latent
code guesses the clean image, the posterior of the forward process carries the guess to the next noise level, and a
discriminator compares pairs of neighbouring levels with real ones.

| symbol | here | shape | meaning |
|---|---|---|---|
| t, T | `t`, `T` | (B,) int64 | formulas count steps from 1, code from 0: index t leads from x_{t+1} to x_t, 0 to the image |
| x_{t-1}, x_t | `x_prev`, `x_next` | (B, C, H, W) in [-1, 1] and noise, or (B, dim) | the two ends of a step |
| z | `z` | (B, d) | code from N(0, I), d = `latent_dim`; without one (d = 0) a guess is a function of x_t |
| G(x_t, z, t) | `guess` | as x | a draw of the clean image |
| D(x_{t-1}, x_t, t) | `discriminator` | (B,) | the logit |
| gamma | `gamma` | | weight of R1, at real x_{t-1} |

Sources: Xiao et al. 2022 (thesis, chapter 6: equations 6.2-6.16, algorithms 1 and 2); Mescheder et al. 2018 (R1). Losses are
in nats, averaged over the batch.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, Normal

from course_lib.models.gan import discriminator_loss, generator_loss, judged_rightly, who_lost
from course_lib.models.gaussian_diffusion import GaussianDiffusion, inward
from course_lib.models.style import r1_penalty
from course_lib.nn.mlp import TimeMLP
from course_lib.nn.time_discriminator import PointDiscriminator, TimeDiscriminator
from course_lib.nn.unet import UNet

CONVENTIONS = ("thesis", "released")
PREDICTIONS = ("x0", "direct", "noise")
OFFSET = 1e-3  # where the released code starts its clock


def vp_betas(T: int, beta_min: float = 0.1, beta_max: float = 20.0, convention: str = "thesis") -> Tensor:
    """Noise variances of T steps cut out of one variance-preserving diffusion on [0, 1].

    Args:
        T: number of steps.
        beta_min, beta_max: the diffusion's rate at its start and end.
        convention: "thesis" cuts [0, 1] at t/T; "released", the authors' code, cuts [0.001, 1].

    Returns:
        `(T,)` float64, rising; 1 - prod(1 - betas) is the same for every T.

    Raises:
        ValueError: no step, rates that are not 0 <= beta_min <= beta_max with a positive sum, or an unknown convention.

    Implements: ddgan-vp-variance, ddgan-vp-betas
    """
    if T < 1 or not 0 <= beta_min <= beta_max or beta_max == 0:
        raise ValueError(f"expected T >= 1 and 0 <= beta_min <= beta_max; got {T}, {beta_min}, {beta_max}")
    if convention not in CONVENTIONS:
        raise ValueError(f"convention={convention!r}: expected one of {', '.join(CONVENTIONS)}")
    time = torch.linspace(0, 1, T + 1, dtype=torch.float64)
    if convention == "released":
        time = time * (1 - OFFSET) + OFFSET
    log_alpha_bar = -beta_min * time - 0.5 * (beta_max - beta_min) * time**2
    return -torch.expm1(log_alpha_bar.diff())


def true_denoising(
    x: Tensor, alpha_bar_from: float, alpha_bar_to: float, weights: Tensor, means: Tensor, stds: Tensor
) -> MixtureSameFamily:
    """The law of the less noisy point given the noisier one, for a Gaussian mixture on the line: B mixtures of K Gaussians.

    Args:
        x: `(B,)` noisy points. weights, means, stds: `(K,)` of the data's law.
        alpha_bar_from, alpha_bar_to: signal shares of the noisier and of the less noisy level; 1 is the clean datum.

    Raises:
        ValueError: levels not in order, 0 <= alpha_bar_from < alpha_bar_to <= 1.

    Implements: ddgan-true-denoising, ddgan-merged-step
    """
    if not 0 <= alpha_bar_from < alpha_bar_to <= 1:
        raise ValueError(f"levels must rise, 0 <= from < to <= 1; got {alpha_bar_from}, {alpha_bar_to}")
    scale = (alpha_bar_from / alpha_bar_to) ** 0.5  # of the step between the two levels
    noise = 1 - scale**2  # its variance
    prior_mean = alpha_bar_to**0.5 * means  # (K,) of the less noisy point in component k
    prior_variance = alpha_bar_to * stds**2 + 1 - alpha_bar_to
    variance = scale**2 * prior_variance + noise  # (K,) of the noisy point in component k
    surprise = x.unsqueeze(1) - scale * prior_mean  # (B, K)
    gain = scale * prior_variance / variance
    log_weights = weights.log() - 0.5 * (variance.log() + surprise**2 / variance)
    spread = (prior_variance * noise / variance).sqrt().expand_as(surprise)
    return MixtureSameFamily(
        Categorical(logits=log_weights), Normal(prior_mean + gain * surprise, spread), validate_args=False
    )


def _noise(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


class DDGAN(nn.Module):
    """A generator and a discriminator of denoising steps.

    Args:
        generator: `(x_t, t, z=z)` to the shape of x.
        discriminator: `(x_{t-1}, x_t, t)` to logits `(B,)`.
        betas: `(T,)` noise variances.
        latent_dim: length of z; 0 for a generator without one.
        shape: of one datum, (C, H, W) for images or (dim,) for points.
        gamma: weight of R1.
        r1_every: R1 is taken at every so manieth step, with so many times the weight.
        prediction: what the generator's output is: "x0" the clean image, "noise" the noise in x_t, "direct" x_{t-1} itself.

    Raises:
        ValueError: unknown prediction.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        betas: Tensor,
        latent_dim: int,
        shape: Sequence[int],
        gamma: float = 0.05,
        r1_every: int = 15,
        prediction: str = "x0",
    ):
        super().__init__()
        if prediction not in PREDICTIONS:
            raise ValueError(f"prediction={prediction!r}: expected one of {', '.join(PREDICTIONS)}")
        self.generator, self.discriminator = generator, discriminator
        self.diffusion = GaussianDiffusion(betas)
        self.latent_dim, self.shape, self.images = latent_dim, tuple(shape), len(shape) == 3
        self.gamma, self.r1_every, self.prediction = gamma, r1_every, prediction
        self.T = self.n_evaluations = len(betas)  # one evaluation of the generator a step
        self.step, self.monitors = 0, {}  # `fit` sets the first and reads the second

    def parameter_groups(self) -> dict[str, Iterator[nn.Parameter]]:
        return {"discriminator": self.discriminator.parameters(), "generator": self.generator.parameters()}

    def outward(self, x: Tensor) -> Tensor:
        """The networks' range to the door's."""
        return (x + 1) / 2 if self.images else x

    def noised(self, x0: Tensor, t: Tensor | int, generator: torch.Generator | None = None) -> Tensor:
        """x_t from clean data: level t, one for all or `(B,)`; level 0 leaves the data as they are.

        Implements: ddgan-forward
        """
        levels = F.pad(self.diffusion.alpha_bar, (1, 0), value=1.0)  # (T + 1,)
        alpha_bar = levels[t].to(x0.dtype).view(-1, *[1] * (x0.ndim - 1))
        return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * _noise(x0, generator)

    def pair(self, x0: Tensor, t: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Neighbours on one path of the forward process: x_prev at level t, x_next one step noisier.

        Implements: ddgan-forward, ddgan-pairs
        """
        x_prev = self.noised(x0, t, generator)
        beta = self.diffusion.at(self.diffusion.betas, t, x0)
        return x_prev, (1 - beta).sqrt() * x_prev + beta.sqrt() * _noise(x0, generator)

    def guess(self, x_next: Tensor, t: Tensor, z: Tensor | None) -> Tensor:
        """The generator's clean image (x_prev if `prediction` is "direct"), in a tanh: paper is exactly -1."""
        out = self.generator(x_next, t, z=z).to(x_next.dtype)
        if self.prediction == "noise":
            return self.diffusion.x0_from_eps(x_next, t, out)
        return out.tanh() if self.images and self.prediction == "x0" else out

    def denoise(
        self, x_next: Tensor, t: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """One step back: a draw of x_prev, and the guess behind it.

        The posterior's variance at t = 0 is zero: the last step returns the guess and adds no noise.

        Implements: ddgan-implicit, ddgan-sampler
        """
        z = _noise(x_next.new_empty(len(x_next), self.latent_dim), generator) if self.latent_dim else None
        guess = self.guess(x_next, t, z)
        if self.prediction == "direct":
            return guess, guess
        mean, variance = self.diffusion.posterior(guess, x_next, t)
        return mean + variance.sqrt() * _noise(x_next, generator), guess

    def training_step(
        self, x: Tensor, y: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Iterator[tuple[str, Tensor]]:
        """Algorithm 1: one step of the discriminator, then one of the generator, on the same noisy images and codes.

        Implements: ddgan-discriminator, ddgan-generator, ddgan-r1
        """
        x0 = inward(x, self.shape)
        t = torch.randint(self.T, (len(x0),), generator=generator, device=x0.device)
        real, x_next = self.pair(x0, t, generator)
        fake, _ = self.denoise(x_next, t, generator)
        logits_real = self.discriminator(real, x_next, t)
        logits_fake = self.discriminator(fake.detach(), x_next, t)
        self._monitor(t, logits_real.detach().float(), logits_fake.detach().float())
        loss = discriminator_loss(logits_real, logits_fake)
        if self.gamma and self.step % self.r1_every == 0:
            with torch.autocast(x0.device.type, enabled=False):  # bfloat16 has two digits, its square fewer
                slope = r1_penalty(lambda x_prev: self.discriminator(x_prev, x_next, t), real)
            loss = loss + self.r1_every * self.gamma / 2 * slope
        yield "discriminator", loss
        yield "generator", generator_loss(self.discriminator(fake, x_next, t))

    def _monitor(self, t: Tensor, real: Tensor, fake: Tensor) -> None:
        """Accuracy over the batch; loss and accuracy of each step, counted from 1. NaN where no image had that step."""
        of_step = F.one_hot(t, self.T).float()  # (B, T)
        loss = F.softplus(-real) + F.softplus(fake)
        accuracy = ((real > 0).float() + (fake < 0).float()) / 2
        self.monitors = {"discriminator_accuracy": judged_rightly(real, fake)}
        for name, value in (("loss", loss), ("accuracy", accuracy)):
            means = (value @ of_step) / of_step.sum(0)
            self.monitors |= {f"{name}_{k}": mean for k, mean in enumerate(means, start=1)}

    def likely_cause(self, monitors: dict[str, float]) -> str:
        """What probably went wrong, from the discriminator's accuracy before the end."""
        return who_lost(monitors["discriminator_accuracy"], f"raise gamma above {self.gamma:g} (R1)")

    @torch.no_grad()
    def reverse(
        self, x: Tensor, level: int, generator: torch.Generator | None = None
    ) -> list[tuple[Tensor, Tensor]]:
        """From noise level `level` down to 0: each step's x_prev and guess, in the networks' range.

        Raises:
            ValueError: a level outside 1 .. T.

        Implements: ddgan-sampler
        """
        if not 1 <= level <= self.T:
            raise ValueError(f"level must lie in 1 .. {self.T}; got {level}")
        path = []
        for index in reversed(range(level)):
            t = torch.full((len(x),), index, device=x.device)
            x, guess = self.denoise(x, t, generator)
            path.append((x, guess))
        return path

    def sample(self, n: int, y: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """`n` samples by algorithm 2."""
        noise = _noise(next(self.generator.parameters()).new_empty(n, *self.shape), generator)
        return self.outward(self.reverse(noise, self.T, generator)[-1][0])

    def edit(self, x: Tensor, level: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Samples near given images: noise these to `level`, then denoise."""
        noisy = self.noised(inward(x, self.shape), level, generator)
        return self.outward(self.reverse(noisy, level, generator)[-1][0])


def build(
    image_shape: Sequence[int] | None = (1, 28, 28),
    dim: int = 2,
    T: int = 4,
    convention: str = "thesis",
    latent_dim: int = 64,
    width: int = 32,
    discriminator_width: int | None = None,
    depth: int = 3,
    unet: dict | None = None,
    critic: dict | None = None,
    **options,
) -> DDGAN:
    """A U-Net and a convolutional discriminator for images, MLPs for points.

    Args:
        image_shape: (C, H, W) with H = W; None for points of dimension `dim`.
        T, convention: as in `vp_betas`.
        latent_dim: length of z; 0 for none.
        width, discriminator_width: of the networks (the second as the first where left out).
        depth: hidden layers of the MLPs.
        unet, critic: further options of `UNet` and of `TimeDiscriminator` (images only).
        options: of `DDGAN`.
    """
    betas, code, other = vp_betas(T, convention=convention), latent_dim or None, discriminator_width or width
    if image_shape is None:
        shape, activation = (dim,), partial(nn.LeakyReLU, 0.2)
        generator = TimeMLP(dim, width, depth, latent_dim=code, activation=activation)
        discriminator = PointDiscriminator(dim, other, depth)
    else:
        shape, (channels, size, _) = image_shape, image_shape
        generator = UNet(channels, size, width, latent_dim=code, **(unet or {}))
        discriminator = TimeDiscriminator(channels, size, other, **(critic or {}))
    model = DDGAN(generator, discriminator, betas, latent_dim, shape, **options)
    return model.float() if torch.backends.mps.is_available() else model  # Apple's GPUs have no float64

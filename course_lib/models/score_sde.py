"""Diffusion in continuous time: a stochastic differential equation makes data into noise, and the score runs it backward.

dx = f(x, t) dt + g(t) dw carries the data's law p_0 at time 0 to nearly a known Gaussian at time 1. The same marginals are
run through backward by another SDE and by an ordinary differential equation, and both need one unknown: the score, the
gradient of log p_t. The processes are linear, x_t = a(t) x_0 + s(t) eps, so the score is learned as the noise:
score = -eps(x_t, t) / s(t).

| symbol | here | shape | meaning |
|---|---|---|---|
| f, g, a, s | `sde` | | the process: see `sampling.processes` |
| eps | `eps(xt, t)` | as x_t | the noise in x_t, as the network guesses it |
| grad log p_t | `score(xt, t)` | as x_t | score; t in (0, 1] |

Sources: Song et al. 2021 (equations 5-7 and 20-29, appendix B, C); Anderson 1982. Points are as they are, images in [-1, 1]
inside and in [0, 1] at the door.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from course_lib.models.ddpm import DDPM
from course_lib.models.gaussian_diffusion import inward
from course_lib.nn import TimeMLP, UNet
from course_lib.nn.mlp import TIME_SCALE
from course_lib.sampling import ode
from course_lib.sampling import sde as samplers
from course_lib.sampling.processes import PROCESSES, SDE, VESDE, VPSDE, SubVPSDE, along

__all__ = ["PROCESSES", "SDE", "VESDE", "VPSDE", "ScoreSDE", "SubVPSDE", "build", "gaussian_flow", "of_ddpm"]

TRAIN_FROM = 1e-5  # the earliest time that the network sees
SAMPLE_TO = 1e-3  # where sampling stops by default


def gaussian_flow(
    sde: SDE, x: Tensor, start: float | Tensor, end: float | Tensor, mean: Tensor, cov: Tensor
) -> Tensor:
    """Where the exact probability flow of data N(mean, cov) carries points from time `start` to time `end`.

    Each axis of the covariance keeps its standardised coordinate.

    Args:
        x: `(B, d)` at `start`. start, end: in [0, 1], in either order. mean, cov: `(d,)`, `(d, d)`, positive definite.

    Implements: sde-gaussian-flow
    """
    values, vectors = torch.linalg.eigh(cov.to(x))
    centre = mean.to(x) @ vectors
    (a, s), (b, r) = (sde.marginal(torch.as_tensor(t).to(x)) for t in (start, end))
    stretch = ((b**2 * values + r**2) / (a**2 * values + s**2)).sqrt()
    return (b * centre + stretch * (x @ vectors - a * centre)) @ vectors.T


def of_ddpm(
    ddpm: DDPM, sde: SDE | None = None, y: Tensor | None = None, clip: bool | None = None
) -> Callable[[Tensor, Tensor], Tensor]:
    """The score of a continuous process from a network that was trained at discrete steps.

    A point of the process at time t, divided by its scale, is a datum with noise of standard deviation std / scale. The network
    has seen that amount of noise at some step, between two steps in general, and the time embedding takes fractions: so any
    linear process and any schedule can be joined.

    Args:
        ddpm: a trained model. sde: the process; `VPSDE()` if left out, the limit of the linear schedule.
        y: labels `(B,)` for a network that knows them.
        clip: clip the guessed datum to [-1, 1], as chapter 18's sampler does; for images if left out. Where there is hardly
            any signal, a small error in the guessed noise is a large one in the datum.

    Returns:
        `score(x, t)`, x `(B, ...)` as the network sees it.

    Implements: sde-discrete-score
    """
    sde, clip = sde or VPSDE(), ddpm.images if clip is None else clip
    alpha_bar, times = ddpm.diffusion.alpha_bar.double(), ddpm.times.double()
    known = (alpha_bar / (1 - alpha_bar)).log().flip(0) / 2  # log(scale / std) of the steps, rising
    times = times.flip(0)

    def score(x: Tensor, t: Tensor) -> Tensor:
        scale, std = sde.marginal(t.double())
        wanted = (scale / std).log().clamp(known[0], known[-1])
        i = torch.searchsorted(known, wanted).clamp(1, len(known) - 1)
        share = (wanted - known[i - 1]) / (known[i] - known[i - 1])
        step = torch.lerp(times[i - 1], times[i], share).to(x.dtype)
        level = (scale**2 + std**2).sqrt()  # 1 for a variance-preserving process, as the network knows it
        level, a, s = (along(value, x).to(x.dtype) for value in (level, scale / level, std / level))
        seen = x / level
        out = ddpm.network(seen, step, *(() if y is None else (y,)))[:, : x.shape[1]]
        x0 = {"eps": (seen - s * out) / a, "x0": out, "v": a * seen - s * out}[ddpm.prediction]
        x0 = x0.clamp(-1, 1) if clip else x0
        return (a * x0 - seen) / (s**2 * level)

    return score


class ScoreSDE(nn.Module):
    """A network that guesses the noise of a continuous process.

    Args:
        network: `(B, ...)` and a time `(B,)` to `(B, ...)`.
        sde: the process.
        shape: of one datum: `(C, H, W)` or `(dim,)`.
        steps, sampler: how `sample` runs by default; a name of `sampling.sde.SAMPLERS`.
    """

    def __init__(
        self,
        network: nn.Module,
        sde: SDE,
        shape: Sequence[int],
        steps: int = 20,
        sampler: str = "dpm_solver_2",
    ):
        super().__init__()
        self.network, self.sde, self.shape = network, sde, tuple(shape)
        self.images = len(self.shape) == 3
        self.steps, self.sampler = steps, sampler

    def eps(self, xt: Tensor, t: Tensor) -> Tensor:
        """The noise guessed in x_t.

        The network sees x = x_t / c, c = sqrt(a^2 + s^2), of about unit variance at every time, and answers with v: the guess is
        (s x + a v) / c. Where there is nothing but noise, the noise is x, and an error of the network hardly counts.
        """
        scale, std = self.sde.marginal(t)
        level = (scale**2 + std**2).sqrt()
        seen = xt / along(level, xt)
        v = self.network(seen, TIME_SCALE * t)
        return along(std / level, xt) * seen + along(scale / level, xt) * v

    def score(self, xt: Tensor, t: Tensor) -> Tensor:
        """Gradient of log p_t at `(B, ...)`, t `(B,)` in (0, 1].

        Implements: sde-score-eps
        """
        return -self.eps(xt, t) / along(self.sde.marginal(t)[1], xt)

    def loss(self, x: Tensor, y: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Mean squared error of the noise at uniform times: denoising score matching with weight std^2.

        Args:
            x: images `(B, C, H, W)` in [0, 1], or points `(B, dim)`.
            y: not used.

        Implements: sde-score-matching
        """
        x0 = inward(x, self.shape)
        t = torch.rand(len(x0), generator=generator, device=x0.device, dtype=x0.dtype)
        t = TRAIN_FROM + (1 - TRAIN_FROM) * t
        noise = torch.randn(x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)
        scale, std = (along(value, x0) for value in self.sde.marginal(t))
        return (self.eps(scale * x0 + std * noise, t).float() - noise.float()).square().mean()

    @torch.no_grad()
    def sample(
        self,
        n: int,
        y: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        steps: int | None = None,
        sampler: str | None = None,
        spacing: str = "log_ratio",
        end: float = SAMPLE_TO,
    ) -> Tensor:
        """`n` samples by `steps` steps of a `sampler` (by default the model's own); `spacing` and `end` of `time_grid`."""
        sampler = sampler or self.sampler
        if sampler not in samplers.SAMPLERS:
            raise ValueError(f"sampler={sampler!r}: expected one of {', '.join(samplers.SAMPLERS)}")
        like = next(self.network.parameters())
        x = self.sde.prior_sample(
            torch.empty(n, *self.shape, dtype=like.dtype, device=like.device), generator
        )
        times = samplers.time_grid(self.sde, steps or self.steps, end, spacing)
        options = {} if sampler in samplers.DETERMINISTIC else {"generator": generator}
        x = samplers.SAMPLERS[sampler](self.sde, self.score, x, times, **options)
        return (x + 1) / 2 if self.images else x


class PointScoreSDE(ScoreSDE):
    """A diffusion of points, where the exact divergence is cheap and the density a method."""

    def log_prob(self, x: Tensor, *, start: float = SAMPLE_TO, tolerance: float = 1e-5) -> Tensor:
        """Log-density in nats of points `(B, dim)` under the probability flow from time 1 to `start`, `(B,)`."""
        return ode.log_prob(
            samplers.probability_flow(self.sde, self.score),
            inward(x, self.shape),
            torch.tensor([start, 1.0], dtype=x.dtype),
            self.sde.prior_log_prob,
            tolerance=tolerance,
        )


def build(
    image_shape: Sequence[int] | None = (1, 28, 28),
    dim: int = 2,
    width: int = 32,
    process: str = "vp",
    coefficients: Sequence[float] = (),
    steps: int = 20,
    sampler: str = "dpm_solver_2",
    **options,
) -> ScoreSDE:
    """A U-Net for images, a `TimeMLP` for points.

    Args:
        image_shape: `(C, H, W)`, square; None for points of dimension `dim`.
        width: channels of the first level, or of the hidden layers.
        process: one of `PROCESSES`. coefficients: its two numbers, where they are not the defaults.
        options: of the network. The rest as in `ScoreSDE`.
    """
    if process not in PROCESSES:
        raise ValueError(f"process={process!r}: expected one of {', '.join(PROCESSES)}")
    sde = PROCESSES[process](*coefficients)
    if image_shape is None:
        return PointScoreSDE(TimeMLP(dim, width, **options), sde, (dim,), steps, sampler)
    channels, size, _ = image_shape
    return ScoreSDE(UNet(channels, size, width, **options), sde, image_shape, steps, sampler)

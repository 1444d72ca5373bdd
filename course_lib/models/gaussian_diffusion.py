"""The Gaussian forward process: how data turn into noise, and what each step back would be if the data were known.

x_0 is data; x_t = sqrt(1 - beta_t) x_{t-1} + sqrt(beta_t) noise for t = 1 ... T. Everything here is fixed by the betas; nothing
is learned. Index i = t - 1 of every table belongs to step t, as in the authors' code.

| symbol | here | shape | meaning |
|---|---|---|---|
| beta_t | `betas` | (T,) | variance that step t adds |
| abar_t | `alpha_bar` | (T,) | product of 1 - beta up to t: the share of x_0's variance that is left |
| sqrt(abar_t), sqrt(1 - abar_t) | `signal`, `sigma` | (T,) | x_t = signal x_0 + sigma eps |
| mu~_t | `posterior_mean_x0`, `posterior_mean_xt` | (T,) | q(x_{t-1} given x_t, x_0) has the mean c_0 x_0 + c_t x_t |
| beta~_t | `posterior_variance` | (T,) | and this variance; 0 at the first step |

Sources: Ho et al. 2020, equations 2, 4, 6, 7; Nichol & Dhariwal 2021, equation 17 (cosine); Salimans & Ho 2022 (v).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_lib.distributions import gaussian_kl
from course_lib.models.vae import check_images


def linear_betas(T: int) -> Tensor:
    """beta from 1e-4 to 0.02 in T equal steps, `(T,)` float64. Made for T = 1000: with few steps signal is left at the end.

    Implements: ddpm-linear
    """
    return torch.linspace(1e-4, 0.02, _steps(T), dtype=torch.float64)


def cosine_betas(T: int, offset: float = 0.008) -> Tensor:
    """Betas whose abar_t follows a squared cosine from 1 to 0, each at most 0.999; `(T,)` float64.

    Args:
        offset: keeps the first betas from vanishing.

    Implements: ddpm-cosine
    """
    time = torch.arange(_steps(T) + 1, dtype=torch.float64) / T
    share = torch.cos((time + offset) / (1 + offset) * math.pi / 2).square()
    return (1 - share[1:] / share[:-1]).clamp(max=0.999)


def _steps(T: int) -> int:
    if T < 1:
        raise ValueError(f"a diffusion has at least one step; got T={T}")
    return T


def make_betas(schedule: str, T: int) -> Tensor:
    """The betas of a schedule by its name, "linear" or "cosine"; `ValueError` for another."""
    schedules = {"linear": linear_betas, "cosine": cosine_betas}
    if schedule not in schedules:
        raise ValueError(f"unknown schedule {schedule!r}: expected one of {', '.join(schedules)}")
    return schedules[schedule](T)


def inward(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Data as the networks see them: images `(B, C, H, W)` from [0, 1] to [-1, 1], points `(B, dim)` as they are.

    Raises:
        ValueError: another shape than `(B, *shape)`, another type than float, images outside [0, 1].
    """
    if len(shape) == 3:
        check_images(x, shape)
        return 2 * x - 1
    if not x.is_floating_point() or tuple(x.shape[1:]) != tuple(shape):
        raise ValueError(f"expected float points (B, {shape[0]}); got {x.dtype} {tuple(x.shape)}")
    return x


class GaussianDiffusion(nn.Module):
    """Tables of the forward process and its posterior, computed in float64.

    Args:
        betas: `(T,)` in (0, 1).

    Shapes: x_0, x_t, noise `(B, ...)` of one shape and a floating dtype, which the result keeps; t `(B,)` int64 in 0..T-1.

    Raises:
        ValueError: betas outside (0, 1) or not a vector; in the methods, a t that does not fit.

    The tables follow from the betas, so a checkpoint does not hold them.
    """

    def __init__(self, betas: Tensor):
        super().__init__()
        betas = torch.as_tensor(betas, dtype=torch.float64)
        if betas.ndim != 1 or len(betas) < 1 or not bool(((betas > 0) & (betas < 1)).all()):
            raise ValueError(f"betas must be a vector with values in (0, 1); got shape {tuple(betas.shape)}")
        alpha_bar = torch.cumprod(1 - betas, 0)
        before = torch.cat([torch.ones_like(betas[:1]), alpha_bar[:-1]])  # abar_{t-1}
        tables = {
            "betas": betas,
            "alpha_bar": alpha_bar,
            "signal": alpha_bar.sqrt(),
            "sigma": (1 - alpha_bar).sqrt(),
            "posterior_mean_x0": before.sqrt() * betas / (1 - alpha_bar),
            "posterior_mean_xt": (1 - betas).sqrt() * (1 - before) / (1 - alpha_bar),
            "posterior_variance": betas * (1 - before) / (1 - alpha_bar),
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)

    @property
    def T(self) -> int:
        """Number of steps."""
        return len(self.betas)

    def at(self, table: Tensor, t: Tensor, like: Tensor) -> Tensor:
        """Entries t of a table, `(B, 1, ...)` with as many dimensions as `like`, in its dtype."""
        if t.dtype != torch.int64 or t.shape != like.shape[:1]:
            raise ValueError(f"t must be int64 ({len(like)},), one a point; got {t.dtype} {tuple(t.shape)}")
        if t.device.type == "cpu" and t.numel() and (t.min() < 0 or t.max() >= self.T):
            raise ValueError(f"t counts from zero to {self.T - 1}; got values from {t.min()} to {t.max()}")
        return table[t].to(like.dtype).view(-1, *[1] * (like.ndim - 1))

    def q_sample(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """A draw of x_t given x_0, from standard normal `noise`.

        Implements: ddpm-marginal
        """
        return self.at(self.signal, t, x0) * x0 + self.at(self.sigma, t, x0) * noise

    def posterior(self, x0: Tensor, xt: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Mean, of the shape of x_t, and variance `(B, 1, ...)` of q(x_{t-1} given x_t, x_0).

        Implements: ddpm-posterior
        """
        mean = self.at(self.posterior_mean_x0, t, xt) * x0 + self.at(self.posterior_mean_xt, t, xt) * xt
        return mean, self.at(self.posterior_variance, t, xt)

    def prior_kl(self, x0: Tensor) -> Tensor:
        """KL(q(x_T given x_0) || N(0, I)), `(B,)` in nats: what the last marginal still knows.

        Implements: ddpm-prior
        """
        last = torch.full((len(x0),), self.T - 1, device=x0.device)
        mean = (self.at(self.signal, last, x0) * x0).flatten(1)
        log_variance = 2 * self.at(self.sigma, last, x0).log().flatten(1)
        return gaussian_kl(mean, log_variance.expand_as(mean))

    def x0_from_eps(self, xt: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """The x_0 that `eps` turned into x_t.

        Implements: ddpm-x0-eps
        """
        return (xt - self.at(self.sigma, t, xt) * eps) / self.at(self.signal, t, xt)

    def eps_from_x0(self, xt: Tensor, t: Tensor, x0: Tensor) -> Tensor:
        """The noise that turned x_0 into x_t."""
        return (xt - self.at(self.signal, t, xt) * x0) / self.at(self.sigma, t, xt)

    def v_from(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """v = signal eps - sigma x_0: the direction at a right angle to x_t in the plane of x_0 and eps.

        Implements: ddpm-v
        """
        return self.at(self.signal, t, x0) * noise - self.at(self.sigma, t, x0) * x0

    def x0_from_v(self, xt: Tensor, t: Tensor, v: Tensor) -> Tensor:
        """The x_0 of x_t and v."""
        return self.at(self.signal, t, xt) * xt - self.at(self.sigma, t, xt) * v

    def pair(self, prediction: str, predicted: Tensor, xt: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The x_0 and the eps that a prediction of "eps", "x0" or "v" means."""
        if prediction == "eps":
            return self.x0_from_eps(xt, t, predicted), predicted
        x0 = predicted if prediction == "x0" else self.x0_from_v(xt, t, predicted)
        return x0, self.eps_from_x0(xt, t, x0)

    def merged(self, times: Sequence[int] | Tensor) -> "GaussianDiffusion":
        """The same process looked at after some of its steps only: one step from each of `times` to the next.

        Args:
            times: rising indices in 0..T-1, on the CPU.

        Returns:
            A process whose i-th abar is this one's at `times[i]`.

        Implements: ddpm-merged
        """
        times = torch.as_tensor(times)
        if times.ndim != 1 or (times[1:] <= times[:-1]).any() or times[0] < 0 or times[-1] >= self.T:
            raise ValueError(f"times must rise within 0..{self.T - 1}; got {times.tolist()}")
        kept = self.alpha_bar.cpu().double()[times]
        return GaussianDiffusion(1 - kept / torch.cat([torch.ones_like(kept[:1]), kept[:-1]]))

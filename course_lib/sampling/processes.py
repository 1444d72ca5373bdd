"""Three linear processes that turn data into noise, in continuous time.

dx = f(x, t) dt + g(t) dw with a drift proportional to x: so x_t = scale(t) x_0 + std(t) eps, and every process is known by two
functions of time. Up to its scale, all three only add noise; they differ in how much of it when, and in what x looks like.

| symbol | here | shape | meaning |
|---|---|---|---|
| f, g | `drift(x, t)`, `diffusion(t)` | as x; (B,) | coefficients of the SDE |
| a(t), s(t) | `marginal(t)` | two of (B,) | scale and standard deviation of x_t given x_0 |
| beta(t) | `beta(t)` | (B,) | rate of the VP and sub-VP processes, beta_min + t (beta_max - beta_min) |
| lambda | `time(lambda)` | (B,) | log(a / s); `time` is its inverse |

Source: Song et al. 2021, section 3.4, appendices B and C.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib.distributions import gaussian_log_prob


class SDE:
    """A linear diffusion process on times 0 to 1. `t` is `(B,)` everywhere, x `(B, ...)`.

    Attributes:
        prior_std: of the Gaussian N(0, prior_std^2 I) that stands for the law at time 1.
    """

    prior_std = 1.0

    def prior_sample(self, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A draw of the law at time 1, of the shape, dtype and device of `like`."""
        noise = torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)
        return self.prior_std * noise

    def prior_log_prob(self, x: Tensor) -> Tensor:
        """Its log-density in nats, `(B,)`."""
        zero = torch.zeros_like(x.flatten(1))
        return gaussian_log_prob(x.flatten(1), zero, zero + 2 * math.log(self.prior_std))


class VPSDE(SDE):
    """Variance preserving, the limit of DDPM: data of unit variance keep it.

    dx = -beta(t)/2 x dt + sqrt(beta(t)) dw.

    Implements: sde-vp
    """

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0):
        if not 0 < beta_min <= beta_max:
            raise ValueError(f"expected 0 < beta_min <= beta_max; got {beta_min}, {beta_max}")
        self.beta_min, self.beta_max = beta_min, beta_max

    def beta(self, t: Tensor) -> Tensor:
        return self.beta_min + t * (self.beta_max - self.beta_min)

    def integral(self, t: Tensor) -> Tensor:
        """Of beta from 0 to t."""
        return t * self.beta_min + t**2 * (self.beta_max - self.beta_min) / 2

    def drift(self, x: Tensor, t: Tensor) -> Tensor:
        return -0.5 * along(self.beta(t), x) * x

    def diffusion(self, t: Tensor) -> Tensor:
        return self.beta(t).sqrt()

    def marginal(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and standard deviation of x_t given x_0.

        Implements: sde-vp-marginal
        """
        spent = self.integral(t)
        return (-0.5 * spent).exp(), (-torch.expm1(-spent)).sqrt()

    def time(self, log_ratio: Tensor) -> Tensor:
        """When log(scale / std) has this value."""
        return self._when(nn.functional.softplus(-2 * log_ratio))

    def _when(self, spent: Tensor) -> Tensor:
        """When the integral of beta has this value."""
        rise = self.beta_max - self.beta_min
        return 2 * spent / (self.beta_min + (self.beta_min**2 + 2 * rise * spent).sqrt())


class SubVPSDE(VPSDE):
    """Sub-variance preserving: the drift of `VPSDE`, and less noise, most of all early.

    dx = -beta(t)/2 x dt + sqrt(beta(t) (1 - exp(-2 int_0^t beta))) dw.

    Implements: sde-sub-vp
    """

    def diffusion(self, t: Tensor) -> Tensor:
        return (self.beta(t) * -torch.expm1(-2 * self.integral(t))).sqrt()

    def marginal(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and standard deviation of x_t given x_0.

        Implements: sde-sub-vp-marginal
        """
        spent = self.integral(t)
        return (-0.5 * spent).exp(), -torch.expm1(-spent)

    def time(self, log_ratio: Tensor) -> Tensor:
        """When log(scale / std) has this value: a / (1 - a^2) = e^lambda is a quadratic equation for the scale a."""
        inverse = (-log_ratio).exp()
        return self._when(2 * ((inverse + (inverse**2 + 4).sqrt()) / 2).log())


class VESDE(SDE):
    """Variance exploding, the limit of annealed Langevin dynamics: noise is added, nothing is shrunk.

    dx = sigma(t) sqrt(2 log(sigma_max / sigma_min)) dw with sigma(t) = sigma_min (sigma_max / sigma_min)^t.

    Implements: sde-ve
    """

    def __init__(self, sigma_min: float = 0.01, sigma_max: float = 50.0):
        if not 0 < sigma_min < sigma_max:
            raise ValueError(f"expected 0 < sigma_min < sigma_max; got {sigma_min}, {sigma_max}")
        self.sigma_min, self.sigma_max = sigma_min, sigma_max
        self.log_growth = math.log(sigma_max / sigma_min)
        self.prior_std = sigma_max

    def drift(self, x: Tensor, t: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def diffusion(self, t: Tensor) -> Tensor:
        return self.sigma_min * (self.log_growth * t).exp() * math.sqrt(2 * self.log_growth)

    def marginal(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and standard deviation of x_t given x_0.

        Implements: sde-ve-marginal
        """
        return torch.ones_like(t), self.sigma_min * torch.expm1(2 * self.log_growth * t).sqrt()

    def time(self, log_ratio: Tensor) -> Tensor:
        """When log(scale / std) has this value."""
        return torch.log1p((-2 * log_ratio).exp() / self.sigma_min**2) / (2 * self.log_growth)


PROCESSES: dict[str, Callable[..., SDE]] = {"vp": VPSDE, "sub_vp": SubVPSDE, "ve": VESDE}


def along(values: Tensor, x: Tensor) -> Tensor:
    """`(B,)` as `(B, 1, ...)` with as many dimensions as x."""
    return values.view(-1, *[1] * (x.ndim - 1))

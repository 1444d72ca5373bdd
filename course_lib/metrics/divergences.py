"""Divergences that compare densities: KL, Jensen-Shannon, and the f-divergences with their dual.

D_f(p || q) = E_q[f(p/q)] for a convex f. Its conjugate f*(t) = sup_{u >= 0} (u t - f(u)) turns it into a maximum over
critics, D_f(p || q) = sup_T E_p[T] - E_q[f*(T)], attained at T* = f'(p/q): a bound that needs samples only.

symbol          meaning
u               density ratio p/q, at least 0; l = log u
f, f'           generator and its derivative
f*              conjugate, infinite outside its domain
activation      increasing map of R into the domain of f*: the last layer of a critic
T, t            critic and its values

All values are in nats. Source: Nowozin, Cseke & Tomioka (2016), "f-GAN", tables 1 and 2, with three departures: a conjugate
knows that u >= 0 (Pearson's is constant below t = -2), the Jensen-Shannon divergence is the true one, at most log 2 (theirs
is twice as large), and every activation increases, so that a large critic always means much p.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_2 = math.log(2)


class Estimate(NamedTuple):
    """A Monte Carlo mean and its standard error."""

    value: float
    error: float

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval by the central limit theorem."""
        return self.value - 1.96 * self.error, self.value + 1.96 * self.error


def _estimate(*samples: Tensor) -> Estimate:
    """Sum of the means of independent samples, each `(n,)`."""
    for values in samples:
        if values.ndim != 1 or len(values) < 2:
            raise ValueError(f"expected at least two values (n,); got {tuple(values.shape)}")
        if values.isnan().any():
            raise ValueError("NaN among the values: was a density evaluated where both laws have none?")
    samples = [values.detach().cpu().double() for values in samples]
    value = sum(values.mean().item() for values in samples)
    if not math.isfinite(value):
        return Estimate(value, math.inf)
    return Estimate(value, math.sqrt(sum(values.var().item() / len(values) for values in samples)))


def kl_monte_carlo(
    log_p: Callable[[Tensor], Tensor], log_q: Callable[[Tensor], Tensor], x: Tensor
) -> Estimate:
    """KL(p || q) = E_p[log p - log q] in nats from samples of p.

    Args:
        log_p, log_q: log-densities, from `x` to `(n,)`.
        x: n samples of p. The reverse KL is the same call with p and q exchanged and samples of q.

    Returns:
        The estimate; infinite if q has no density at one of the samples.

    Raises:
        ValueError: fewer than two samples, or NaN.

    Implements: distances-kl
    """
    return _estimate(log_p(x) - log_q(x))


def jsd_monte_carlo(
    log_p: Callable[[Tensor], Tensor], log_q: Callable[[Tensor], Tensor], x: Tensor, y: Tensor
) -> Estimate:
    """JSD(p, q) = (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2, in nats, from samples x of p and y of q.

    Never above log 2, whatever the samples: log(p/m) = log 2 - log(1 + q/p).

    Raises:
        ValueError: fewer than two samples of one law, or NaN.

    Implements: distances-jsd
    """
    at_x = LOG_2 - F.softplus(log_q(x) - log_p(x))
    at_y = LOG_2 - F.softplus(log_p(y) - log_q(y))
    return _estimate(at_x / 2, at_y / 2)


@dataclass(frozen=True)
class FDivergence:
    """One f-divergence: what it integrates, the generator's derivative and conjugate, and a critic's last layer.

    Attributes:
        name: key in `F_DIVERGENCES`.
        integrand: q f(p/q), of p, q and log p/q, which says more than p and q where they underflow. Right where p or q is
            0 and log p/q infinite.
        derivative: f'(u), of u in [0, infinity].
        conjugate: f*(t), infinite outside its domain.
        activation: increasing map of the real line into the domain of f*.

    Implements: distances-conjugate
    """

    name: str
    integrand: Callable[[Tensor, Tensor, Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
    conjugate: Callable[[Tensor], Tensor]
    activation: Callable[[Tensor], Tensor]

    def f(self, u: Tensor) -> Tensor:
        """The generator at ratios u >= 0; at 0 its limit."""
        return self.integrand(u, torch.ones_like(u), u.log())

    def quadrature(self, log_p: Tensor, log_q: Tensor, x: Tensor) -> Tensor:
        """Integral of q f(p/q) over an increasing grid by the trapezoid rule; differentiable.

        Args:
            log_p, log_q: log-densities on the grid, `(..., n)` in nats; -inf where there is no mass.
            x: `(n,)`, wide enough to hold the mass of both laws.

        Returns:
            `(...)` in nats.

        Raises:
            ValueError: NaN or +inf, shapes that do not fit, or a grid that does not increase.

        Implements: distances-f-divergence
        """
        if x.shape != log_p.shape[-1:] or not (x.diff() > 0).all():
            raise ValueError(
                f"x must be an increasing grid, one point a density; got {tuple(x.shape)} for {tuple(log_p.shape)}"
            )
        return torch.trapezoid(self._of_logs(log_p, log_q), x, dim=-1)

    def discrete(self, p: Tensor, q: Tensor) -> Tensor:
        """sum_i q_i f(p_i / q_i) for probability vectors `(..., K)`, zeros included.

        Raises:
            ValueError: probabilities that are negative or NaN, do not sum to 1, or are not equally many.

        Implements: distances-f-divergence
        """
        for law in (p, q):
            if not (law >= 0).all() or not torch.allclose(
                law.sum(-1), torch.ones_like(law.sum(-1)), atol=1e-4
            ):
                raise ValueError("probabilities must be at least 0 and sum to 1 over the last dimension")
        return self._of_logs(p.log(), q.log()).sum(-1)

    def _of_logs(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        if log_p.shape != log_q.shape:
            raise ValueError(f"p and q must have one shape; got {tuple(log_p.shape)}, {tuple(log_q.shape)}")
        for values in (log_p, log_q):
            if not (values < math.inf).all():
                raise ValueError("a log-density is NaN or +infinity")
        nowhere = (log_p == -math.inf) & (log_q == -math.inf)
        log_ratio = torch.where(nowhere, 0.0, log_p - log_q)
        return self.integrand(log_p.exp(), log_q.exp(), log_ratio)

    def optimal_critic(self, ratio: Tensor) -> Tensor:
        """T* = f'(p/q), the critic at which the bound is the divergence.

        Implements: distances-optimal-critic
        """
        return self.derivative(ratio)

    def bound(self, t_p: Tensor, t_q: Tensor) -> Estimate:
        """E_p[T] - E_q[f*(T)], at most D_f(p || q) for every critic T.

        Args:
            t_p, t_q: a critic's values `(n,)` at samples of p and `(m,)` at samples of q, in the domain of f*.

        Implements: distances-variational
        """
        return _estimate(t_p, -self.conjugate(t_q))


def _times(mass: Tensor, value: Tensor) -> Tensor:
    """mass * value, and 0 where there is no mass, whatever the value."""
    return mass * torch.where(mass > 0, value, 0.0)


def _game(p: Tensor, q: Tensor, l: Tensor) -> Tensor:
    """p log D + q log(1 - D) with D = p/(p + q)."""
    return -_times(p, F.softplus(-l)) - _times(q, F.softplus(l))


def _jeffreys_conjugate(t: Tensor) -> Tensor:
    """w + 1/w + t - 2 with w + log w = 1 - t: u = 1/w solves f'(u) = t."""
    s = 1 - t
    with torch.no_grad():  # y = log w; Newton from the right on the convex e^y + y - s
        y = torch.where(s > 1, s.clamp(min=1).log(), s)
        for _ in range(8):
            y = y - (y.exp() + y - s) / (y.exp() + 1)
    y = y - (y.exp() + y - s) / (y.exp() + 1)  # one step with a gradient: dy/ds = 1 / (1 + w)
    return y.exp() + (-y).exp() + t - 2


def _within(t: Tensor, largest: float, values: Tensor) -> Tensor:
    return torch.where(t <= largest, values, math.inf)


F_DIVERGENCES = {
    divergence.name: divergence
    for divergence in (
        FDivergence(
            "kl",
            integrand=lambda p, q, l: _times(p, l),
            derivative=lambda u: 1 + u.log(),
            conjugate=lambda t: (t - 1).exp(),
            activation=lambda v: v,
        ),
        FDivergence(
            "reverse_kl",
            integrand=lambda p, q, l: -_times(q, l),
            derivative=lambda u: -1 / u,
            conjugate=lambda t: -1 - (-t).clamp(min=0).log(),
            activation=lambda v: -(-v).exp(),
        ),
        FDivergence(
            "jensen_shannon",
            integrand=lambda p, q, l: (_game(p, q, l) + (p + q) * LOG_2) / 2,
            derivative=lambda u: (LOG_2 - F.softplus(-u.log())) / 2,
            conjugate=lambda t: -(2 - (2 * t).exp()).clamp(min=0).log() / 2,
            activation=lambda v: (LOG_2 - F.softplus(-v)) / 2,
        ),
        FDivergence(  # 2 JSD - 2 log 2, the value of the original GAN's game: not 0 at p = q
            "gan",
            integrand=_game,
            derivative=lambda u: -F.softplus(-u.log()),
            conjugate=lambda t: -(-torch.expm1(t)).clamp(min=0).log(),
            activation=lambda v: -F.softplus(-v),
        ),
        FDivergence(
            "pearson",
            integrand=lambda p, q, l: (p - q) * torch.expm1(l),  # (p - q)^2 / q
            derivative=lambda u: 2 * (u - 1),
            conjugate=lambda t: (1 + t / 2).clamp(min=0).square() - 1,
            activation=lambda v: v,
        ),
        FDivergence(
            "neyman",
            integrand=lambda p, q, l: (q - p) * torch.expm1(-l),  # (p - q)^2 / p
            derivative=lambda u: 1 - u**-2,
            conjugate=lambda t: _within(t, 1, 2 - 2 * (1 - t).clamp(min=0).sqrt()),
            activation=lambda v: 1 - (-v).exp(),
        ),
        FDivergence(
            "squared_hellinger",
            # (sqrt p - sqrt q)^2, without the root's infinite slope at 0
            integrand=lambda p, q, l: torch.maximum(p, q) * torch.expm1(-l.abs() / 2).square(),
            derivative=lambda u: 1 - u**-0.5,
            conjugate=lambda t: _within(t, 1, t / (1 - t)),
            activation=lambda v: 1 - (-v).exp(),
        ),
        FDivergence(
            "total_variation",
            integrand=lambda p, q, l: (p - q).abs() / 2,
            derivative=lambda u: (u - 1).sign() / 2,
            conjugate=lambda t: _within(t, 0.5, t.clamp(min=-0.5)),
            activation=lambda v: v.tanh() / 2,
        ),
        FDivergence(  # KL + reverse KL
            "jeffreys",
            integrand=lambda p, q, l: (p - q) * l,
            derivative=lambda u: u.log() + 1 - 1 / u,
            conjugate=_jeffreys_conjugate,
            activation=lambda v: v,
        ),
    )
}

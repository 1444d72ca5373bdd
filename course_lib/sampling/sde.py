"""Samplers of diffusion models: from noise back to data, by a stochastic equation, an ordinary one, or in between.

All of them take the process `sde`, its score, points at the first of some decreasing times, and make one step from each time
to the next. What they need of the process is `sde.drift(x, t)`, `sde.diffusion(t)`, `sde.marginal(t)`, the scale and the
standard deviation with which x_t = scale x_0 + std eps, and for `dpm_solver_2` its inverse `sde.time(log_ratio)`.

| sampler | follows | order | evaluations of the score, S steps |
|---|---|---|---|
| `euler_maruyama` | the reverse SDE | 1 in law | S |
| `predictor_corrector` | the same, with Langevin steps at each time | 1 in law | (1 + corrections) S |
| `ddim` | eta = 0: the probability flow; eta = 1: the ancestral steps of DDPM | 1 | S |
| `heun` | the probability flow, in the variables x and t | 2 | 2 S |
| `dpm_solver_2` | the same, in variables that make the linear part exact | 2 | 2 S |

Other solvers of the probability flow: `sampling.ode.solve(probability_flow(sde, score), ...)`.

Sources: Anderson 1982; Song et al. 2021, algorithms 1-5; Song, Meng & Ermon 2021, equation 12; Lu et al. 2022, algorithm 1.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor

from course_lib.sampling import ode
from course_lib.sampling.processes import along

Score = Callable[[Tensor, Tensor], Tensor]
SPACINGS = ("uniform", "quadratic", "log_ratio")


def time_grid(sde, steps: int, end: float = 1e-3, spacing: str = "uniform") -> Tensor:
    """`steps + 1` decreasing times from 1 to `end`, float64.

    Args:
        end: above 0, where the score of data on a surface has no bound.
        spacing: "uniform"; "quadratic", uniform in sqrt(t); "log_ratio", uniform in log(scale / std).

    Raises:
        ValueError: no steps, an end outside (0, 1), or an unknown spacing.
    """
    if steps < 1 or not 0 < end < 1 or spacing not in SPACINGS:
        raise ValueError(
            f"expected steps >= 1, an end in (0, 1) and a spacing of {', '.join(SPACINGS)}; got {steps}, {end}, {spacing!r}"
        )
    ends = torch.tensor([1.0, end], dtype=torch.float64)
    part = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    if spacing == "uniform":
        times = ends[0] + part * (ends[1] - ends[0])
    elif spacing == "quadratic":
        times = (1 + part * (end**0.5 - 1)) ** 2
    else:
        first, last = _log_ratio(sde, ends)
        times = sde.time(first + part * (last - first))
    times[0], times[-1] = 1.0, end  # not off by rounding
    return times


def probability_flow(sde, score: Score) -> Callable[[Tensor, Tensor], Tensor]:
    """The velocity f - g^2 score / 2, whose flow has the marginals of the process.

    Implements: sde-probability-flow
    """

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return sde.drift(x, t) - 0.5 * along(sde.diffusion(t), x) ** 2 * score(x, t)

    return velocity


@torch.no_grad()
def euler_maruyama(
    sde, score: Score, x: Tensor, times: Tensor, *, generator: torch.Generator | None = None
) -> Tensor:
    """The reverse SDE in steps of first order; the last one without noise.

    Args:
        x: `(B, ...)` at `times[0]`. times: `(S + 1,)` decreasing.

    Raises:
        ValueError: times that do not decrease.

    Implements: sde-reverse, sde-euler-maruyama
    """
    for t, _, step, last in _steps(x, times):
        x, noise = _reverse_step(sde, score, x, t, step, generator)
        x = x if last else x + noise
    return x


@torch.no_grad()
def predictor_corrector(
    sde,
    score: Score,
    x: Tensor,
    times: Tensor,
    *,
    corrections: int = 1,
    ratio: float = 0.16,
    generator: torch.Generator | None = None,
) -> Tensor:
    """At each time some Langevin steps towards the law of that time, then a step of `euler_maruyama`.

    Args:
        x, times: as in `euler_maruyama`.
        corrections: Langevin steps at each time.
        ratio: r, the size of the noise against that of the score sets the step: 2 (r ||noise|| / ||score||)^2, both norms
            averaged over the batch.

    Implements: sde-corrector
    """
    for t, _, step, last in _steps(x, times):
        for _ in range(corrections):
            slope, noise = score(x, t), _noise(x, generator)
            size = (
                2 * (ratio * noise.flatten(1).norm(dim=1).mean() / slope.flatten(1).norm(dim=1).mean()) ** 2
            )
            x = x + size * slope + (2 * size).sqrt() * noise
        x, noise = _reverse_step(sde, score, x, t, step, generator)
        x = x if last else x + noise
    return x


def ddim_step(
    x: Tensor,
    eps: Tensor,
    now: tuple[Tensor, Tensor],
    then: tuple[Tensor, Tensor],
    eta: float = 0.0,
    noise: Tensor | None = None,
) -> Tensor:
    """From x_t to x_s, s < t, along the guessed noise and a share of fresh noise.

    Args:
        x, eps: x_t and the noise guessed in it, `(B, ...)`.
        now, then: (scale, std) at t and at s, each broadcastable to x; any s, however far away, std 0 included.
        eta: 0: no fresh noise; 1: as much as the posterior of the merged step has.
        noise: standard normal, of the shape of x; needed where eta > 0.

    Implements: sde-ddim, sde-ddim-ancestral
    """
    (scale_t, std_t), (scale_s, std_s) = now, then
    x0 = (x - std_t * eps) / scale_t
    merged = (std_t**2 - (scale_t / scale_s) ** 2 * std_s**2).clamp(min=0)  # variance of x_t given x_s
    fresh = eta * std_s / std_t * merged.sqrt()
    along = (std_s**2 - fresh**2).clamp(min=0).sqrt()
    mean = scale_s * x0 + along * eps
    return mean if noise is None else mean + fresh * noise


@torch.no_grad()
def ddim(
    sde,
    score: Score,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Strided sampling with steps of any length; may end at time 0, where the last step gives the guessed datum itself.

    Args:
        x, times: as in `euler_maruyama`. eta: as in `ddim_step`.

    Implements: sde-ddim
    """
    for t, s, _, _ in _steps(x, times):
        now, then = _marginal(sde, t, x), _marginal(sde, s, x)
        noise = _noise(x, generator) if eta else None
        x = ddim_step(x, -now[1] * score(x, t), now, then, eta, noise)
    return x


@torch.no_grad()
def heun(sde, score: Score, x: Tensor, times: Tensor) -> Tensor:
    """The probability flow by Heun's method: the mean of the velocities at both ends of a step.

    Args:
        x, times: as in `euler_maruyama`.

    Implements: sde-heun
    """
    return ode.solve(probability_flow(sde, score), x, times, "heun2")


@torch.no_grad()
def dpm_solver_2(sde, score: Score, x: Tensor, times: Tensor) -> Tensor:
    """The probability flow by a method of second order: each step asks again in the middle of log(scale / std).

    Args:
        x, times: as in `euler_maruyama`; the last time may be 0, and that step is then a step of `ddim`.

    Implements: sde-dpm-solver
    """
    for t, s, _, _ in _steps(x, times):
        now, then = _marginal(sde, t, x), _marginal(sde, s, x)
        eps = -now[1] * score(x, t)
        if s[0] > 0:
            middle = sde.time((_log_ratio(sde, t) + _log_ratio(sde, s)) / 2)
            half = _marginal(sde, middle, x)
            eps = -half[1] * score(ddim_step(x, eps, now, half), middle)
        x = ddim_step(x, eps, now, then)
    return x


SAMPLERS = {f.__name__: f for f in (euler_maruyama, predictor_corrector, ddim, heun, dpm_solver_2)}
DETERMINISTIC = ("heun", "dpm_solver_2")  # they take no generator


def _steps(x: Tensor, times: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor, bool]]:
    """For each step its two times `(B,)`, its length, and whether it is the last."""
    if times.ndim != 1 or len(times) < 2 or not (times.diff() < 0).all():
        raise ValueError("times must be (S + 1,) with S >= 1, and decrease")
    times = times.to(x)
    for i, (t, s) in enumerate(pairwise(times)):
        yield t.expand(len(x)), s.expand(len(x)), t - s, i == len(times) - 2


def _reverse_step(sde, score, x, t, step, generator) -> tuple[Tensor, Tensor]:
    """The mean after a step back in time, and the noise to add to it."""
    g = along(sde.diffusion(t), x)
    mean = x - step * (sde.drift(x, t) - g**2 * score(x, t))
    return mean, g * step.sqrt() * _noise(x, generator)


def _noise(x: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def _marginal(sde, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    scale, std = sde.marginal(t)
    return along(scale, x), along(std, x)


def _log_ratio(sde, t: Tensor) -> Tensor:
    scale, std = sde.marginal(t)
    return (scale / std).log()

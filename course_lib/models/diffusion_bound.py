"""The variational bound of a diffusion model, step by step: what each step back loses against the best one.

-log p(x_0) is at most L_T + sum over t of L_t: a KL divergence between two Gaussians for every step but the first, and there the
decoder's cost of the data themselves. Everything is in nats, `(B,)`, one number a datum.

Sources: Ho et al. 2020, equations 5 and 13; Nichol & Dhariwal 2021, section 3.3 (steps are not equally worth drawing).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.distributions import discretized_gaussian_log_prob, gaussian_kl, gaussian_log_prob
from course_lib.models.gaussian_diffusion import GaussianDiffusion

DRAWN_STEPS = 10  # a datum


def step_cost(
    diffusion: GaussianDiffusion,
    x0: Tensor,
    xt: Tensor,
    t: Tensor,
    mean: Tensor,
    log_variance: Tensor,
    images: bool,
) -> Tensor:
    """KL(q(x_{t-1} given x_t, x_0) || N(mean, variance)) where t > 0; minus the log-probability of x_0 where t = 0.

    Args:
        x0, xt: `(B, ...)`. t: `(B,)` int64 from zero.
        mean, log_variance: of the model's step back, of the shape of x_t, or broadcasting to it.
        images: x_0 holds 8-bit levels, scaled to [-1, 1]: the first step gives a mass; else a density.

    Implements: ddpm-terms
    """
    true_mean, true_variance = diffusion.posterior(x0, xt, t)
    rows, mean, log_variance = x0.flatten(1), mean.flatten(1), log_variance.expand_as(x0).flatten(1)
    first = t == 0
    # the true variance is 0 at the first step: any other number, as its KL is not used
    true_variance = torch.where(first, 1, true_variance.flatten()).log()[:, None].expand_as(rows)
    kl = gaussian_kl(true_mean.flatten(1), true_variance, mean, log_variance)
    if images:  # in [0, 1], where the levels are 1/255 apart
        decoder = discretized_gaussian_log_prob((rows + 1) / 2, (mean + 1) / 2, log_variance - math.log(4))
    else:
        decoder = gaussian_log_prob(rows, mean, log_variance)
    return torch.where(first, -decoder, kl)


def sum_of_steps(
    cost: Callable[[Tensor], Tensor],
    T: int,
    n: int,
    times: int | None,
    device: torch.device,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Sum of `cost(t)` over t = 0 ... T-1 for each of n data, `(n,)` float64; or an unbiased estimate of it.

    Args:
        cost: times `(n,)` int64 to costs `(n,)`.
        times: draws of t for each datum, beside t = 0, which is always taken. Early steps cost more, so t is drawn with
            probability proportional to 1/t, one in each of `times` parts of equal probability. None takes every t.

    Implements: ddpm-drawn-bound
    """

    def at(t: int) -> Tensor:
        return cost(torch.full((n,), t, device=device)).double()

    total = at(0)
    if times is None:
        return sum((at(t) for t in range(1, T)), total)
    inverse = 1 / torch.arange(1, T, device=device, dtype=torch.float64)
    reached = inverse.cumsum(0) / inverse.sum()
    for k in range(times):
        u = (k + torch.rand(n, generator=generator, device=device, dtype=torch.float64)) / times
        t = 1 + torch.searchsorted(reached, u).clamp(max=T - 2)
        total = total + cost(t).double() * t * inverse.sum() / times
    return total

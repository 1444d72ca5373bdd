"""Ordinary differential equations that carry noise to data and back, and the densities that they carry along.

A velocity is a function `velocity(x, t)` of points `(B, ...)` and of one time a point, `(B,)`. torchdiffeq integrates it over
any grid of times, forward or backward. Along a trajectory the log-density falls at the rate of the velocity's divergence
(the instantaneous change of variables), so the solver of the points also gives their likelihood.

Sources: Chen et al. 2018 (theorem 1); Grathwohl et al. 2019 (Hutchinson's estimate); Song et al. 2021 (probability flow).
"""

from collections.abc import Callable

import torch
import torchdiffeq
from torch import Tensor

Velocity = Callable[[Tensor, Tensor], Tensor]
FIXED = ("euler", "midpoint", "heun2", "rk4")
ADAPTIVE = ("dopri5", "bosh3", "dopri8")
EVALUATIONS = {"euler": 1, "midpoint": 2, "heun2": 2, "rk4": 4}  # of the velocity, a step


def solve(
    velocity: Velocity,
    x: Tensor,
    times: Tensor,
    method: str = "heun2",
    *,
    tolerance: float = 1e-5,
    path: bool = False,
) -> Tensor:
    """Where the points `x` are at the end of `times`.

    Args:
        velocity: dx/dt at points `(B, ...)` and times `(B,)`.
        x: `(B, ...)` points at `times[0]`.
        times: `(S + 1,)` increasing or decreasing. A method of `FIXED` makes one step from each to the next; one of
            `ADAPTIVE` chooses its own.
        tolerance: absolute and relative, of the adaptive methods.
        path: all positions `(S + 1, B, ...)` instead of the last.

    Raises:
        ValueError: an unknown method, or times that do not run one way.
    """
    _check(times, method)

    def right_hand_side(t: Tensor, x: Tensor) -> Tensor:
        return velocity(x, t.to(x.dtype).expand(len(x)))

    positions = _integrate(right_hand_side, x, times.to(x.device), method, tolerance)
    return positions if path else positions[-1]


def divergence(
    velocity: Velocity, x: Tensor, t: Tensor, probe: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The velocity and its divergence, sum_i d v_i / d x_i.

    Args:
        x, t: `(B, ...)` and `(B,)`.
        probe: noise of the shape of `x` with mean 0 and covariance I (signs, or normal draws) for Hutchinson's unbiased
            estimate `probe^T J probe`, one backward pass. Left out: exact, one backward pass a dimension.

    Returns:
        `(B, ...)` and `(B,)`.

    Implements: sde-hutchinson
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        v = velocity(x, t)
        flat = v.flatten(1)
        if probe is not None:
            (product,) = torch.autograd.grad(v, x, probe)
            return v.detach(), (product * probe).flatten(1).sum(1)
        total = torch.zeros_like(flat[:, 0])
        for i in range(flat.shape[1]):
            (row,) = torch.autograd.grad(flat[:, i].sum(), x, retain_graph=True)
            total = total + row.flatten(1)[:, i]
    return v.detach(), total


def log_prob(
    velocity: Velocity,
    x: Tensor,
    times: Tensor,
    prior_log_prob: Callable[[Tensor], Tensor],
    *,
    probe: Tensor | None = None,
    method: str = "dopri5",
    tolerance: float = 1e-5,
) -> Tensor:
    """Log-density in nats of data under the law that the flow makes of its prior.

    Args:
        x: `(B, ...)` data at `times[0]`.
        times: from the data's end to the prior's; otherwise as in `solve`.
        prior_log_prob: `(B, ...)` to `(B,)`, at `times[-1]`.
        probe: as in `divergence`; the same noise all along the trajectory.

    Returns:
        `(B,)`.

    Implements: sde-change-of-variables
    """
    _check(times, method)

    def right_hand_side(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return divergence(velocity, state[0], t.to(x.dtype).expand(len(x)), probe)

    with torch.no_grad():
        start = (x, torch.zeros_like(x.flatten(1)[:, 0]))
        points, gained = _integrate(right_hand_side, start, times.to(x.device), method, tolerance)
        return prior_log_prob(points[-1]) + gained[-1]


def _integrate(right_hand_side, start, times: Tensor, method: str, tolerance: float):
    # An adaptive method of torchdiffeq steps beyond the last time and interpolates; no velocity is asked for out there here.
    options = {"step_t": times[1:]} if method in ADAPTIVE else None
    return torchdiffeq.odeint(
        right_hand_side, start, times, method=method, rtol=tolerance, atol=tolerance, options=options
    )


def _check(times: Tensor, method: str) -> None:
    if method not in FIXED + ADAPTIVE:
        raise ValueError(f"method={method!r}: expected one of {', '.join(FIXED + ADAPTIVE)}")
    steps = times.diff()
    if times.ndim != 1 or not len(steps) or not ((steps > 0).all() or (steps < 0).all()):
        raise ValueError("times must be (S + 1,) with S >= 1, all increasing or all decreasing")

"""Sampling-importance-resampling: draws of q, weighted by p/q and drawn again, are draws of p.

The weights need a density ratio up to a constant only. How many draws they are worth is the effective sample size: n when
p = q, near 1 when q hardly ever falls where p lives.

Source: Rubin (1987); Smith & Gelfand (1992).
"""

import torch
from torch import Tensor


def resample(x: Tensor, log_weights: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
    """n rows of `x`, drawn with replacement with probabilities proportional to exp(log_weights).

    Args:
        x: `(N, ...)` draws of the proposal.
        log_weights: `(N,)` log p/q up to a constant; -inf is weight 0.

    Returns:
        `(n, ...)`. Approximately draws of p if N is much larger than n and the effective sample size is, too.

    Raises:
        ValueError: shapes that do not fit, NaN or +inf, or no weight at all.

    Implements: distances-sir
    """
    if len(x) != len(log_weights):
        raise ValueError(f"expected one weight a draw; got {len(log_weights)} weights for {len(x)} draws")
    _check(log_weights)
    weights = log_weights.softmax(0)
    return x[torch.multinomial(weights, n, replacement=True, generator=generator)]


def effective_sample_size(log_weights: Tensor) -> Tensor:
    """(sum w)^2 / sum w^2 with w = exp(log_weights), between 1 and N; a scalar.

    About N / (1 + chi^2(p || q)) for many draws of q.

    Raises:
        ValueError: not `(N,)`, NaN or +inf, or no weight at all.

    Implements: distances-ess
    """
    _check(log_weights)
    return 1 / log_weights.softmax(0).square().sum()


def _check(log_weights: Tensor) -> None:
    if log_weights.ndim != 1:
        raise ValueError(f"expected log-weights (N,); got {tuple(log_weights.shape)}")
    if not (log_weights < torch.inf).all():
        raise ValueError("log-weights hold NaN or +infinity")
    if not (log_weights > -torch.inf).any():
        raise ValueError("every weight is 0: the proposal has no draw where the target has mass")

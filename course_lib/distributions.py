"""Log-densities, divergences and distances that have a closed form.

Densities return `(B,)`-like tensors in nats: they sum over the last dimension, so flatten an image first.

| function | what | summed over |
|---|---|---|
| `gaussian_log_prob` | log N(x; mean, diag exp(log_var)) | last dimension |
| `bernoulli_log_prob` | log-mass of binary x under logits | last dimension |
| `categorical_log_prob` | log-mass of levels under one softmax per pixel | last dimension |
| `discretized_logistic_log_prob` | log-mass of pixel levels under a binned logistic | last dimension |
| `gaussian_kl` | KL between diagonal Gaussians | last dimension |
| `gaussian_w2` | squared 2-Wasserstein distance between Gaussians | |
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)


def gaussian_log_prob(x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """log N(x; mean, diag(exp(log_var))) in nats, summed over the last dimension.

    Args:
        x, mean, log_var: broadcastable tensors `(..., d)`. `log_var` is the log of the *variance*.

    Returns:
        `(...)` log-densities. The constant (1/2) log 2 pi is counted once per dimension.
    """
    return -0.5 * ((x - mean) ** 2 * torch.exp(-log_var) + log_var + LOG_2PI).sum(-1)


def bernoulli_log_prob(x: Tensor, logits: Tensor) -> Tensor:
    """sum_i x_i log p_i + (1 - x_i) log(1 - p_i) with p = sigmoid(logits), summed over the last dimension.

    A log-mass only for x in {0, 1}; for grey values it is a score with no normaliser.
    """
    return (x * logits - F.softplus(logits)).sum(-1)


def categorical_log_prob(x: Tensor, logits: Tensor) -> Tensor:
    """Log-mass of pixel levels under one softmax per pixel, summed over pixels.

    Args:
        x: `(..., d)` pixels in [0, 1]; they are read as levels round(x * (K - 1)).
        logits: `(..., d, K)` unnormalised log-probabilities of the K levels.
    """
    levels = (x * (logits.shape[-1] - 1)).round().long()
    return logits.log_softmax(-1).gather(-1, levels.unsqueeze(-1)).squeeze(-1).sum(-1)


def discretized_logistic_log_prob(x: Tensor, mean: Tensor, log_scale: Tensor, bins: int = 256) -> Tensor:
    """Log-mass of pixel levels under a logistic law cut into `bins` equal bins, summed over the last dimension.

    Level k stands at k / (bins - 1) in [0, 1] and owns the values within half a step of it; the first and the last bin
    take the tails, so the masses of a pixel sum to 1 exactly.

    Args:
        x: `(..., d)` pixels in [0, 1], on the grid of levels.
        mean: `(..., d)` centre in pixel units, any real number.
        log_scale: log of the logistic's scale in pixel units, broadcastable to `x`.
        bins: number of levels (256 for 8 bits).

    Source: Salimans et al. 2017 (PixelCNN++), section 2.1; Kingma et al. 2016.
    """
    half = 0.5 / (bins - 1)
    inverse_scale = torch.exp(-log_scale)
    upper = (x - mean + half) * inverse_scale  # right edge of the bin, standardised
    lower = (x - mean - half) * inverse_scale
    level = (x * (bins - 1)).round()
    # log(sigmoid(upper) - sigmoid(lower)) without cancellation:
    # = log sigmoid(upper) + log sigmoid(-lower) + log(1 - exp(lower - upper))
    inner = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(lower - upper))
    first = F.logsigmoid(upper)
    last = F.logsigmoid(-lower)
    return torch.where(level <= 0, first, torch.where(level >= bins - 1, last, inner)).sum(-1)


def gaussian_kl(
    mu: Tensor, log_var: Tensor, mu_0: Tensor | None = None, log_var_0: Tensor | None = None
) -> Tensor:
    """KL(N(mu, diag exp(log_var)) || N(mu_0, diag exp(log_var_0))) in nats, summed over the last dimension.

    Args:
        mu, log_var: `(..., d)` mean and log-variance of the first Gaussian.
        mu_0, log_var_0: of the second; the standard normal where left out.

    Implements: vae-kl
    Source: Kingma & Welling 2014, appendix B.
    """
    mu_0 = torch.zeros_like(mu) if mu_0 is None else mu_0
    log_var_0 = torch.zeros_like(log_var) if log_var_0 is None else log_var_0
    ratio = log_var - log_var_0
    return 0.5 * (ratio.exp() + (mu - mu_0) ** 2 * torch.exp(-log_var_0) - 1 - ratio).sum(-1)


def gaussian_w2(mu_a: Tensor, cov_a: Tensor, mu_b: Tensor, cov_b: Tensor) -> Tensor:
    """Squared 2-Wasserstein distance between N(mu_a, cov_a) and N(mu_b, cov_b).

    ||mu_a - mu_b||^2 + tr(A + B - 2 (A^(1/2) B A^(1/2))^(1/2)), the trace of the root taken from the eigenvalues of the
    symmetric matrix A^(1/2) B A^(1/2).

    Args:
        mu_a, mu_b: `(d,)`. cov_a, cov_b: `(d, d)` symmetric positive semi-definite.

    Returns:
        A scalar tensor of the inputs' dtype, never below 0. In float64 accurate to about 1e-12 of the traces.

    Raises:
        ValueError: shapes that do not fit.
    """
    d = mu_a.shape[-1]
    if not mu_a.shape == mu_b.shape == (d,) or not cov_a.shape == cov_b.shape == (d, d):
        raise ValueError(
            "expected two means (d,) and two covariances (d, d) of one d; got "
            f"{tuple(mu_a.shape)}, {tuple(cov_a.shape)}, {tuple(mu_b.shape)}, {tuple(cov_b.shape)}"
        )
    values, vectors = torch.linalg.eigh(cov_a)
    half = (
        vectors * values.clamp(min=0).sqrt()
    )  # A = half half^T, and A^(1/2) B A^(1/2) is similar to half^T B half
    cross = torch.linalg.eigvalsh(half.T @ cov_b @ half).clamp(min=0).sqrt().sum()
    return ((mu_a - mu_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross).clamp(min=0)

"""Log-densities, divergences and distances that have a closed form.

Densities return `(B,)`-like tensors in nats: they sum over the last dimension, so flatten an image first.

| function | what | summed over |
|---|---|---|
| `gaussian_log_prob` | log N(x; mean, diag exp(log_var)) | last dimension |
| `bernoulli_log_prob` | log-mass of binary x under logits | last dimension |
| `categorical_log_prob` | log-mass of levels under one softmax per pixel | last dimension |
| `discretized_logistic_log_prob` | log-mass of pixel levels under a binned logistic | last dimension |
| `discretized_gaussian_log_prob` | log-mass of pixel levels under a binned Gaussian | last dimension |
| `gaussian_kl` | KL between diagonal Gaussians | last dimension |
| `gaussian_kl_full` | KL between Gaussians with full covariances | |
| `gaussian_w2` | squared 2-Wasserstein distance between Gaussians | |
| `gaussian_w1` | 1-Wasserstein distance between Gaussians on the line | elementwise |
| `gaussian_mmd2` | squared MMD between Gaussians, Gaussian kernel | |
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


def discretized_gaussian_log_prob(x: Tensor, mean: Tensor, log_var: Tensor, bins: int = 256) -> Tensor:
    """Log-mass of pixel levels under a Gaussian cut into `bins` equal bins, summed over the last dimension.

    Levels, bins and tails as in `discretized_logistic_log_prob`; accurate far from the mean, where both edges' distribution
    functions round to 0 or to 1.

    Args:
        x: `(..., d)` pixels in [0, 1], on the grid of levels.
        mean: `(..., d)` centre in pixel units, any real number.
        log_var: log of the *variance* in pixel units squared, broadcastable to `x`.
        bins: number of levels (256 for 8 bits).

    Implements: ddpm-decoder
    Source: Ho et al. 2020, equation 13.
    """
    half = 0.5 / (bins - 1)
    inverse_std = torch.exp(-0.5 * log_var)
    # Mirrored so that the bin lies below the mean: there log Phi keeps its digits.
    side = torch.where(x > mean, -1.0, 1.0)
    near = (side * (x - mean) + half) * inverse_std
    far = (side * (x - mean) - half) * inverse_std
    level = (x * (bins - 1)).round()
    log_near, log_far = torch.special.log_ndtr(near), torch.special.log_ndtr(far)
    inner = log_near + torch.log(-torch.expm1(log_far - log_near))
    first = torch.special.log_ndtr((x - mean + half) * inverse_std)
    last = torch.special.log_ndtr(-(x - mean - half) * inverse_std)
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


def matrix_root(cov: Tensor) -> Tensor:
    """A matrix R with R R^T = `cov` `(d, d)`: Cholesky's, or where `cov` is singular, one from its eigenvectors."""
    root, failed = torch.linalg.cholesky_ex(cov)  # a fortieth of the price of eigenvectors
    if not failed.any():
        return root
    values, vectors = torch.linalg.eigh(cov)
    return vectors * values.clamp(min=0).sqrt()


def gaussian_w2(mu_a: Tensor, cov_a: Tensor, mu_b: Tensor, cov_b: Tensor) -> Tensor:
    """Squared 2-Wasserstein distance between N(mu_a, cov_a) and N(mu_b, cov_b).

    ||mu_a - mu_b||^2 + tr(A + B - 2 (A^(1/2) B A^(1/2))^(1/2)), the trace of the root taken from the eigenvalues of a
    symmetric matrix that is similar to A^(1/2) B A^(1/2).

    Args:
        mu_a, mu_b: `(d,)`. cov_a, cov_b: `(d, d)` symmetric positive semi-definite.

    Returns:
        A scalar tensor of the inputs' dtype, never below 0. In float64 accurate to about 1e-12 of the traces.

    Raises:
        ValueError: shapes that do not fit.

    Implements: distances-gaussian-w2
    """
    _check_moments(mu_a, cov_a, mu_b, cov_b)
    # A = root root^T, by a factor that costs a fortieth of the eigenvectors.
    root = matrix_root(cov_a)
    # A^(1/2) B A^(1/2) has the eigenvalues of root^T B root.
    cross = torch.linalg.eigvalsh(root.T @ cov_b @ root).clamp(min=0).sqrt().sum()
    return ((mu_a - mu_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross).clamp(min=0)


def gaussian_kl_full(mu_a: Tensor, cov_a: Tensor, mu_b: Tensor, cov_b: Tensor) -> Tensor:
    """KL(N(mu_a, cov_a) || N(mu_b, cov_b)) in nats, a scalar.

    Args:
        mu_a, mu_b: `(d,)`. cov_a, cov_b: `(d, d)` symmetric positive definite.

    Raises:
        ValueError: shapes that do not fit, or a covariance that is not positive definite.

    Implements: distances-gaussian-kl
    """
    _check_moments(mu_a, cov_a, mu_b, cov_b)
    roots, failed = torch.linalg.cholesky_ex(torch.stack([cov_a, cov_b]))
    if failed.any():
        raise ValueError("a covariance is not positive definite: that Gaussian has no density, and no KL")
    root_a, root_b = roots
    # The squares of this matrix sum to tr(B^-1 A) + (mu_a - mu_b)^T B^-1 (mu_a - mu_b).
    white = torch.linalg.solve_triangular(root_b, torch.cat([root_a, (mu_a - mu_b)[:, None]], 1), upper=False)
    log_det = (root_b.diagonal() / root_a.diagonal()).log().sum()
    return 0.5 * (white.square().sum() - len(mu_a)) + log_det


def gaussian_w1(mu_a: Tensor, sigma_a: Tensor, mu_b: Tensor, sigma_b: Tensor) -> Tensor:
    """1-Wasserstein distance between N(mu_a, sigma_a^2) and N(mu_b, sigma_b^2) on the line, elementwise.

    The quantile functions differ by m + s Z with m = mu_a - mu_b, s = |sigma_a - sigma_b|, so W_1 = E|m + s Z|, the mean of
    a folded normal law.

    Args:
        mu_a, sigma_a, mu_b, sigma_b: broadcastable tensors; standard deviations, not variances.

    Raises:
        ValueError: a negative standard deviation.

    Implements: distances-gaussian-w1
    """
    if (sigma_a < 0).any() or (sigma_b < 0).any():
        raise ValueError("standard deviations must be at least 0")
    m, s = mu_a - mu_b, (sigma_a - sigma_b).abs()
    safe = torch.where(s > 0, s, 1.0)
    z = m / safe
    folded = safe * math.sqrt(2 / math.pi) * torch.exp(-0.5 * z**2) + m * torch.erf(z / math.sqrt(2))
    return torch.where(s > 0, folded, m.abs())


def gaussian_mmd2(mu_a: Tensor, cov_a: Tensor, mu_b: Tensor, cov_b: Tensor, scale: float | Tensor) -> Tensor:
    """Squared MMD between N(mu_a, cov_a) and N(mu_b, cov_b) for the kernel exp(-||x - y||^2 / scale).

    A difference d ~ N(m, S) has E exp(-||d||^2 / C) = det(I + 2 S/C)^(-1/2) exp(-m^T (C I + 2 S)^-1 m); S is 2 A, 2 B or A + B.

    Args:
        mu_a, mu_b: `(d,)`. cov_a, cov_b: `(d, d)` symmetric positive semi-definite.
        scale: C, positive; a tensor of any shape for several kernels at once.

    Returns:
        A tensor of the shape of `scale`.

    Raises:
        ValueError: shapes that do not fit, or a scale that is not positive.

    Implements: distances-mmd-gaussian
    """
    _check_moments(mu_a, cov_a, mu_b, cov_b)
    scale = torch.as_tensor(scale, dtype=mu_a.dtype, device=mu_a.device)
    if not (scale > 0).all():
        raise ValueError("the kernel's scale must be positive")

    def mean_kernel(mean: Tensor, cov: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(cov)
        values, squared = values.clamp(min=0), (mean @ vectors).square()
        c = scale.unsqueeze(-1)  # (..., 1)
        return torch.exp(-(0.5 * torch.log1p(2 * values / c) + squared / (c + 2 * values)).sum(-1))

    zero = torch.zeros_like(mu_a)
    within = mean_kernel(zero, 2 * cov_a) + mean_kernel(zero, 2 * cov_b)
    return within - 2 * mean_kernel(mu_a - mu_b, cov_a + cov_b)


def _check_moments(mu_a: Tensor, cov_a: Tensor, mu_b: Tensor, cov_b: Tensor) -> None:
    d = mu_a.shape[-1] if mu_a.ndim else 0
    if not mu_a.shape == mu_b.shape == (d,) or not cov_a.shape == cov_b.shape == (d, d):
        raise ValueError(
            "expected two means (d,) and two covariances (d, d) of one d; got "
            f"{tuple(mu_a.shape)}, {tuple(cov_a.shape)}, {tuple(mu_b.shape)}, {tuple(cov_b.shape)}"
        )

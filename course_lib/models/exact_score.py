"""Exact scores of noised Gaussian mixtures: the oracle of every diffusion chapter.

If x_0 has the law sum_k w_k N(m_k, C_k), then scale x_0 + std eps has the law sum_k w_k N(scale m_k, scale^2 C_k + std^2 I). Its
score, the best noise prediction and the law of what the sampler draws with it are known in closed form. A Gaussian is K = 1.

| symbol | here | shape | meaning |
|---|---|---|---|
| w, m, C | `weights`, `means`, `covs` | (K,), (K, d), (K, d, d) | the mixture of the data |
| grad log q_t(x) | `mixture_score` | (B, d) | score of the noised law |
| eps*(x, t) | `ExactEps` | (B, d) | -sigma_t grad log q_t: the noise that a perfect network predicts |
"""

import math

import torch
from torch import Tensor, nn

from course_lib.models.gaussian_diffusion import GaussianDiffusion


def mixture_score(
    x: Tensor, scale: Tensor | float, std: Tensor | float, weights: Tensor, means: Tensor, covs: Tensor
) -> Tensor:
    """Gradient of log sum_k w_k N(x; scale m_k, scale^2 C_k + std^2 I), `(B, d)` in the dtype of `x`.

    Args:
        x: `(B, d)`.
        scale, std: numbers, or `(B,)` with one a point.
        weights, means, covs: `(K,)`, `(K, d)`, `(K, d, d)`, covariances symmetric.

    Raises:
        ValueError: shapes that do not fit.

    Implements: ddpm-mixture-score
    """
    K, d = means.shape
    if x.ndim != 2 or x.shape[1] != d or weights.shape != (K,) or covs.shape != (K, d, d):
        raise ValueError(
            "expected x (B, d), weights (K,), means (K, d), covs (K, d, d); got "
            f"{tuple(x.shape)}, {tuple(weights.shape)}, {tuple(means.shape)}, {tuple(covs.shape)}"
        )
    weights, means, covs = weights.to(x), means.to(x), covs.to(x)
    scale, std = (torch.as_tensor(value).to(x).reshape(-1, 1, 1) for value in (scale, std))  # (B or 1, 1, 1)
    values, vectors = torch.linalg.eigh(covs)  # (K, d), (K, d, d)
    variance = scale**2 * values + std**2  # (B, K, d), along the axes of each component
    u = torch.einsum("bkd,kde->bke", x[:, None] - scale * means, vectors)
    log_joint = weights.log() - 0.5 * (u**2 / variance + variance.log()).sum(2)  # (B, K)
    pull = -torch.einsum("bke,kde->bkd", u / variance, vectors)  # score of each component
    return (log_joint.softmax(1)[..., None] * pull).sum(1)


class ExactEps(nn.Module):
    """The best noise prediction for data from a Gaussian mixture; stands where a network stands.

    Args:
        alpha_bar: `(T,)` of the forward process.
        weights, means, covs: as in `mixture_score`.

    Shapes: x `(B, d)` and t `(B,)` int64 to `(B, d)`. Labels and latents are not used.

    Implements: ddpm-eps-score
    """

    def __init__(self, alpha_bar: Tensor, weights: Tensor, means: Tensor, covs: Tensor):
        super().__init__()
        for name, value in (("alpha_bar", alpha_bar), ("weights", weights), ("means", means), ("covs", covs)):
            self.register_buffer(name, torch.as_tensor(value, dtype=torch.float64))

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None, z: Tensor | None = None) -> Tensor:
        alpha_bar = self.alpha_bar[t]
        std = (1 - alpha_bar).sqrt()
        score = mixture_score(
            x.to(alpha_bar.dtype), alpha_bar.sqrt(), std, self.weights, self.means, self.covs
        )
        return (-std[:, None] * score).to(x.dtype)


def ancestral_law(
    diffusion: GaussianDiffusion, variances: Tensor, mean: Tensor, cov: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean and covariance of what ancestral sampling draws when the data are N(mean, cov) and the network is perfect.

    Every step is affine with Gaussian noise, so moments are carried along: x_{t-1} = A_t x_t + b_t + sqrt(variance) z, without
    noise in the last step.

    Args:
        variances: `(T,)` noise variance of each step; the first entry, of the last step, is not used.
        mean, cov: `(d,)`, `(d, d)` of the data.

    Returns:
        `(d,)` and `(d, d)` in float64.

    Implements: ddpm-oracle-law
    """
    mean, cov = mean.double(), cov.double()
    values, vectors = torch.linalg.eigh(cov)
    centre = mean @ vectors  # all in the axes of the covariance
    m, v = torch.zeros_like(centre), torch.ones_like(values)
    for t in reversed(range(diffusion.T)):
        signal, sigma2 = diffusion.signal[t], 1 - diffusion.alpha_bar[t]
        gain = (
            signal * values / (signal**2 * values + sigma2)
        )  # E[x_0 | x_t] = centre + gain (x_t - signal centre)
        c0, ct = diffusion.posterior_mean_x0[t], diffusion.posterior_mean_xt[t]
        slope = c0 * gain + ct
        m = slope * m + c0 * (1 - gain * signal) * centre
        v = slope**2 * v + (variances[t] if t > 0 else 0)
    return vectors @ m, (vectors * v) @ vectors.T


def exact_bounds(
    diffusion: GaussianDiffusion, variances: Tensor, mean: Tensor, cov: Tensor
) -> tuple[Tensor, Tensor]:
    """Minus the variational bound in nats, averaged over data from N(mean, cov), for a perfect network: in both of its forms.

    Args:
        variances: `(T,)` of the model's steps back, the first one the decoder's.
        mean, cov: `(d,)`, `(d, d)` of the data.

    Returns:
        The sum of KLs to q(x_{t-1} given x_t, x_0), which training can see; and that of KLs to q(x_{t-1} given x_t) plus the
        entropy of the data, which says what is lost. Scalars, equal.

    Implements: ddpm-bound-posterior, ddpm-bound-marginal
    """
    mean, cov = mean.double(), cov.double()
    values, vectors = torch.linalg.eigh(cov)
    centre = mean @ vectors
    signal, sigma2, variances = (
        diffusion.signal[:, None],
        1 - diffusion.alpha_bar[:, None],
        variances[:, None],
    )
    left = values * sigma2 / (signal**2 * values + sigma2)  # variance of x_0 given x_t, (T, d)
    missed = diffusion.posterior_mean_x0[:, None] ** 2 * left  # mean square of what the guess of x_0 misses
    posterior = diffusion.posterior_variance[:, None]

    def kl(variance: Tensor, other: Tensor, squared_distance: Tensor | float = 0.0) -> Tensor:
        return 0.5 * ((variance + squared_distance) / other - 1 - (variance / other).log())

    last = (signal**2 * centre**2)[-1]
    prior = kl(sigma2[-1], torch.ones(()), last + signal[-1] ** 2 * values)
    decoder = 0.5 * ((2 * math.pi * variances[0]).log() + left[0] / variances[0])
    first = prior.sum() + kl(posterior[1:], variances[1:], missed[1:]).sum() + decoder.sum()
    entropy = 0.5 * (2 * math.pi * math.e * values).log()
    second = kl(signal[-1] ** 2 * values + sigma2[-1], torch.ones(()), last).sum()
    return first, second + kl(posterior + missed, variances).sum() + entropy.sum()

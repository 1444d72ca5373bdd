"""Noise-contrastive estimation: an unnormalised density, its log Z learned like any other parameter.

log p(x) = -energy(x) - log_z. Maximum likelihood cannot learn log_z (it would fall for ever); telling data from noise of
a known density q can, because the classifier's logit is log p(x) - log q(x) - log(nu), and only the true normaliser gets
it right. The noise is a Gaussian with the data's mean and covariance. What is learned is p/q, so drawing from q and
resampling with weights p/q = nu D/(1 - D) draws from the model.

symbol           shape     meaning
z                (B, d)    x in the noise's own coordinates: white if x is noise
energy           (B,)      |z|^2 / 2 + net(z): finite Z whatever the network, which grows at most linearly
log_z            ()        learned log of the integral of exp(-energy)
nu, noise_ratio            noise points a data point
q                          the noise's density

Source: Gutmann & Hyvarinen (2012), JMLR 13, equations 2-5 and theorem 1.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.models.gaussian import as_rows, moments
from course_lib.nn import MLP
from course_lib.sampling import resample


class NoiseContrastive(nn.Module):
    """A neural energy with a learned normaliser.

    Args:
        dim: dimension of the points.
        noise_ratio: nu, noise points a data point.
        width, depth: of the network's hidden layers, and how many.

    Raises:
        ValueError: less noise than data.
    """

    n_evaluations = 100  # candidates a sample

    def __init__(self, dim: int, noise_ratio: int = 1, width: int = 64, depth: int = 2):
        super().__init__()
        if noise_ratio < 1:
            raise ValueError(f"noise_ratio must be at least 1; got {noise_ratio}")
        self.dim = dim
        self.noise_ratio = noise_ratio
        self.net = MLP((dim, *[width] * depth, 1), nn.SiLU)
        self.register_buffer("noise_mean", torch.zeros(dim))
        self.register_buffer("noise_root", torch.eye(dim))
        self.log_z = nn.Parameter(torch.tensor(dim / 2 * math.log(2 * math.pi)))

    @torch.no_grad()
    def initialise(self, x: Tensor) -> "NoiseContrastive":
        """Fit the noise to data `(N, dim)`, and start from log_z of the noise.

        Raises:
            ValueError: the data's covariance is singular.
        """
        mean, covariance = moments(as_rows(x, (self.dim,)))
        root, failed = torch.linalg.cholesky_ex(covariance)
        if failed:
            raise ValueError(
                "the data's covariance is singular, so the noise has no density: add noise to the data"
            )
        self.noise_mean.copy_(mean)
        self.noise_root.copy_(root)
        self.log_z.copy_(self.noise_log_z)
        return self

    @property
    def noise_log_z(self) -> Tensor:
        """log of the integral of exp(-|z|^2 / 2) over x."""
        return self.noise_root.diagonal().log().sum() + self.dim / 2 * math.log(2 * math.pi)

    def _white(self, x: Tensor) -> Tensor:
        centred = as_rows(x, (self.dim,)).to(self.noise_mean.dtype) - self.noise_mean
        return torch.linalg.solve_triangular(self.noise_root, centred.T, upper=False).T  # (B, d)

    def energy(self, x: Tensor) -> Tensor:
        """`(B,)`, low where data is."""
        z = self._white(x)
        return 0.5 * z.square().sum(1) + self.net(z).squeeze(1).to(z.dtype)

    def log_prob(self, x: Tensor) -> Tensor:
        """-energy - log_z, `(B,)` in nats: a log-density once log_z is learned.

        Implements: distances-nce
        """
        return -self.energy(x) - self.log_z

    def noise_log_prob(self, x: Tensor) -> Tensor:
        """log q(x), `(B,)` in nats."""
        return -0.5 * self._white(x).square().sum(1) - self.noise_log_z

    def noise(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n draws of q, `(n, dim)`."""
        z = torch.randn(
            n, self.dim, generator=generator, dtype=self.noise_mean.dtype, device=self.noise_mean.device
        )
        return self.noise_mean + z @ self.noise_root.T

    def resampling_weights(self, x: Tensor) -> Tensor:
        """log p(x)/q(x), `(B,)` in nats: the log-weights that turn noise into samples of the model."""
        return self.log_prob(x) - self.noise_log_prob(x)

    def loss(self, x: Tensor, y: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Cross-entropy of data against nu times as much noise, in nats per data point.

        Implements: distances-nce
        """
        noise = self.noise(self.noise_ratio * len(x), generator)
        log_nu = math.log(self.noise_ratio)
        of_data = F.softplus(log_nu - self.resampling_weights(x)).mean()
        of_noise = F.softplus(self.resampling_weights(noise) - log_nu).mean()
        return of_data + self.noise_ratio * of_noise

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """n points `(n, dim)` by resampling 100 n draws of the noise."""
        candidates = self.noise(self.n_evaluations * n, generator)
        return resample(candidates, self.resampling_weights(candidates), n, generator)


def build(dim: int, noise_ratio: int = 1, width: int = 64, depth: int = 2) -> NoiseContrastive:
    """The model from its configuration (what a checkpoint's card holds)."""
    return NoiseContrastive(dim, noise_ratio, width, depth)

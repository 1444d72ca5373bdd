"""Probabilistic PCA: a Gaussian that moves in k directions only, plus white noise on every pixel.

z ~ N(0, I_k), x | z ~ N(mean + W z, sigma^2 I), so x ~ N(mean, C) with C = W W^T + sigma^2 I. Everything is exact: the
marginal, the posterior of z, the maximum-likelihood fit. No D x D matrix is ever factorised to evaluate a density: the
k x k matrix M = W^T W + sigma^2 I holds all that is needed.

symbol            shape     meaning
W, weight         (D, k)    loadings
sigma^2, noise    ()        variance of the white noise, pixels squared
M                 (k, k)    W^T W + sigma^2 I; posterior precision of z times sigma^2

Source: Tipping & Bishop (1999), "Probabilistic principal component analysis", JRSS B 61(3).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_lib.models.gaussian import GaussianModel, as_rows, eigen, moments


class ProbabilisticPCA(GaussianModel):
    """The linear-Gaussian latent-variable model.

    Args:
        shape: shape of one image.
        latent_dim: k, at least 1 and less than the number of pixels.

    Raises:
        ValueError: `latent_dim` outside 1..D-1.
    """

    def __init__(self, shape: Sequence[int], latent_dim: int):
        super().__init__(shape)
        if not 1 <= latent_dim < self.dim:
            raise ValueError(
                f"latent_dim must be in 1..{self.dim - 1} for images of {self.dim} pixels; got {latent_dim}"
            )
        self.latent_dim = latent_dim
        self.weight = nn.Parameter(torch.eye(self.dim, latent_dim))
        self.log_noise_var = nn.Parameter(torch.zeros(()))

    @property
    def noise_var(self) -> Tensor:
        """sigma^2, pixels squared."""
        return self.log_noise_var.exp()

    @property
    def covariance(self) -> Tensor:
        """C = W W^T + sigma^2 I, `(D, D)`.

        Implements: gaussian-ppca-marginal
        """
        return self.weight @ self.weight.T + self.noise_var * torch.eye(self.dim).to(self.weight)

    @torch.no_grad()
    def initialise(self, x: Tensor) -> "ProbabilisticPCA":
        """Set all parameters to their maximum-likelihood values on all images `x` (the rotation R is the identity).

        Raises:
            ValueError: what the k directions leave over has variance 0, so that sigma^2 = 0 and no density exists.

        Implements: gaussian-ppca-ml
        """
        mean, covariance = moments(as_rows(x, self.shape))
        values, vectors = eigen(covariance)
        noise_var = values[self.latent_dim :].mean()
        if noise_var <= 1e-12 * values[0] or noise_var == 0:
            raise ValueError(
                f"{self.latent_dim} directions explain all the variance of {len(x)} images: sigma^2 would be 0. "
                "Take fewer directions or more images, or add noise to the images"
            )
        scale = (values[: self.latent_dim] - noise_var).sqrt()
        self.mean.copy_(mean)
        self.weight.copy_(vectors[:, : self.latent_dim] * scale)
        self.log_noise_var.copy_(noise_var.log())
        return self

    def _inner(self) -> Tensor:
        """Cholesky factor of M, `(k, k)`."""
        gram = self.weight.T @ self.weight
        return torch.linalg.cholesky(gram + self.noise_var * torch.eye(self.latent_dim).to(gram))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior of z given x: mean `(B, k)` and covariance `(k, k)`, the same for every x.

        Implements: gaussian-ppca-posterior
        """
        root = self._inner()
        mean = torch.cholesky_solve(self.weight.T @ self._centred(x).T, root).T  # (B, k)
        return mean, self.noise_var * torch.cholesky_inverse(root)

    def decode(self, z: Tensor) -> Tensor:
        """Mean image of x given z, `(B, *shape)` for z `(B, k)`."""
        return self._images(self.mean + z @ self.weight.T)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Decode the posterior mean: the projection on the k directions, shrunk towards the mean image."""
        return self.decode(self.encode(x)[0])

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log-density `(B,)` in nats, at a cost of O(D k) per image.

        Implements: gaussian-ppca-determinant, gaussian-ppca-quadratic
        """
        root = self._inner()
        centred = self._centred(x)
        z = torch.cholesky_solve(self.weight.T @ centred.T, root).T  # (B, k)
        # Residual plus prior, not |x|^2 minus a term nearly as large: no digits lost when sigma^2 is small.
        residual = (centred - z @ self.weight.T).square().sum(1)
        quadratic = residual / self.noise_var + z.square().sum(1)
        log_det = 2 * root.diagonal().log().sum() + (self.dim - self.latent_dim) * self.log_noise_var
        return -0.5 * (quadratic + log_det + self.dim * math.log(2 * math.pi))

    def sample(self, n: int, y: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """n images `(n, *shape)`, white noise included.

        Implements: gaussian-ppca-model
        """
        z = self._noise(n, self.latent_dim, generator)
        noise = self._noise(n, self.dim, generator)
        return (self.decode(z) + self._images(self.noise_var.sqrt() * noise)).detach()


def build(shape: Sequence[int], latent_dim: int) -> ProbabilisticPCA:
    """The model from its configuration (what a checkpoint's card holds)."""
    return ProbabilisticPCA(shape, latent_dim)

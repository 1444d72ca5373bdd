"""The VAE whose every quantity is known: a linear decoder with white pixel noise, and an affine Gaussian encoder.

The generative half is probabilistic PCA, x = b + W z + s eps, so log p(x), the posterior p(z|x) and the best encoder have
closed forms, and so has the ELBO of *any* affine encoder. What a deep VAE only bounds, this one can check.

| symbol | here | shape | meaning |
|---|---|---|---|
| W, b, s | `model.weight`, `model.mean`, `model.noise_var` = s^2 | (D, d), (D,), () | the decoder |
| M | W^T W + s^2 I | (d, d) | posterior precision times s^2 |
| mu(x) | `encoder(x)` | (B, d) | mean of q(z given x), affine in x |
| L | `root` | (d, d) | lower triangular, q's covariance is L L^T; diagonal L for a diagonal encoder |

Sources: Tipping & Bishop 1999; Lucas et al. 2019, "Don't blame the ELBO!", section 4; Dai et al. 2018.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_lib.models.ppca import ProbabilisticPCA
from course_lib.models.vae import check_images


class LinearVAE(nn.Module):
    """Probabilistic PCA trained and evaluated as a VAE.

    Args:
        image_shape: `(C, H, W)`, D = C H W.
        latent_dim: d.
        covariance: of the encoder, "diagonal" (d variances) or "full" (a d x d Cholesky factor); the same for all images.

    Raises:
        ValueError: an unknown `covariance`.
    """

    n_evaluations = 1

    def __init__(
        self, image_shape: Sequence[int] = (1, 8, 8), latent_dim: int = 10, covariance: str = "diagonal"
    ):
        super().__init__()
        if covariance not in ("diagonal", "full"):
            raise ValueError(f"covariance is 'diagonal' or 'full'; got {covariance!r}")
        self.image_shape, self.latent_dim, self.covariance = tuple(image_shape), latent_dim, covariance
        self.model = ProbabilisticPCA(self.image_shape, latent_dim)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(self.model.dim, latent_dim))
        self.log_scale = nn.Parameter(torch.zeros(latent_dim))
        self.lower = nn.Parameter(torch.zeros(latent_dim, latent_dim), requires_grad=covariance == "full")

    @property
    def root(self) -> Tensor:
        """L, `(d, d)`."""
        return self.lower.tril(-1) + self.log_scale.exp().diag()

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean `(B, d)` and covariance `(d, d)` of q(z|x)."""
        check_images(x, self.image_shape)
        return self.encoder(x), self.root @ self.root.T

    def decode(self, z: Tensor) -> Tensor:
        """The mean image b + W z, `(B, C, H, W)`."""
        return self.model.decode(z)

    def kl(self, mu: Tensor) -> Tensor:
        """KL(q(z|x) || N(0, I)), `(B,)`: the trace of L L^T is the sum of squares of L."""
        return 0.5 * (mu.square().sum(1) + self.root.square().sum() - self.latent_dim) - self.log_scale.sum()

    def _log_px(self, squared_error: Tensor) -> Tensor:
        noise_var = self.model.noise_var
        return -0.5 * (squared_error / noise_var + self.model.dim * torch.log(2 * math.pi * noise_var))

    def loss(self, x: Tensor, y: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Minus the ELBO, one code per image, as a VAE is trained: mean over the batch, in nats."""
        mu, _ = self.encode(x)
        noise = torch.randn(mu.shape, generator=generator, device=mu.device, dtype=mu.dtype)
        z = mu + noise @ self.root.T
        squared_error = (x - self.decode(z)).flatten(1).square().sum(1)
        return (self.kl(mu) - self._log_px(squared_error)).mean()

    def elbo(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """The exact ELBO of each image, `(B,)` in nats: E|x - b - W z|^2 = |x - b - W mu|^2 + tr(W L L^T W^T).

        No noise is drawn; `generator` is there because a deep VAE's `elbo` has one.

        Implements: vae-linear-elbo
        """
        mu, _ = self.encode(x)
        squared_error = (x - self.decode(mu)).flatten(1).square().sum(1)
        return self._log_px(squared_error + (self.model.weight @ self.root).square().sum()) - self.kl(mu)

    def log_prob(self, x: Tensor) -> Tensor:
        """The exact log p(x), `(B,)` in nats."""
        return self.model.log_prob(x)

    def gap(self) -> Tensor:
        """log p(x) - ELBO in nats, the same for all x, of the best encoder with a diagonal covariance.

        Implements: vae-linear-gap
        """
        m = self._m()
        return 0.5 * (m.diagonal().log().sum() - torch.logdet(m))

    def _m(self) -> Tensor:
        weight = self.model.weight
        return weight.T @ weight + self.model.noise_var * torch.eye(self.latent_dim).to(weight)

    @torch.no_grad()
    def solve_encoder(self) -> "LinearVAE":
        """Set the encoder to the best one of its kind for the decoder as it stands.

        The mean is the posterior's. The covariance is the posterior's, s^2 M^-1, where L is full; with a diagonal L it has
        the entries s^2 / M_jj, smaller than the posterior's own variances.

        Implements: vae-linear-encoder
        """
        m, noise_var = self._m(), self.model.noise_var
        weight = torch.linalg.solve(m, self.model.weight.T)  # (d, D)
        self.encoder[1].weight.copy_(weight)
        self.encoder[1].bias.copy_(-weight @ self.model.mean)
        if self.covariance == "full":
            root = torch.linalg.cholesky(noise_var * torch.linalg.inv(m))
            self.lower.copy_(root.tril(-1))
        else:
            root = (noise_var / m.diagonal()).sqrt().diag()
        self.log_scale.copy_(root.diagonal().log())
        return self

    @torch.no_grad()
    def rotate(self, rotation: Tensor | None = None) -> "LinearVAE":
        """Replace W by W R for an orthogonal R `(d, d)`: p(x) stays, W^T W does not. By default R makes W^T W diagonal.

        The encoder is left as it was: call `solve_encoder` after it.
        """
        if rotation is None:
            rotation = torch.linalg.eigh(self.model.weight.T @ self.model.weight)[1].flip(1)
        self.model.weight.copy_(self.model.weight @ rotation)
        return self

    @torch.no_grad()
    def log_weights(self, x: Tensor, k: int, *, generator: torch.Generator | None = None) -> Tensor:
        """log p(x, z) - log q(z|x) for k codes of each image, `(k, B)`; `importance_bound` makes the bound of them."""
        mu, _ = self.encode(x)
        noise = torch.randn(k, *mu.shape, generator=generator, device=mu.device, dtype=mu.dtype)
        z = mu + noise @ self.root.T  # (k, B, d)
        mean = self.decode(z.flatten(0, 1)).view(k, *x.shape)
        log_px = self._log_px((x - mean).flatten(2).square().sum(2))
        log_ratio = (
            0.5 * (noise.square().sum(2) - z.square().sum(2)) + self.log_scale.sum()
        )  # log p(z) - log q(z|x)
        return log_px + log_ratio

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """n images `(n, C, H, W)` of p(x), pixel noise included."""
        return self.model.sample(n, generator=generator)


def build(**config) -> LinearVAE:
    """A `LinearVAE` from a recipe's or a card's config."""
    return LinearVAE(**config)

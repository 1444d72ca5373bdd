"""Gaussian models of images: a density, a sampler and a maximum-likelihood fit, all in closed form.

An image is a vector of D pixels and p(x) = N(x; mean, C). Here C is full (D (D + 1) / 2 numbers) or diagonal (D numbers);
low rank plus noise, about D k numbers, is the family `ppca`, which builds on what stands here.

symbol      shape        meaning
mean        (D,)         mean image, flattened
covariance  (D, D)       full covariance, pixels squared
log_var     (D,)         log of the diagonal covariance

Source: Bishop (2006), sections 2.3 and 12.1.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_lib.distributions import gaussian_log_prob


def as_rows(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Check a batch `(B, *shape)` and flatten it to `(B, D)`.

    Raises:
        ValueError: not a floating-point tensor, or not of shape `(B, *shape)`.
    """
    if not isinstance(x, Tensor):
        raise ValueError(
            f"expected a torch tensor of shape (B, {', '.join(map(str, shape))}); got {type(x).__name__}"
        )
    if not x.is_floating_point():
        raise ValueError(
            f"images must be float in [0, 1]; got {x.dtype}: convert with x.float() and divide by 255"
        )
    if tuple(x.shape[1:]) != tuple(shape) or x.ndim == 0:
        raise ValueError(f"expected shape (B, {', '.join(map(str, shape))}); got {tuple(x.shape)}")
    return x.flatten(1)


def moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Maximum-likelihood mean `(D,)` and covariance `(D, D)` (divisor N, not N - 1) of rows `(N, D)`, in float64.

    Raises:
        ValueError: no rows, or a value that is not finite.

    Implements: gaussian-mle-mean, gaussian-mle-covariance
    """
    rows = rows.detach().cpu().double()  # sums of squares lose digits in float32, and this runs once
    if len(rows) == 0:
        raise ValueError("no data: a Gaussian needs at least one image to have a mean")
    if not rows.isfinite().all():
        raise ValueError("the data hold NaN or infinite values: drop or repair these images first")
    mean = rows.mean(0)
    centred = rows - mean
    return mean, centred.T @ centred / len(rows)


def eigen(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues `(D,)`, largest first and at least 0, and eigenvectors `(D, D)` in columns.

    Implements: gaussian-eigen
    """
    values, vectors = torch.linalg.eigh(covariance)
    return values.flip(0).clamp(min=0), vectors.flip(1)  # rounding can leave -1e-17


def expected_excess(n: int, dim: int) -> float:
    """Expected KL(p || fitted p) in nats of a full Gaussian fitted to n samples of a Gaussian p: the price of fitting.

    Infinite for n <= dim + 2, where the expected test log-likelihood does not exist.

    Implements: gaussian-excess
    """
    if n <= dim + 2:
        return math.inf
    halves = (n - torch.arange(1, dim + 1, dtype=torch.float64)) / 2
    log_det = torch.digamma(halves).sum().item() + dim * math.log(2 / n)
    return 0.5 * (log_det - dim + dim * (n + 1) / (n - dim - 2))


class GaussianModel(nn.Module):
    """What the Gaussians share: the shape of an image, the mean, the loss.

    Args:
        shape: shape of one image, for example (1, 28, 28), or (2,) for points of the plane.
    """

    def __init__(self, shape: Sequence[int]):
        super().__init__()
        self.shape = tuple(shape)
        self.dim = math.prod(self.shape)
        self.mean = nn.Parameter(torch.zeros(self.dim))

    def loss(self, x: Tensor, y: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Average negative log-likelihood in nats per image.

        Implements: gaussian-ml
        """
        return -self.log_prob(x).mean()

    def _centred(self, x: Tensor) -> Tensor:
        return as_rows(x, self.shape).to(self.mean.dtype) - self.mean  # (B, D)

    def _noise(self, n: int, dim: int, generator: torch.Generator | None) -> Tensor:
        return torch.randn(n, dim, generator=generator, dtype=self.mean.dtype, device=self.mean.device)

    def _images(self, rows: Tensor) -> Tensor:
        return rows.reshape(-1, *self.shape)


class FullGaussian(GaussianModel):
    """N(mean, covariance) with every covariance free.

    Args:
        shape: shape of one image.
        noise_var: variance of white noise imagined on every pixel; `initialise` adds it to the diagonal. Zero is
            maximum likelihood, which has no density when pixels are constant or images fewer than pixels.
    """

    def __init__(self, shape: Sequence[int], noise_var: float = 0.0):
        super().__init__(shape)
        self.noise_var = noise_var
        self.covariance = nn.Parameter(torch.eye(self.dim))

    @torch.no_grad()
    def initialise(self, x: Tensor) -> "FullGaussian":
        """Set mean and covariance to their maximum-likelihood values on all images `x`."""
        mean, covariance = moments(as_rows(x, self.shape))
        self.mean.copy_(mean)
        self.covariance.copy_(covariance + self.noise_var * torch.eye(self.dim, dtype=covariance.dtype))
        return self

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density `(B,)` in nats.

        Raises:
            ValueError: the covariance is singular, so that no density exists.

        Implements: gaussian-log-density
        """
        root, failed = torch.linalg.cholesky_ex(self.covariance)
        if failed:
            raise ValueError(
                "the covariance is singular (constant pixels, or fewer images than pixels): this Gaussian has no "
                "density. Add noise to the images, or set noise_var > 0"
            )
        white = torch.linalg.solve_triangular(root, self._centred(x).T, upper=False)  # (D, B)
        log_det = 2 * root.diagonal().log().sum()
        return -0.5 * (white.square().sum(0) + log_det + self.dim * math.log(2 * math.pi))

    def sample(
        self,
        n: int,
        y: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        rank: int | None = None,
    ) -> Tensor:
        """n images `(n, *shape)`; with `rank`, only the first `rank` eigenvectors move.

        Implements: gaussian-sample
        """
        values, vectors = eigen(self.covariance.detach())
        rank = self.dim if rank is None else rank
        z = self._noise(n, self.dim, generator)[:, :rank]  # the same z for every rank, to compare samples
        rows = self.mean.detach() + (z * values[:rank].sqrt()) @ vectors[:, :rank].T
        return self._images(rows)


class DiagonalGaussian(GaussianModel):
    """Independent pixels, each with its own mean and variance.

    Args:
        shape: shape of one image.
        noise_var: as in `FullGaussian`.
    """

    def __init__(self, shape: Sequence[int], noise_var: float = 0.0):
        super().__init__(shape)
        self.noise_var = noise_var
        self.log_var = nn.Parameter(torch.zeros(self.dim))

    @torch.no_grad()
    def initialise(self, x: Tensor) -> "DiagonalGaussian":
        """Set means and variances to their maximum-likelihood values on all images `x`."""
        mean, covariance = moments(as_rows(x, self.shape))
        variance = covariance.diagonal() + self.noise_var
        if (variance <= 0).any():
            raise ValueError(
                f"{int((variance <= 0).sum())} pixels are constant, so their variance is 0 and the density infinite: "
                "add noise to the images, or set noise_var > 0"
            )
        self.mean.copy_(mean)
        self.log_var.copy_(variance.log())
        return self

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density `(B,)` in nats."""
        return gaussian_log_prob(as_rows(x, self.shape).to(self.mean.dtype), self.mean, self.log_var)

    def sample(self, n: int, y: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """n images `(n, *shape)`."""
        noise = self._noise(n, self.dim, generator)
        return self._images(self.mean.detach() + (0.5 * self.log_var.detach()).exp() * noise)


def build(kind: str, shape: Sequence[int], noise_var: float = 0.0) -> GaussianModel:
    """A Gaussian from its configuration: kind "full" or "diagonal".

    Raises:
        ValueError: another kind.
    """
    kinds = {"full": FullGaussian, "diagonal": DiagonalGaussian}
    if kind not in kinds:
        raise ValueError(f"a Gaussian is 'full' or 'diagonal' (low rank: the family ppca); got {kind!r}")
    return kinds[kind](shape, noise_var)

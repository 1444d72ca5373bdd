"""Gaussian mixture fitted by EM: the smallest model with a latent variable that is not linear.

z in {1..K} with p(z = k) = pi_k, x | z = k ~ N(mean_k, C_k). For any distribution r over z the evidence lower bound
ELBO(x, r) = sum_k r_k (log p(x, k) - log r_k) is at most log p(x), with equality at r = p(z | x), the responsibilities.
EM climbs it in turns: the E-step makes it tight, the M-step maximises it in closed form.

symbol                   shape        meaning
weights, pi              (K,)         probabilities of the components
means                    (K, D)       centres
covariances, C           (K, D, D)    full covariances
r, responsibilities      (B, K)       p(z = k | x)

Sources: Dempster, Laird & Rubin (1977); Neal & Hinton (1998); Bishop (2006), chapter 9.
Work in float64 (`GaussianMixture(...).double()`): a narrow component is badly conditioned.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.models.gaussian import as_rows


class GaussianMixture(nn.Module):
    """Mixture of K full-covariance Gaussians.

    Args:
        shape: shape of one image or point.
        n_components: K.
        reg_covar: variance added to every diagonal at each M-step (scikit-learn's convention). It bounds the likelihood
            from above, which has no maximum without it. With 0, EM never lowers the likelihood.
    """

    def __init__(self, shape: Sequence[int], n_components: int, reg_covar: float = 1e-6):
        super().__init__()
        self.shape = tuple(shape)
        self.dim = math.prod(self.shape)
        self.n_components = n_components
        self.reg_covar = reg_covar
        self.weights = nn.Parameter(torch.full((n_components,), 1 / n_components))
        self.means = nn.Parameter(torch.zeros(n_components, self.dim))
        self.covariances = nn.Parameter(torch.eye(self.dim).repeat(n_components, 1, 1))

    def _rows(self, x: Tensor) -> Tensor:
        return as_rows(x, self.shape).to(self.means)

    def log_joint(self, x: Tensor) -> Tensor:
        """log p(x, z = k) = log pi_k + log N(x; mean_k, C_k), `(B, K)`.

        Raises:
            ValueError: a covariance is singular.
        """
        rows = self._rows(x)
        roots, failed = torch.linalg.cholesky_ex(self.covariances)
        if failed.any():
            k = int(failed.nonzero()[0])
            raise ValueError(
                f"component {k} has a singular covariance (it sits on too few points, or on constant pixels): "
                "raise reg_covar, or start elsewhere"
            )
        centred = rows - self.means[:, None]  # (K, B, D)
        white = torch.linalg.solve_triangular(roots, centred.mT, upper=False)  # (K, D, B)
        log_det = 2 * roots.diagonal(dim1=1, dim2=2).log().sum(1)  # (K,)
        quadratic = white.square().sum(1).T  # (B, K)
        return self.weights.log() - 0.5 * (quadratic + log_det + self.dim * math.log(2 * math.pi))

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density `(B,)` in nats.

        Implements: gaussian-mixture
        """
        return self.log_joint(x).logsumexp(1)

    def log_responsibilities(self, x: Tensor) -> Tensor:
        """log p(z = k | x), `(B, K)`, normalised in the log domain: far from every centre all p(x, k) underflow to 0.

        Implements: gaussian-responsibilities
        """
        return self.log_joint(x).log_softmax(1)

    def elbo(self, x: Tensor, responsibilities: Tensor | None = None) -> Tensor:
        """Evidence lower bound `(B,)` in nats for any `responsibilities` `(B, K)`; by default the exact ones (tight).

        Implements: gaussian-elbo
        """
        if responsibilities is None:
            responsibilities = self.log_responsibilities(x).exp()
        entropy = -torch.xlogy(responsibilities, responsibilities).sum(1)
        # 0 * (-inf) is 0 here: a component that takes no share of x costs nothing.
        expected = torch.where(responsibilities > 0, responsibilities * self.log_joint(x), 0.0).sum(1)
        return expected + entropy

    def loss(self, x: Tensor, y: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Average negative log-likelihood in nats."""
        return -self.log_prob(x).mean()

    @torch.no_grad()
    def m_step(self, x: Tensor, responsibilities: Tensor) -> None:
        """Set all parameters to the maximiser of the ELBO for fixed `responsibilities` `(B, K)`.

        Raises:
            ValueError: a component is responsible for nothing, or the shapes do not fit.

        Implements: gaussian-m-step
        """
        rows = self._rows(x)
        if responsibilities.shape != (len(rows), self.n_components):
            raise ValueError(
                f"responsibilities must be {(len(rows), self.n_components)}; got {tuple(responsibilities.shape)}"
            )
        counts = responsibilities.sum(0)  # (K,)
        if (counts < 1e-8).any():
            raise ValueError(
                f"component {int(counts.argmin())} is empty: no point belongs to it. "
                "Start from other means, or take fewer components"
            )
        means = responsibilities.T @ rows / counts[:, None]
        centred = rows - means[:, None]  # (K, B, D)
        weighted = responsibilities.T[:, :, None] * centred
        covariances = weighted.mT @ centred / counts[:, None, None]
        self.weights.copy_(counts / counts.sum())
        self.means.copy_(means)
        self.covariances.copy_(covariances + self.reg_covar * torch.eye(self.dim).to(means))

    @torch.no_grad()
    def em_step(self, x: Tensor) -> float:
        """One E-step and one M-step; returns the average log-likelihood in nats *before* the step."""
        log_joint = self.log_joint(x)
        self.m_step(x, log_joint.softmax(1))
        return log_joint.logsumexp(1).mean().item()

    def fit_em(self, x: Tensor, max_steps: int = 100, tolerance: float | None = None) -> list[float]:
        """EM from the present parameters; returns the average log-likelihood before each step, and the last one.

        Stops early when a step gains less than `tolerance` nats, if one is given.
        """
        history: list[float] = []
        for _ in range(max_steps):
            history.append(self.em_step(x))
            if tolerance is not None and len(history) > 1 and history[-1] - history[-2] < tolerance:
                break
        with torch.no_grad():
            history.append(self.log_prob(x).mean().item())
        return history

    @torch.no_grad()
    def initialise(self, x: Tensor, *, generator: torch.Generator | None = None) -> "GaussianMixture":
        """Start from ten rounds of k-means: one M-step with each point in the cluster of its nearest centre.

        Raises:
            ValueError: fewer different points than components, or values that are not finite.
        """
        rows = self._rows(x)
        if not rows.isfinite().all():
            raise ValueError("the data hold NaN or infinite values: drop or repair these points first")
        centres = kmeans_plus_plus(rows, self.n_components, generator=generator)
        for _ in range(10):
            nearest = F.one_hot(torch.cdist(rows, centres).argmin(1), self.n_components).to(rows)
            counts = nearest.sum(0)[:, None]
            centres = torch.where(counts > 0, nearest.T @ rows / counts.clamp(min=1), centres)
        self.m_step(x, nearest)
        return self

    def sample(self, n: int, y: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """n points `(n, *shape)`; from the components `y` `(n,)`, or from components drawn with the weights."""
        with torch.no_grad():
            if y is None:
                y = torch.multinomial(self.weights, n, replacement=True, generator=generator)
            noise = torch.randn(
                n, self.dim, generator=generator, dtype=self.means.dtype, device=self.means.device
            )
            roots = torch.linalg.cholesky(self.covariances)
            rows = self.means[y] + torch.einsum("bij,bj->bi", roots[y], noise)
        return rows.reshape(-1, *self.shape)


def kmeans_plus_plus(rows: Tensor, n_centres: int, *, generator: torch.Generator | None = None) -> Tensor:
    """Centres `(n_centres, D)` drawn from `rows` `(N, D)`, each with probability growing with the squared distance to
    the nearest centre so far.

    Raises:
        ValueError: fewer different rows than centres.

    Source: Arthur & Vassilvitskii (2007).
    """
    if len(rows) < n_centres:
        raise ValueError(f"{len(rows)} points cannot give {n_centres} centres: take fewer components")
    first = torch.randint(len(rows), (1,), generator=generator, device=rows.device)
    centres = rows[first]
    distance = (rows - centres).square().sum(1)  # to the nearest centre
    for _ in range(n_centres - 1):
        if distance.max() == 0:
            raise ValueError(f"the data hold only {len(centres)} different points: take fewer components")
        new = rows[torch.multinomial(distance, 1, generator=generator)]
        centres = torch.cat([centres, new])
        distance = torch.minimum(distance, (rows - new).square().sum(1))
    return centres


def build(shape: Sequence[int], n_components: int, reg_covar: float = 1e-6) -> GaussianMixture:
    """The mixture from its configuration (what a checkpoint's card holds)."""
    return GaussianMixture(shape, n_components, reg_covar)

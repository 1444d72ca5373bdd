"""A density ratio learned by a classifier: told samples of p from samples of q, it knows log p/q.

With a share pi of its points from p, the best classifier is D(x) = pi p / (pi p + (1 - pi) q), so its logit is
log p(x)/q(x) + log pi/(1 - pi). The network here is the first summand: the shares are put in, not learned.

symbol              shape    meaning
y                   (B,)     1 where x comes from p, 0 where from q
log_ratio           (B,)     log p(x)/q(x), nats
D, probability      (B,)     posterior probability that x comes from p

Sources: Goodfellow et al. (2014), proposition 1; Sugiyama, Suzuki & Kanamori (2012), chapter 4.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.models.gaussian import as_rows
from course_lib.nn import MLP


class DensityRatio(nn.Module):
    """log p(x)/q(x) as a multi-layer perceptron.

    Args:
        dim: dimension of the points.
        width, depth: of the hidden layers, and how many.
        share: share of the training points that come from p, in (0, 1).

    Raises:
        ValueError: a share outside (0, 1).
    """

    def __init__(self, dim: int, width: int = 64, depth: int = 2, share: float = 0.5):
        super().__init__()
        if not 0 < share < 1:
            raise ValueError(f"share must lie in (0, 1); got {share}: points of both laws are needed")
        self.dim = dim
        self.log_odds = math.log(share / (1 - share))
        self.net = MLP((dim, *[width] * depth, 1), nn.SiLU)

    def log_ratio(self, x: Tensor) -> Tensor:
        """log p(x)/q(x) in nats, `(B,)` for x `(B, dim)`.

        Implements: distances-ratio
        """
        return self.net(as_rows(x, (self.dim,))).squeeze(-1)

    def probability(self, x: Tensor) -> Tensor:
        """D(x), the probability `(B,)` that x is from p, at the shares of the training points."""
        return torch.sigmoid(self.log_ratio(x) + self.log_odds)

    def loss(self, x: Tensor, y: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Cross-entropy of the classifier in nats; at its best log 2 - JSD(p, q) for equal shares.

        Args:
            x: `(B, dim)` points of both laws. y: `(B,)`, 1 for p and 0 for q.

        Raises:
            ValueError: labels missing or not one a point.
        """
        if y is None or y.shape != x.shape[:1]:
            raise ValueError("expected labels y (B,), 1 where x is from p and 0 where from q")
        logits = self.log_ratio(x) + self.log_odds
        return F.binary_cross_entropy_with_logits(logits, y.to(logits.dtype))


def build(dim: int, width: int = 64, depth: int = 2, share: float = 0.5) -> DensityRatio:
    """The classifier from its configuration (what a checkpoint's card holds)."""
    return DensityRatio(dim, width, depth, share)

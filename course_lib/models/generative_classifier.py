"""A classifier made of densities: one model p(x | y) per class, turned round by Bayes' rule.

p(y | x) = p(x | y) p(y) / p(x) with p(x) = sum_y p(x | y) p(y). Unlike a softmax network it also knows p(x), and can
decline to answer where x looks like no class at all. Sources: Ng & Jordan (2001); Xiao (2022), section 1.1.3.

symbol          shape     meaning
log_joint       (B, K)    log p(x, y) for each of the K classes, nats
log_prior       (K,)      log p(y), the class frequencies of the training set
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class GenerativeClassifier(nn.Module):
    """Bayes' rule over K densities.

    Args:
        densities: one model per class, each with `initialise`, `log_prob` and `sample` (any of this course).
    """

    def __init__(self, densities: Iterable[nn.Module]):
        super().__init__()
        self.densities = nn.ModuleList(densities)
        self.register_buffer("log_prior", torch.zeros(len(self.densities)).log_softmax(0))

    @torch.no_grad()
    def initialise(self, x: Tensor, y: Tensor) -> "GenerativeClassifier":
        """Fit each density to its class, and the prior to the class frequencies.

        Raises:
            ValueError: a label outside 0..K-1, or a class without images.
        """
        n_classes = len(self.densities)
        counts = torch.bincount(y, minlength=n_classes)
        if len(counts) > n_classes or (counts == 0).any():
            raise ValueError(
                f"expected labels 0..{n_classes - 1}, each at least once; got counts {counts.tolist()}"
            )
        for label, density in enumerate(self.densities):
            density.initialise(x[y == label])
        self.log_prior.copy_((counts / counts.sum()).log())
        return self

    def log_joint(self, x: Tensor) -> Tensor:
        """log p(x, y) = log p(x | y) + log p(y), `(B, K)`."""
        return torch.stack([density.log_prob(x) for density in self.densities], 1) + self.log_prior

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x), the class summed out, `(B,)` in nats.

        Implements: gaussian-evidence
        """
        return self.log_joint(x).logsumexp(1)

    def log_posterior(self, x: Tensor) -> Tensor:
        """log p(y | x), `(B, K)`.

        Implements: gaussian-bayes
        """
        return self.log_joint(x).log_softmax(1)

    def loss(self, x: Tensor, y: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Average of -log p(x, y) in nats, or of -log p(x) without labels."""
        if y is None:
            return -self.log_prob(x).mean()
        return -self.log_joint(x).gather(1, y[:, None]).mean()

    def sample(self, n: int, y: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """n images; of the classes `y` `(n,)`, or of classes drawn from the prior."""
        if y is None:
            y = torch.multinomial(self.log_prior.exp(), n, replacement=True, generator=generator)
        counts = torch.bincount(y, minlength=len(self.densities)).tolist()
        images = [
            density.sample(m, generator=generator) for density, m in zip(self.densities, counts, strict=True)
        ]
        # Class by class they come sorted; the stable order of y says where each belongs.
        return torch.cat(images)[y.argsort(stable=True).argsort()]

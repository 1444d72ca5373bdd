"""Two unbiased estimators of the gradient of E_q[f] with respect to the parameters of q = N(mu, diag exp(log_var)).

The integrand is f(z, mu, log_var) = log p(x, z) - log q(z), so E_q[f] is the ELBO; any other function of that form will do.
Each draw of the noise gives one estimate: average them for the gradient, look at their spread for its price.

| symbol | here | shape |
|---|---|---|
| mu, log_var | arguments | (B, d) |
| noise | argument | (k, B, d): k estimates for each of B problems |
| f | `f(z, mu, log_var)` | (k, B) from z (k, B, d) |

Sources: Kingma & Welling 2014, section 2.4 (path); Williams 1992 (score function); Mnih & Rezende 2016 (leave-one-out baseline).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.distributions import gaussian_log_prob
from course_lib.models.vae import reparametrise

Integrand = Callable[[Tensor, Tensor, Tensor], Tensor]


def _leaves(mu: Tensor, log_var: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """One copy of the parameters per draw, so that one backward pass gives every draw its own gradient."""
    mu, log_var = mu.detach().expand_as(noise).clone(), log_var.detach().expand_as(noise).clone()
    return mu.requires_grad_(), log_var.requires_grad_()


def path_gradient(f: Integrand, mu: Tensor, log_var: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """d f(mu + sigma noise, mu, log_var) / d(mu, log_var): the derivative runs through the sample. `(k, B, d)` twice.

    Implements: vae-path-gradient
    """
    mu, log_var = _leaves(mu, log_var, noise)
    return torch.autograd.grad(f(reparametrise(mu, log_var, noise), mu, log_var).sum(), (mu, log_var))


def score_gradient(
    f: Integrand, mu: Tensor, log_var: Tensor, noise: Tensor, *, baseline: bool = False
) -> tuple[Tensor, Tensor]:
    """f(z) d log q(z) / d(mu, log_var) at fixed draws z: f need not be differentiable. `(k, B, d)` twice.

    Args:
        baseline: subtract from f the mean of the other k - 1 draws: same expectation, smaller spread.

    Implements: vae-score-gradient
    """
    mu, log_var = _leaves(mu, log_var, noise)
    z = reparametrise(mu, log_var, noise).detach()
    value = f(z, mu, log_var).detach()  # (k, B)
    if baseline:
        value = value - (value.sum(0) - value) / (len(value) - 1)
    return torch.autograd.grad((value * gaussian_log_prob(z, mu, log_var)).sum(), (mu, log_var))

"""Pixel laws p(x|z): what a decoder's output means as a distribution over images.

A decoder network ends in numbers; a likelihood turns them into a law with independent pixels given z. All four share one
face, so a model that holds a likelihood never asks which one it is.

| likelihood | pixels x | numbers per pixel | log p(x given z), summed over all pixels and channels |
|---|---|---|---|
| `Gaussian` | real | 1 (mean) | log N(x; mean, s^2 I), s fixed or learned |
| `Bernoulli` | 0 or 1 | 1 (logit) | minus the binary cross-entropy |
| `Categorical` | K levels | K (logits) | log softmax at the level |
| `DiscretizedLogistic` | K levels | 2 (centre, log scale) | log of the logistic's mass in the level's bin |

Shapes: images x `(B, C, H, W)` in [0, 1]; `params` `(B, C * numbers, H, W)` as the decoder network gives them; log-masses and
log-densities `(B,)` in nats.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.distributions import (
    bernoulli_log_prob,
    categorical_log_prob,
    discretized_logistic_log_prob,
    gaussian_log_prob,
)


def _single(params: Tensor) -> Tensor:
    """At least float32: under autocast networks answer in bfloat16, too coarse for a sum over hundreds of pixels."""
    return params.to(torch.promote_types(params.dtype, torch.float32))


class Gaussian(nn.Module):
    """log p(x|z) = log N(x; mean(z), s^2 I), one noise level s for all pixels.

    Args:
        s: standard deviation of a pixel around the decoded mean, in pixel units (1 = black to white).
        learn_s: let s be a parameter, started at `s`.

    Implements: vae-gaussian-decoder
    """

    numbers = 1

    def __init__(self, s: float = 0.1, learn_s: bool = False):
        super().__init__()
        if s <= 0:
            raise ValueError(f"the pixel noise s is a standard deviation, above 0; got {s}")
        self.log_s = nn.Parameter(torch.tensor(math.log(s)), requires_grad=learn_s)

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        return gaussian_log_prob(x.flatten(1), _single(params).flatten(1), 2 * self.log_s)

    def mean(self, params: Tensor) -> Tensor:
        return _single(params)

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean = _single(params)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        return mean + self.log_s.exp() * noise


class Bernoulli(nn.Module):
    """Binary pixels: p(x_i = 1|z) = sigmoid(logit_i).

    For grey x the value is a score without a normaliser, not a log-likelihood: binarise first where you report nats.

    Implements: vae-bernoulli-decoder
    """

    numbers = 1

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        return bernoulli_log_prob(x.flatten(1), _single(params).flatten(1))

    def mean(self, params: Tensor) -> Tensor:
        return _single(params).sigmoid()

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.bernoulli(self.mean(params), generator=generator)


class Categorical(nn.Module):
    """One softmax over K grey levels k / (K - 1) for each pixel: no order between levels is assumed.

    Args:
        levels: K, for example 256 for 8-bit images.

    Implements: vae-categorical-decoder
    """

    def __init__(self, levels: int = 256):
        super().__init__()
        if levels < 2:
            raise ValueError(f"a categorical pixel needs at least 2 levels; got {levels}")
        self.levels = self.numbers = levels

    def logits(self, params: Tensor) -> Tensor:
        """`(B, C * K, H, W)` to `(B, C, H, W, K)`."""
        return _single(params).unflatten(1, (-1, self.levels)).movedim(2, -1)

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        return categorical_log_prob(x.flatten(1), self.logits(params).flatten(1, 3))

    def mean(self, params: Tensor) -> Tensor:
        grid = torch.linspace(0, 1, self.levels, device=params.device, dtype=_single(params).dtype)
        return self.logits(params).softmax(-1) @ grid

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        logits = self.logits(params)
        drawn = torch.multinomial(logits.softmax(-1).flatten(0, -2), 1, generator=generator)
        return drawn.view(logits.shape[:-1]).to(logits.dtype) / (self.levels - 1)


class DiscretizedLogistic(nn.Module):
    """A logistic law per pixel, cut into K bins; the first and last bin take the tails.

    Args:
        levels: K, for example 256 for 8-bit images.

    Implements: vae-logistic-decoder
    Source: Kingma et al. 2016 (inverse autoregressive flow), appendix; Salimans et al. 2017, section 2.1.
    """

    numbers = 2
    # Scale 0.0009, a quarter of an 8-bit step: a thinner law gains nothing and overflows.
    min_log_scale = -7.0

    def __init__(self, levels: int = 256):
        super().__init__()
        if levels < 2:
            raise ValueError(f"a discretised logistic needs at least 2 levels; got {levels}")
        self.levels = levels

    def centre_and_log_scale(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Two tensors `(B, C, H, W)`."""
        centre, log_scale = _single(params).chunk(2, dim=1)
        return centre, log_scale.clamp(min=self.min_log_scale)

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        centre, log_scale = self.centre_and_log_scale(params)
        return discretized_logistic_log_prob(
            x.flatten(1), centre.flatten(1), log_scale.flatten(1), self.levels
        )

    def mean(self, params: Tensor) -> Tensor:
        """Mean of the logistic clamped to [0, 1]: the integral of its survival function, right up to half a bin."""
        centre, log_scale = self.centre_and_log_scale(params)
        scale = log_scale.exp()
        return scale * (F.softplus(centre / scale) - F.softplus((centre - 1) / scale))

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        centre, log_scale = self.centre_and_log_scale(params)
        u = torch.rand(centre.shape, generator=generator, device=centre.device, dtype=centre.dtype)
        x = (centre + log_scale.exp() * torch.logit(u, eps=1e-6)).clamp(0, 1)
        return (x * (self.levels - 1)).round() / (self.levels - 1)


LIKELIHOODS = {
    "gaussian": Gaussian,
    "bernoulli": Bernoulli,
    "categorical": Categorical,
    "discretized_logistic": DiscretizedLogistic,
}


def build_likelihood(name: str, **options) -> nn.Module:
    """The likelihood called `name`, with its own options (`s`, `learn_s` or `levels`).

    Raises:
        ValueError: an unknown name, or an option that this likelihood does not have.
    """
    if name not in LIKELIHOODS:
        raise ValueError(f"unknown likelihood {name!r}: choose one of {', '.join(LIKELIHOODS)}")
    try:
        return LIKELIHOODS[name](**options)
    except TypeError as error:
        raise ValueError(f"likelihood {name!r} does not take the options {sorted(options)}") from error

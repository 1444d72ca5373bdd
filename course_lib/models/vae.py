"""The variational autoencoder: a latent-variable model and an amortised guess of its posterior, trained on one bound.

A code z is drawn from N(0, I) and a decoder network turns it into a law over images. The likelihood of an image is an
integral over all codes, out of reach; an encoder network proposes, for each image, a Gaussian over the codes that may
have made it. Both networks climb the evidence lower bound (ELBO), which falls short of log p(x) by exactly
KL(q(z|x) || p(z|x)).

| symbol | here | shape | meaning |
|---|---|---|---|
| x | `x` | (B, C, H, W) | images in [0, 1] |
| z | `z` | (B, d) | codes, d = `latent_dim` |
| mu(x), log sigma^2(x) | `mu, log_var = encode(x)` | (B, d) each | the encoder's Gaussian q(z given x) |
| p(x given z) | `decoder(z)`, `likelihood` | (B, C * numbers, H, W) | the pixel law's parameters, and what they mean |
| eps | `noise` | (k, B, d) | standard normal; z = mu + sigma * eps |
| log w | `log_weights` | (k, B) | log p(x, z) - log q(z given x), for k codes of each image |

Sources: Kingma & Welling 2014, equations 2-10 and appendix B, C; Rezende et al. 2014; Burda et al. 2016 (IWAE), equations
7-14. All values are in nats, summed over pixels and over code dimensions, averaged over the batch only in `loss`.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_lib.distributions import gaussian_kl, gaussian_log_prob
from course_lib.models.likelihoods import build_likelihood
from course_lib.nn import MLP, ConvDecoder, ConvEncoder

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "softplus": nn.Softplus}


def check_images(x: Tensor, image_shape: Sequence[int]) -> None:
    """Raise `ValueError` unless x is a float batch `(B, *image_shape)` in [0, 1].

    The range is looked at on the CPU only: on a GPU the look would stop the stream at every step.
    """
    if x.ndim != 4 or tuple(x.shape[1:]) != tuple(image_shape):
        raise ValueError(f"expected images (B, {', '.join(map(str, image_shape))}); got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"images must be float in [0, 1]; got {x.dtype}: divide integers 0..255 by 255")
    if x.device.type == "cpu" and x.numel() and (x.amin() < 0 or x.amax() > 1):
        raise ValueError(f"images must lie in [0, 1]; got values from {x.amin():.3g} to {x.amax():.3g}")


def importance_bound(log_weights: Tensor) -> Tensor:
    """log (1/k) sum_i w_i over the first dimension, from log-weights `(k, ...)`, without leaving the logarithm.

    Implements: vae-iwae
    """
    return torch.logsumexp(log_weights, 0) - math.log(len(log_weights))


def reparametrise(mu: Tensor, log_var: Tensor, noise: Tensor) -> Tensor:
    """A draw from N(mu, diag exp(log_var)) as a differentiable function of mu and log_var: mu + sigma * noise.

    Implements: vae-reparametrisation
    """
    return mu + torch.exp(0.5 * log_var) * noise


def code_plane(side: int) -> Tensor:
    """Codes `(side^2, 2)` at equal steps of the prior's distribution function, row by row from the top left.

    Implements: vae-manifold
    """
    # ndtri is the inverse of the normal distribution function.
    line = torch.special.ndtri((torch.arange(side) + 0.5) / side)
    return torch.stack([line.repeat(side), line.flip(0).repeat_interleave(side)], 1)


class VAE(nn.Module):
    """A VAE with a standard normal prior, a diagonal Gaussian encoder and a choice of networks and pixel laws.

    Args:
        image_shape: `(C, H, W)`.
        latent_dim: d, the length of a code.
        network: "mlp", or "conv" (sides that are multiples of 4).
        hidden: widths of the hidden layers from image to code, mirrored in the decoder; "conv" takes one width, () makes
            both networks affine.
        width: channels of the first convolution ("conv" only).
        activation: "relu", "tanh" or "softplus" ("mlp" only).
        likelihood: "gaussian" (options `s`, `learn_s`), "bernoulli", "categorical" or "discretized_logistic" (option `levels`).
        beta: weight of the KL term in `loss`. 1 is the ELBO; the other values are for looking at what they break.
        importance_samples: k. 1 trains the ELBO; above 1 trains the importance-weighted bound.

    Raises:
        ValueError: unknown names, or numbers out of range.
    """

    n_evaluations = 1

    def __init__(
        self,
        image_shape: Sequence[int] = (1, 28, 28),
        latent_dim: int = 20,
        network: str = "mlp",
        hidden: Sequence[int] = (200, 200),
        width: int = 32,
        activation: str = "relu",
        likelihood: str = "bernoulli",
        beta: float = 1.0,
        importance_samples: int = 1,
        **likelihood_options,
    ):
        super().__init__()
        if latent_dim < 1 or importance_samples < 1 or beta < 0:
            raise ValueError("latent_dim and importance_samples start at 1 and beta at 0")
        if importance_samples > 1 and beta != 1:
            raise ValueError(
                "the importance-weighted bound has no separate KL term to weigh: leave beta at 1"
            )
        self.image_shape, self.latent_dim = tuple(image_shape), latent_dim
        self.beta, self.importance_samples = beta, importance_samples
        self.likelihood = build_likelihood(likelihood, **likelihood_options)
        channels, height, side = self.image_shape
        out_channels = channels * self.likelihood.numbers
        if network == "mlp":
            if activation not in ACTIVATIONS:
                raise ValueError(f"unknown activation {activation!r}: choose one of {', '.join(ACTIVATIONS)}")
            act = ACTIVATIONS[activation]
            self.encoder = nn.Sequential(
                nn.Flatten(), MLP((math.prod(self.image_shape), *hidden, 2 * latent_dim), act)
            )
            self.decoder = nn.Sequential(
                MLP((latent_dim, *reversed(hidden), out_channels * height * side), act),
                nn.Unflatten(1, (out_channels, height, side)),
            )
        elif network == "conv":
            if height != side or len(hidden) != 1:
                raise ValueError(
                    f"network='conv' takes square images and one hidden width; got {image_shape}, {hidden}"
                )
            self.encoder = ConvEncoder(channels, side, 2 * latent_dim, width, hidden[0])
            self.decoder = ConvDecoder(latent_dim, out_channels, side, width, hidden[0])
        else:
            raise ValueError(f"unknown network {network!r}: choose 'mlp' or 'conv'")

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-*variance* of q(z|x), `(B, d)` each."""
        check_images(x, self.image_shape)
        mu, log_var = self.encoder(x).chunk(2, dim=1)
        dtype = torch.promote_types(mu.dtype, torch.float32)
        return mu.to(dtype), log_var.to(dtype)

    def decode(self, z: Tensor) -> Tensor:
        """The mean image E[x|z], `(B, C, H, W)`; `decoder(z)` has the pixel law's raw parameters."""
        return self.likelihood.mean(self.decoder(z))

    def draw_noise(self, k: int, mu: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Standard normal noise `(k, B, d)`: k codes for each image."""
        return torch.randn(k, *mu.shape, generator=generator, device=mu.device, dtype=mu.dtype)

    def log_px(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z) of every image under each of its k codes: x `(B, C, H, W)`, z `(k, B, d)`, result `(k, B)`."""
        copies = x.expand(len(z), *x.shape).flatten(0, 1)  # (k * B, C, H, W)
        return self.likelihood.log_prob(copies, self.decoder(z.flatten(0, 1))).view(z.shape[:2])

    def log_weights(self, x: Tensor, z: Tensor, mu: Tensor, log_var: Tensor) -> Tensor:
        """log p(x|z) + log p(z) - log q(z|x) for codes z `(k, B, d)` drawn from N(mu, exp(log_var)): `(k, B)`."""
        zero = torch.zeros_like(z)
        return self.log_px(x, z) + gaussian_log_prob(z, zero, zero) - gaussian_log_prob(z, mu, log_var)

    def loss(self, x: Tensor, y: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Minus the bound in nats: the sum over pixels and codes, the mean over the batch. Labels are not used.

        Implements: vae-loss
        """
        mu, log_var = self.encode(x)
        z = reparametrise(mu, log_var, self.draw_noise(self.importance_samples, mu, generator))
        if self.importance_samples > 1:
            return -importance_bound(self.log_weights(x, z, mu, log_var)).mean()
        return (self.beta * gaussian_kl(mu, log_var) - self.log_px(x, z)[0]).mean()

    def elbo(
        self, x: Tensor, k: int = 1, *, closed_form_kl: bool = True, generator: torch.Generator | None = None
    ) -> Tensor:
        """Unbiased estimate of the ELBO of each image from k codes, `(B,)` in nats.

        Args:
            closed_form_kl: take KL(q || p) from its formula, or from the same k codes (needs no formula).

        Implements: vae-elbo, vae-elbo-kl
        """
        mu, log_var = self.encode(x)
        z = reparametrise(mu, log_var, self.draw_noise(k, mu, generator))
        if closed_form_kl:
            return self.log_px(x, z).mean(0) - gaussian_kl(mu, log_var)
        return self.log_weights(x, z, mu, log_var).mean(0)

    @torch.no_grad()
    def iwae(
        self, x: Tensor, k: int = 100, *, generator: torch.Generator | None = None, chunk: int = 50
    ) -> Tensor:
        """Importance-weighted bound of each image from k codes, `(B,)` in nats: log p(x) from below, tight as k grows.

        Args:
            chunk: codes decoded at a time; memory grows with B * chunk.
        """
        if k < 1 or chunk < 1:
            raise ValueError(f"k and chunk start at 1; got k={k}, chunk={chunk}")
        mu, log_var = self.encode(x)
        sizes = [min(chunk, k - start) for start in range(0, k, chunk)]
        parts = []
        for size in sizes:
            z = reparametrise(mu, log_var, self.draw_noise(size, mu, generator))
            parts.append(torch.logsumexp(self.log_weights(x, z, mu, log_var), 0))
        return torch.logsumexp(torch.stack(parts), 0) - math.log(k)

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """The mean image at the encoder's mean code, `(B, C, H, W)`."""
        return self.decode(self.encode(x)[0])

    @torch.no_grad()
    def sample(
        self,
        n: int,
        y: Tensor | None = None,
        *,
        pixels: bool = False,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """n images from the model, `(n, C, H, W)`.

        Args:
            pixels: draw the pixels from p(x|z) too: a true sample of the model. By default you get the mean image E[x|z],
                which most figures in the literature show and call a sample.
        """
        parameter = next(self.parameters())
        z = torch.randn(
            n, self.latent_dim, generator=generator, device=parameter.device, dtype=parameter.dtype
        )
        params = self.decoder(z)
        return self.likelihood.sample(params, generator) if pixels else self.likelihood.mean(params)


class Autoencoder(VAE):
    """The same networks with neither noise nor KL: the encoder's mean is the code, the loss is minus log p(x|z)."""

    def loss(self, x: Tensor, y: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        code, _ = self.encode(x)
        return -self.likelihood.log_prob(x, self.decoder(code)).mean()


def build(**config) -> VAE:
    """A `VAE` from a recipe's or a card's config."""
    return VAE(**config)

"""Two stationary models of one texture image h, kept apart: they share mean and autocovariance, not their law.

Both take white noise and the spot t = (h - mean) / sqrt(|Omega|):
- asymptotic discrete spot noise (ADSN): mean + t * white noise. A Gaussian field; the modulus of each Fourier
  coefficient varies from sample to sample (Rayleigh), its phase is uniform.
- random phase noise (RPN): the moduli of t's Fourier transform stay what they are, only the phases are drawn. Not
  Gaussian; on its own grid every sample has exactly the empirical mean and autocovariance.

symbol       shape          meaning
h            (C, L1, L2)    the texture, C = 1 or 3 channels, in [0, 1]; |Omega| = L1 L2 pixels
mean         (C,)           mean colour
spot, t      (C, L1, L2)    (h - mean) / sqrt(|Omega|)
xi           (L1, L2)       frequency (q / L1, r / L2)

All Fourier transforms are periodic. A photograph is not, so its periodic component (Moisan) goes in its place.

Sources: Galerne, Gousseau & Morel (2011), "Random phase textures"; Moisan (2011), "Periodic plus smooth image
decomposition".
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_lib.models.gaussian import as_rows


def smooth_component(image: Tensor) -> Tensor:
    """The smooth part s of `image` `(C, L1, L2)`: it holds the jumps across the borders, so that image - s is periodic.

    s solves the periodic Poisson equation whose right-hand side is the jump at each border pixel, with mean 0.

    Implements: gaussian-periodic
    """
    _, m, n = image.shape
    jump = torch.zeros_like(image)
    jump[:, 0] += image[:, -1] - image[:, 0]  # what lies across the border, minus what lies on it
    jump[:, -1] += image[:, 0] - image[:, -1]
    jump[:, :, 0] += image[:, :, -1] - image[:, :, 0]
    jump[:, :, -1] += image[:, :, 0] - image[:, :, -1]
    rows = 2 * torch.cos(2 * math.pi * torch.arange(m, dtype=image.dtype, device=image.device) / m)
    columns = 2 * torch.cos(2 * math.pi * torch.arange(n, dtype=image.dtype, device=image.device) / n)
    laplacian = rows[:, None] + columns - 4  # (L1, L2)
    laplacian[0, 0] = 1.0  # the jumps sum to 0, so the mean of s is 0 whatever stands here
    return torch.fft.ifft2(torch.fft.fft2(jump) / laplacian).real


def uniform_phase(size: tuple[int, int], n: int, generator: torch.Generator | None, like: Tensor) -> Tensor:
    """n fields `(n, L1, L2)` of unit complex numbers: uniform phases with phase(-xi) = -phase(xi); 1 at frequency 0.

    They are the phases of the transform of white noise, so a frequency that is its own opposite gets +1 or -1.

    Implements: gaussian-phase
    """
    noise = torch.randn(n, *size, generator=generator, dtype=like.dtype, device=like.device)
    phase = torch.fft.fft2(noise)
    phase = phase / phase.abs()
    phase[:, 0, 0] = 1.0
    return phase


class StationaryTexture(nn.Module):
    """What the two models share: the spot, the mean, the autocovariance.

    Args:
        shape: shape (C, L1, L2) of the texture.
        periodic: replace the texture by its periodic component first (right for photographs).
    """

    def __init__(self, shape: Sequence[int], periodic: bool = True):
        super().__init__()
        self.shape = tuple(shape)
        self.periodic = periodic
        self.register_buffer("mean", torch.zeros(self.shape[0]))
        self.register_buffer("spot", torch.zeros(self.shape))

    @torch.no_grad()
    def initialise(self, image: Tensor) -> "StationaryTexture":
        """Estimate mean and spot from one texture `(C, L1, L2)`.

        Raises:
            ValueError: wrong shape, integer pixels, values that are not finite.
        """
        image = as_rows(image[None], self.shape).reshape(self.shape)
        if not image.isfinite().all():
            raise ValueError("the texture holds NaN or infinite values")
        image = image.double()
        if self.periodic:
            image = image - smooth_component(image)
        mean = image.mean((1, 2))
        self.mean.copy_(mean)
        self.spot.copy_((image - mean[:, None, None]) / math.sqrt(self.shape[1] * self.shape[2]))
        return self

    def spot_on(self, size: tuple[int, int] | None = None) -> Tensor:
        """The spot on a grid of `size` >= (L1, L2), `(C, *size)`: zeros around it, its border faded out.

        On a larger grid the spot meets zeros, so its outer tenth is faded by a cosine; its sum is put back to 0 and its
        energy to what it was. On its own grid it is unchanged.

        Raises:
            ValueError: `size` is smaller than the texture.
        """
        channels, m, n = self.shape
        if size is None or tuple(size) == (m, n):
            return self.spot
        if size[0] < m or size[1] < n:
            raise ValueError(
                f"cannot synthesise {tuple(size)} from a texture of {(m, n)}: the spot needs at least its size"
            )
        fade = torch.ones(m, n).to(self.spot)
        if size[0] > m:
            fade = fade * _fade(m).to(fade)[:, None]
        if size[1] > n:
            fade = fade * _fade(n).to(fade)
        spot = self.spot * fade
        spot = spot - spot.sum((1, 2), keepdim=True) * fade / fade.sum()
        spot = spot * (self.spot.norm() / spot.norm().clamp(min=1e-30))
        large = self.spot.new_zeros(channels, *size)
        large[:, :m, :n] = spot
        return large

    def autocovariance(self, size: tuple[int, int] | None = None) -> Tensor:
        """Exact covariance of channel a at x and channel b at x + tau, `(C, C, *size)`, tau on the periodic grid.

        Implements: gaussian-autocovariance
        """
        transform = torch.fft.fft2(self.spot_on(size))
        return torch.fft.ifft2(transform.conj()[:, None] * transform[None]).real

    def _filter(self, noise_transform: Tensor, size: tuple[int, int] | None) -> Tensor:
        """mean + inverse transform of (transform of the spot) x noise, the same noise for all channels."""
        transform = torch.fft.fft2(self.spot_on(size))
        field = torch.fft.ifft2(transform * noise_transform[:, None]).real
        return self.mean[:, None, None] + field  # (n, C, *size)


class ADSN(StationaryTexture):
    """Asymptotic discrete spot noise: the Gaussian field with the texture's mean and autocovariance."""

    def sample(
        self,
        n: int,
        y: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        size: tuple[int, int] | None = None,
    ) -> Tensor:
        """n textures `(n, C, L1, L2)`, or `(n, C, *size)`; values may leave [0, 1].

        Implements: gaussian-adsn
        """
        noise = torch.randn(
            n, *(size or self.shape[1:]), generator=generator, dtype=self.spot.dtype, device=self.spot.device
        )
        return self._filter(torch.fft.fft2(noise), size)


class RPN(StationaryTexture):
    """Random phase noise: the texture's Fourier moduli under uniform random phases."""

    def sample(
        self,
        n: int,
        y: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        size: tuple[int, int] | None = None,
    ) -> Tensor:
        """n textures `(n, C, L1, L2)`, or `(n, C, *size)`; values may leave [0, 1].

        The random phase is *added* to the texture's own, which keeps the phase differences between colours.

        Implements: gaussian-rpn
        """
        size = tuple(size or self.shape[1:])
        # |transform of white noise|^2 is |Omega| on average; here it is so exactly.
        return self._filter(math.sqrt(size[0] * size[1]) * uniform_phase(size, n, generator, self.spot), size)


def _fade(length: int, fraction: float = 0.1) -> Tensor:
    """1 inside, a half cosine down to nearly 0 over the outer `fraction` on both sides, `(length,)`."""
    edge = torch.minimum(torch.arange(length), torch.arange(length).flip(0)) + 0.5
    return 0.5 - 0.5 * torch.cos(math.pi * (edge / max(1.0, fraction * length)).clamp(max=1.0))


def build(kind: str, shape: Sequence[int], periodic: bool = True) -> StationaryTexture:
    """A texture model from its configuration: kind "adsn" or "rpn".

    Raises:
        ValueError: another kind.
    """
    kinds = {"adsn": ADSN, "rpn": RPN}
    if kind not in kinds:
        raise ValueError(f"a texture model is 'adsn' or 'rpn'; got {kind!r}")
    return kinds[kind](shape, periodic)

"""The networks of DCGAN: strided convolutions down, transposed convolutions up, no pooling.

Both halve or double the side from step to step between the image and a map of 4x4 or 7x7 (28 -> 14 -> 7, 32 -> 16 -> 8
-> 4), with twice the channels at half the side. Source: Radford et al. 2016, figure 1 and section 3.
"""

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

NORMS = ("batch", "layer", "spectral", "none")


def levels(size: int) -> int:
    """How often an image side can be halved before it falls below 8.

    Raises:
        ValueError: the side does not come down to 4 or 7 by halving.
    """
    count, side = 0, size
    while side % 2 == 0 and side > 7:
        side //= 2
        count += 1
    if side not in (4, 7):
        raise ValueError(f"the image side must be 4 or 7 times a power of two (28, 32, 64 ...); got {size}")
    return count


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(1, channels) if kind == "layer" else nn.Identity()


def _check_norm(norm: str) -> None:
    if norm not in NORMS:
        raise ValueError(f"norm={norm!r}: expected one of {', '.join(NORMS)}")


class DCGANGenerator(nn.Module):
    """Code to image.

    Args:
        latent_dim: length of the code.
        channels, size: of the image.
        width: channels of the largest map; each smaller map has twice as many.
        norm: "batch", "layer" or "none" after each layer but the last.

    Shapes: `(B, latent_dim)` to `(B, channels, size, size)` in [-1, 1].
    """

    def __init__(self, latent_dim: int, channels: int, size: int, width: int = 64, norm: str = "batch"):
        super().__init__()
        _check_norm(norm)
        n = levels(size)
        inner = width * 2 ** (n - 1)
        side = size // 2**n
        layers: list[nn.Module] = [
            nn.Linear(latent_dim, inner * side**2),
            nn.Unflatten(1, (inner, side, side)),
            _norm(norm, inner),
            nn.ReLU(),
        ]
        for _ in range(n - 1):
            layers += [
                nn.ConvTranspose2d(inner, inner // 2, 4, stride=2, padding=1),  # side doubles
                _norm(norm, inner // 2),
                nn.ReLU(),
            ]
            inner //= 2
        self.layers = nn.Sequential(
            *layers, nn.ConvTranspose2d(inner, channels, 4, stride=2, padding=1), nn.Tanh()
        )
        self.apply(_initialise)

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


class DCGANDiscriminator(nn.Module):
    """Image to one number: a discriminator's logit or a critic's value.

    Args:
        channels, size, width: as in `DCGANGenerator`.
        norm: "batch" (DCGAN), "layer" or "none" (a critic with gradient penalty), "spectral".

    Shapes: images `(B, channels, size, size)` in [-1, 1] to `(B,)`; `features` gives `(B, F)`, the flattened last map.
    """

    def __init__(self, channels: int, size: int, width: int = 64, norm: str = "batch"):
        super().__init__()
        _check_norm(norm)
        n = levels(size)
        wrap = spectral_norm if norm == "spectral" else lambda layer: layer
        layers: list[nn.Module] = [
            wrap(nn.Conv2d(channels, width, 4, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
        ]
        outer = width
        for _ in range(n - 1):
            layers += [
                wrap(nn.Conv2d(outer, 2 * outer, 4, stride=2, padding=1)),  # side halves
                _norm(norm, 2 * outer),
                nn.LeakyReLU(0.2),
            ]
            outer *= 2
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.head = wrap(nn.Linear(outer * (size // 2**n) ** 2, 1))
        if norm != "spectral":
            self.apply(_initialise)

    def features(self, x: Tensor) -> Tensor:
        return self.layers(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x)).squeeze(1)


def _initialise(module: nn.Module) -> None:
    """Weights from N(0, 0.02^2), as DCGAN has them."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)

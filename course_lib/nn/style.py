"""The networks of StyleGAN: equalised layers, mapping network, AdaIN, synthesis from a learned constant, and a discriminator
that sees the spread of its minibatch.

Sources: Karras et al. 2018 (equalised learning rate, minibatch deviation), 2019 (sections 2-3, appendix B); Huang &
Belongie 2017, equation 8 (AdaIN).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.nn.dcgan import levels


class Leaky(nn.Module):
    """Leaky ReLU with slope 0.2, times sqrt(2): a standard normal input keeps its mean square (1.04)."""

    def forward(self, x: Tensor) -> Tensor:
        return math.sqrt(2) * F.leaky_relu(x, 0.2)


class EqualizedLinear(nn.Module):
    """An affine map whose weights are N(0, 1) at the start and are scaled by 1/sqrt(fan-in) when used.

    So every layer has the same dynamic range, and Adam the same effective step. `lr_factor` scales weights and bias once
    more: the layer then learns that much more slowly.

    Shapes: `(..., width_in)` to `(..., width_out)`.

    Implements: style-equalized
    """

    def __init__(self, width_in: int, width_out: int, bias: float = 0.0, lr_factor: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width_out, width_in) / lr_factor)
        self.bias = nn.Parameter(torch.full((width_out,), bias / lr_factor))
        self.scale, self.lr_factor = lr_factor / math.sqrt(width_in), lr_factor

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias * self.lr_factor)


class EqualizedConv(nn.Module):
    """A convolution that keeps the side, scaled like `EqualizedLinear`. Shapes: `(B, C_in, H, W)` to `(B, C_out, H, W)`."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 3):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(channels_out))
        self.scale = 1 / math.sqrt(channels_in * kernel**2)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, padding="same")


class MappingNetwork(nn.Sequential):
    """z to w: the code on the sphere of radius sqrt(d), then `depth` layers that learn 100 times more slowly.

    Shapes: `(B, latent_dim)` to `(B, style_dim)`.

    Implements: style-mapping
    """

    def __init__(self, latent_dim: int, style_dim: int, depth: int):
        layers: list[nn.Module] = [nn.RMSNorm(latent_dim, eps=1e-8, elementwise_affine=False)]
        for width in (latent_dim, *[style_dim] * (depth - 1)):
            layers += [EqualizedLinear(width, style_dim, lr_factor=0.01), Leaky()]
        super().__init__(*layers)


class AdaIN(nn.Module):
    """Adaptive instance normalisation: each channel of each image gets mean mu(w) and deviation |sigma(w)|.

    Shapes: maps `(B, C, H, W)` and styles `(B, style_dim)` to `(B, C, H, W)`.

    Implements: style-adain
    """

    def __init__(self, channels: int, style_dim: int):
        super().__init__()
        self.affine = EqualizedLinear(style_dim, 2 * channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        mu, sigma = self.affine(w)[:, :, None, None].chunk(2, 1)  # (B, C, 1, 1) each
        return (1 + sigma) * F.instance_norm(x, eps=1e-8) + mu  # the network gives sigma(w) - 1


class StyleLayer(nn.Module):
    """Upsampling where asked, a convolution (none for the first layer), noise, activation, AdaIN.

    Implements: style-synthesis
    """

    def __init__(self, channels_in: int | None, channels: int, style_dim: int, upsample: bool = False):
        super().__init__()
        self.upsample = upsample
        self.conv = None if channels_in is None else EqualizedConv(channels_in, channels)
        self.noise_scale = nn.Parameter(torch.zeros(channels, 1, 1))
        self.activation = Leaky()
        self.norm = AdaIN(channels, style_dim)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        if self.upsample:
            x = F.interpolate(x, scale_factor=2, mode="bilinear")
        if self.conv is not None:
            x = self.conv(x)
        return self.norm(self.activation(x + self.noise_scale * noise), w)


class StyleGenerator(nn.Module):
    """Styles and noise maps to images.

    Args:
        latent_dim, style_dim, mapping_depth: of the mapping network.
        channels, size: of the image.
        width: channels of the largest map; each smaller one has twice as many.

    Shapes: styles `(B, L, style_dim)` with L = `n_layers`, noise a list of `(B, 1, side, side)`, one a layer, to
    `(B, channels, size, size)` in [-1, 1].
    """

    def __init__(
        self, latent_dim: int, style_dim: int, mapping_depth: int, channels: int, size: int, width: int
    ):
        super().__init__()
        n = levels(size)
        self.mapping = MappingNetwork(latent_dim, style_dim, mapping_depth)
        inner, side = width * 2**n, size // 2**n
        self.constant = nn.Parameter(torch.randn(1, inner, side, side))
        self.layers = nn.ModuleList([StyleLayer(None, inner, style_dim), StyleLayer(inner, inner, style_dim)])
        self.sides = [side, side]
        for _ in range(n):
            side *= 2
            self.layers += [
                StyleLayer(inner, inner // 2, style_dim, upsample=True),
                StyleLayer(inner // 2, inner // 2, style_dim),
            ]
            self.sides += [side, side]
            inner //= 2
        self.to_image = EqualizedConv(inner, channels, kernel=1)

    @property
    def n_layers(self) -> int:
        """L, the number of styles an image takes."""
        return len(self.layers)

    def noise_maps(self, n: int, generator: torch.Generator | None = None) -> list[Tensor]:
        """Fresh noise for every layer."""
        like = self.constant
        return [
            torch.randn(n, 1, side, side, generator=generator, device=like.device, dtype=like.dtype)
            for side in self.sides
        ]

    def forward(self, styles: Tensor, noise: list[Tensor]) -> Tensor:
        x = self.constant.expand(len(styles), -1, -1, -1)
        for layer, w, eps in zip(self.layers, styles.unbind(1), noise, strict=True):
            x = layer(x, w, eps)
        return self.to_image(x).tanh()  # a departure: our paper is exactly -1, and only a bound reaches it


def minibatch_deviation(x: Tensor, group: int = 4) -> Tensor:
    """One more map: the deviation over the minibatch, averaged over channels and pixels, the same for a whole group.

    A generator that repeats itself gives itself away by it.

    Args:
        x: `(B, C, H, W)`. Groups have `group` images, those whose indices agree modulo B / group; the whole batch where B is
            no multiple.

    Returns:
        `(B, C + 1, H, W)`.

    Implements: style-minibatch-deviation
    """
    b, _, h, w = x.shape
    group = group if b % group == 0 else b
    grouped = x.view(group, b // group, *x.shape[1:])
    variance = (grouped - grouped.mean(0)).square().mean(0)
    deviation = (variance + 1e-8).sqrt().mean((1, 2, 3))  # (B / group,)
    return torch.cat([x, deviation.repeat(group).view(b, 1, 1, 1).expand(b, 1, h, w)], 1)


class StyleDiscriminator(nn.Module):
    """Convolutions and average pooling down to 4x4 or 7x7, the minibatch's deviation, two affine layers.

    Shapes: `(B, channels, size, size)` to logits `(B,)`.
    """

    def __init__(self, channels: int, size: int, width: int):
        super().__init__()
        n = levels(size)
        layers: list[nn.Module] = [EqualizedConv(channels, width, kernel=1), Leaky()]
        outer = width
        for _ in range(n):
            layers += [EqualizedConv(outer, 2 * outer), Leaky(), nn.AvgPool2d(2)]
            outer *= 2
        self.down = nn.Sequential(*layers)
        self.last = nn.Sequential(
            EqualizedConv(outer + 1, outer),
            Leaky(),
            nn.Flatten(),
            EqualizedLinear(outer * (size // 2**n) ** 2, outer),
            Leaky(),
            EqualizedLinear(outer, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.last(minibatch_deviation(self.down(x))).squeeze(1)

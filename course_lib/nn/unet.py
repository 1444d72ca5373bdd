"""The U-Net of diffusion models: an image and a time in, an image of the same size out.

On the way down, residual blocks at each resolution leave their maps behind; on the way up each block takes the matching map
back. Time is added inside every block, attention mixes the pixels of small maps. One class serves denoising diffusion,
score-based models and flow matching as it is, and with a latent code, which scales and shifts every normalised map, the
generator of a denoising diffusion GAN.

Sources: Ho et al. 2020, appendix B (`resblock="ddpm"`); Song et al. 2021, appendix H (NCSN++: `resblock="biggan"`, `fir`,
`rescale`, `progressive_input`); THESIS 6.4.7 with table 6.6 (`latent_dim`).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.nn.mlp import check_conditions, sinusoidal_embedding

RESBLOCKS = ("ddpm", "biggan")

# Ho et al.'s network for CIFAR-10: 35,746,307 weights.
DDPM_CIFAR10: dict[str, Any] = {
    "channels": 3,
    "size": 32,
    "width": 128,
    "multipliers": (1, 2, 2, 2),
    "blocks": 2,
    "attention": (16,),
    "dropout": 0.1,
}

# The generator of the denoising diffusion GAN for CIFAR-10 by the command of its released code: 48,432,515 weights. Table 6.6
# of the thesis prints a code of 256 numbers, a style of 512 and three mapping layers: those have 56,664,707. Its text replaces
# "all" normalisations by AdaGN: with attention and the last layer adaptive as well there are 49,022,339.
DDGAN_CIFAR10: dict[str, Any] = {
    **DDPM_CIFAR10,
    "dropout": 0.0,
    "latent_dim": 100,
    "style_dim": 256,
    "mapping_layers": 5,
    "resblock": "biggan",
    "fir": True,
    "rescale": True,
    "progressive_input": True,
}
# A binomial low-pass filter: it removes what halving the side would fold over.
FIR_TAPS = (1 / 8, 3 / 8, 3 / 8, 1 / 8)


def _filter(convolution: Callable[..., Tensor], x: Tensor, gain: float, stride: int, padding: int) -> Tensor:
    """The filter on every channel by itself, never in bfloat16, where a processor is slow at it."""
    full = x if x.dtype == torch.float64 else x.float()
    taps = torch.tensor(FIR_TAPS, dtype=full.dtype, device=x.device)
    kernel = (gain * torch.outer(taps, taps)).expand(x.shape[1], 1, 4, 4)
    with torch.autocast(x.device.type, enabled=False):
        return convolution(full, kernel, stride=stride, padding=padding, groups=x.shape[1]).to(x.dtype)


def fir_down(x: Tensor, stride: int = 2) -> Tensor:
    """A low-pass filter, then every second pixel; outside is 0.

    Args:
        x: `(B, C, H, W)`.
        stride: 1 filters alone, for a 3x3 convolution with stride 2 and no padding behind it: side H + 1.

    Returns:
        `(B, C, H/2, W/2)`.

    Source: Zhang 2019; Karras et al. 2020, the filter (1, 3, 3, 1).
    """
    return _filter(F.conv2d, x, gain=1.0, stride=stride, padding=3 - stride)


def fir_up(x: Tensor) -> Tensor:
    """Twice the side: zeros between the pixels, then the same filter, times 4. `(B, C, H, W)` to `(B, C, 2H, 2W)`."""
    return _filter(F.conv_transpose2d, x, gain=4.0, stride=2, padding=1)


def halve(x: Tensor, fir: bool) -> Tensor:
    """Half the side, by `fir_down` or by averaging squares of four pixels."""
    return fir_down(x) if fir else F.avg_pool2d(x, 2)


def double(x: Tensor, fir: bool) -> Tensor:
    """Twice the side, by `fir_up` or by repeating pixels."""
    return fir_up(x) if fir else F.interpolate(x, scale_factor=2.0, mode="nearest")


def join(x: Tensor, y: Tensor, rescale: bool) -> Tensor:
    """x + y; over sqrt(2), the sum of two independent maps of one variance keeps it."""
    return (x + y) / math.sqrt(2) if rescale else x + y


def pointwise(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1x1 convolution as one batched matrix product, which is faster on a processor.

    Shapes: `(B, C_in, H, W)` to `(B, C_out, H, W)`.
    """
    weight = convolution.weight.flatten(1).expand(len(x), -1, -1)  # (B, C_out, C_in)
    return torch.baddbmm(convolution.bias[:, None], weight, x.flatten(2)).unflatten(2, x.shape[2:])


class AdaGN(nn.GroupNorm):
    """Group normalisation whose scale and shift come from a style w: (1 + scale(w)) GN(x) + shift(w).

    Without `style_dim`, plain group normalisation with a learned scale and shift.

    Shapes: maps `(B, C, H, W)` and styles `(B, style_dim)` to `(B, C, H, W)`.

    Implements: ddgan-adagn
    """

    def __init__(self, groups: int, channels: int, style_dim: int | None = None):
        super().__init__(groups, channels, eps=1e-6, affine=style_dim is None)
        self.style = None if style_dim is None else nn.Linear(style_dim, 2 * channels)

    def forward(self, x: Tensor, w: Tensor | None = None) -> Tensor:
        normed = super().forward(x)
        if self.style is None:
            return normed
        scale, shift = self.style(w)[:, :, None, None].chunk(2, 1)  # (B, C, 1, 1) each
        return (1 + scale) * normed + shift


class SelfAttention(nn.Module):
    """Every pixel looks at every pixel of its image, and what it gathers is added to it.

    Shapes: `(B, C, H, W)` to itself.
    """

    def __init__(self, channels: int, groups: int, heads: int = 1, rescale: bool = False):
        super().__init__()
        self.heads, self.rescale = heads, rescale
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # (B, HW, C)
        qkv = self.qkv(tokens).unflatten(2, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, heads, HW, C/heads) each
        weights = (q / math.sqrt(q.shape[-1]) @ k.transpose(2, 3)).softmax(-1)  # (B, heads, HW, HW)
        gathered = (weights @ v).transpose(1, 2).flatten(2)  # (B, HW, C)
        return join(x, self.out(gathered).transpose(1, 2).reshape(x.shape), self.rescale)


class ResidualBlock(nn.Module):
    """Norm, SiLU, convolution, twice, with the time added in between; then attention where `heads` is not 0.

    Args:
        channels_in, channels_out, embed_dim: of the maps, and of the embedding of time and label.
        groups: of the normalisation.
        style_dim: of the style; None for plain normalisation.
        dropout: before the second convolution.
        heads: of attention; 0 for none.
        resample: "up" or "down" changes the side between the first SiLU and the first convolution, and in the shortcut
            (the block of BigGAN, Brock et al. 2019).
        fir, rescale: as in `UNet`.

    Shapes: maps `(B, channels_in, H, W)`, embedding `(B, embed_dim)` and style `(B, style_dim)` to
    `(B, channels_out, H', W')`.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        embed_dim: int,
        groups: int,
        style_dim: int | None = None,
        dropout: float = 0.0,
        heads: int = 0,
        resample: str | None = None,
        fir: bool = False,
        rescale: bool = False,
    ):
        super().__init__()
        self.resample = {None: None, "up": double, "down": halve}[resample]
        self.fir, self.rescale = fir, rescale
        self.norm1 = AdaGN(groups, channels_in, style_dim)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.time = nn.Linear(embed_dim, channels_out)
        self.norm2 = AdaGN(groups, channels_out, style_dim)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        same = channels_in == channels_out and resample is None
        self.shortcut = None if same else nn.Conv2d(channels_in, channels_out, 1)
        self.attention = SelfAttention(channels_out, groups, heads, rescale) if heads else None

    def forward(self, x: Tensor, embedding: Tensor, w: Tensor | None = None) -> Tensor:
        h = F.silu(self.norm1(x, w))
        if self.resample is not None:
            h, x = self.resample(h, self.fir), self.resample(x, self.fir)
        h = self.conv1(h) + self.time(embedding)[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h, w))))
        x = x if self.shortcut is None else pointwise(self.shortcut, x)
        x = join(x, h, self.rescale)
        return x if self.attention is None else self.attention(x)


class Downsample(nn.Module):
    """A 3x3 convolution with stride 2, behind the low-pass filter with `fir`. It stands where a residual block may stand.

    Shapes: `(B, channels_in, H, W)` to `(B, channels_out, H/2, W/2)`.
    """

    def __init__(self, channels_in: int, channels_out: int, fir: bool = False):
        super().__init__()
        self.fir = fir
        self.conv = nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=0 if fir else 1)

    def forward(self, x: Tensor, embedding: Tensor | None = None, w: Tensor | None = None) -> Tensor:
        return self.conv(fir_down(x, stride=1) if self.fir else x)


class Upsample(nn.Module):
    """Twice the side, then a 3x3 convolution. It stands where a residual block may stand.

    Shapes: `(B, channels, H, W)` to `(B, channels, 2H, 2W)`.
    """

    def __init__(self, channels: int, fir: bool = False):
        super().__init__()
        self.fir = fir
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, embedding: Tensor | None = None, w: Tensor | None = None) -> Tensor:
        return self.conv(double(x, self.fir))


class UNet(nn.Module):
    """Image and time to image.

    Args:
        channels, size: of the image.
        width: channels at full size, a multiple of 4; `multipliers` of it at each halving of the side.
        blocks: residual blocks a resolution on the way down; one more on the way up.
        attention: sides (in pixels) at which blocks attend; the middle always does.
        out_channels: of the output; as many as `channels` where None (twice as many for a learned variance).
        dropout: in every residual block.
        classes: number of labels; label `classes` means "no label", and so does leaving y out.
        latent_dim: of a code z, which `mapping_layers` affine maps turn into a style of `style_dim` numbers for every AdaGN.
        resblock: "ddpm" (convolutions change the side, attention after every block) or "biggan" (residual blocks change the
            side; on the way up, attention after the last block of a resolution only).
        fir: low-pass filter wherever the side changes.
        rescale: divide every sum of two paths by sqrt(2).
        progressive_input: feed the image, shrunk by a learned convolution, to every resolution on the way down.
        heads: of attention.

    Shapes: images `(B, channels, size, size)`, times `(B,)`, labels `(B,)` int64, codes `(B, latent_dim)` to
    `(B, out_channels, size, size)`. Images in [-1, 1]; times as in `sinusoidal_embedding`. The output has no bound and starts
    at 0: the last convolution is 0 at the start, and so is the last layer of every residual branch.

    Raises:
        ValueError: sizes that do not fit one another, or a condition that the network was not built for.
    """

    def __init__(
        self,
        channels: int = 1,
        size: int = 28,
        width: int = 32,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int = 2,
        attention: Sequence[int] = (14,),
        out_channels: int | None = None,
        dropout: float = 0.0,
        classes: int | None = None,
        latent_dim: int | None = None,
        style_dim: int = 128,
        mapping_layers: int = 3,
        resblock: str = "ddpm",
        fir: bool = False,
        rescale: bool = False,
        progressive_input: bool = False,
        heads: int = 1,
    ):
        super().__init__()
        levels = len(multipliers)
        sides = [size // 2**level for level in range(levels)]
        groups = min(32, width // 4)
        _check(size, width, multipliers, attention, sides, resblock, groups, heads)
        self.shape, self.classes, self.latent_dim = (channels, size, size), classes, latent_dim
        self.width, self.rescale = width, rescale
        biggan, embed_dim = resblock == "biggan", 4 * width

        def block(channels_in: int, channels_out: int, attend: bool = False, resample: str | None = None):
            return ResidualBlock(
                channels_in,
                channels_out,
                embed_dim,
                groups,
                None if latent_dim is None else style_dim,
                dropout,
                heads if attend else 0,
                resample,
                fir,
                rescale,
            )

        self.time = nn.Sequential(nn.Linear(width, embed_dim), nn.SiLU(), nn.Linear(embed_dim, embed_dim))
        self.label = None if classes is None else nn.Embedding(classes + 1, embed_dim)
        self.mapping = None
        if latent_dim is not None:
            layers: list[nn.Module] = [nn.RMSNorm(latent_dim, eps=1e-8, elementwise_affine=False)]
            for width_in in (latent_dim, *[style_dim] * (mapping_layers - 1)):
                layers += [nn.Linear(width_in, style_dim), nn.SiLU()]
            self.mapping = nn.Sequential(*layers)

        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.down, self.shrink, self.pyramid = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        inner, outer = width, channels
        skips = [inner]
        for level, (multiplier, side) in enumerate(zip(multipliers, sides, strict=True)):
            stage = nn.ModuleList()
            for _ in range(blocks):
                stage.append(block(inner, width * multiplier, side in attention))
                inner = width * multiplier
                skips.append(inner)
            self.down.append(stage)
            if level < levels - 1:
                self.shrink.append(
                    block(inner, inner, resample="down") if biggan else Downsample(inner, inner, fir)
                )
                if progressive_input:
                    self.pyramid.append(Downsample(outer, inner, fir))
                    outer = inner
                skips.append(inner)

        self.middle = nn.ModuleList([block(inner, inner, True), block(inner, inner)])

        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(levels)):
            stage = nn.ModuleList()
            for i in range(blocks + 1):
                attend = sides[level] in attention and (not biggan or i == blocks)
                stage.append(block(inner + skips.pop(), width * multipliers[level], attend))
                inner = width * multipliers[level]
            self.up.append(stage)
            if level:
                self.grow.append(block(inner, inner, resample="up") if biggan else Upsample(inner, fir))

        self.norm = nn.GroupNorm(groups, inner, eps=1e-6)
        self.last = nn.Conv2d(inner, out_channels or channels, 3, padding=1)
        self._initialise()

    def _initialise(self) -> None:
        """Glorot's uniform weights and zero biases; zero for whatever ends a residual branch, and for the last convolution."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, ResidualBlock):
                nn.init.zeros_(module.conv2.weight)
            if isinstance(module, SelfAttention):
                nn.init.zeros_(module.out.weight)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None, z: Tensor | None = None) -> Tensor:
        if x.shape[1:] != self.shape:
            raise ValueError(
                f"images must have shape (B, {', '.join(map(str, self.shape))}); got {tuple(x.shape)}"
            )
        check_conditions(x, t, y, z, self.classes, self.latent_dim)
        embedding = self.time(sinusoidal_embedding(t, self.width).to(x.dtype))  # (B, 4 width)
        if self.label is not None:
            embedding = embedding + self.label(
                torch.full_like(t, self.classes, dtype=torch.int64) if y is None else y
            )
        embedding = F.silu(embedding)
        w = None if z is None else self.mapping(z)  # (B, style_dim)

        h = self.first(x)  # (B, width, H, W)
        skips, pyramid = [h], x
        for level, stage in enumerate(self.down):
            for block in stage:
                h = block(h, embedding, w)
                skips.append(h)
            if level < len(self.shrink):
                h = self.shrink[level](h, embedding, w)  # half the side
                if self.pyramid:
                    pyramid = h = join(self.pyramid[level](pyramid), h, self.rescale)
                skips.append(h)
        for block in self.middle:
            h = block(h, embedding, w)
        for level, stage in enumerate(self.up):
            for block in stage:
                h = block(torch.cat([h, skips.pop()], 1), embedding, w)
            if level < len(self.grow):
                h = self.grow[level](h, embedding, w)  # twice the side
        return self.last(F.silu(self.norm(h))).to(x.dtype)  # full precision again under autocast


def _check(size, width, multipliers, attention, sides, resblock, groups, heads) -> None:
    if resblock not in RESBLOCKS:
        raise ValueError(f"resblock={resblock!r}: expected one of {', '.join(RESBLOCKS)}")
    if width % 4 or width < 4 or width % groups:
        raise ValueError(
            f"width must be a multiple of 4, and of 32 from 128 on (group normalisation); got {width}"
        )
    if size % 2 ** (len(multipliers) - 1):
        raise ValueError(
            f"the side must halve {len(multipliers) - 1} times for {len(multipliers)} multipliers; got size={size}"
        )
    if set(attention) - set(sides):
        raise ValueError(f"attention={tuple(attention)}: the sides of this network are {sides}")
    if any(width * m % heads for m in multipliers):
        raise ValueError(f"heads={heads} must divide the channels {[width * m for m in multipliers]}")

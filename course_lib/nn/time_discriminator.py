"""Discriminators of one denoising step: is x_{t-1} the noisy data's or the generator's, given x_t and t?

`TimeDiscriminator` is the network of the denoising diffusion GAN for small images: residual blocks that are told the time,
halving behind a low-pass filter, the minibatch's deviation as one more map, a mean over all pixels. `PointDiscriminator` is its
counterpart for points.

Sources: THESIS 6.4.7 with table 6.7, and "Toy data and StackedMNIST" there; Xiao et al. 2022's released code, where thesis and
code differ.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.nn.mlp import MLP, sinusoidal_embedding
from course_lib.nn.style import minibatch_deviation
from course_lib.nn.unet import halve

# The discriminator of the released code for CIFAR-10: 12,741,633 weights, four residual blocks. Table 6.7 of the thesis prints
# five; the fifth, 512 channels wide, would take 5.1 M more, and the 4x4 map to 2x2.
DDGAN_CIFAR10: dict[str, Any] = {
    "channels": 3,
    "size": 32,
    "width": 128,
    "multipliers": (1, 2, 4, 4),
    "time_dim": 256,
}


class TimeBlock(nn.Module):
    """Leaky ReLU, convolution, time, leaky ReLU, half the side where asked, convolution; its sum with a 1x1 convolution of its
    input, over sqrt(2). No normalisation: the discriminator is to see the scale of its input.

    Shapes: maps `(B, channels_in, H, W)`, embedding `(B, time_dim)` to `(B, channels_out, H', W')`.
    """

    def __init__(self, channels_in: int, channels_out: int, time_dim: int, down: bool, fir: bool):
        super().__init__()
        self.down, self.fir = down, fir
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.time = nn.Linear(time_dim, channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1, bias=False)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv1(F.leaky_relu(x, 0.2)) + self.time(embedding)[:, :, None, None]
        h = F.leaky_relu(h, 0.2)
        if self.down:
            h, x = halve(h, self.fir), halve(x, self.fir)
        return (self.conv2(h) + self.shortcut(x)) / math.sqrt(2)


class TimeDiscriminator(nn.Module):
    """x_{t-1}, x_t and t to a logit, high where x_{t-1} looks like noised data.

    Args:
        channels, size: of the images.
        width: channels at full size; `multipliers` of it in each residual block. The first block keeps the side, each further
            one halves it.
        time_dim: of the sinusoidal embedding of t and of the two layers behind it.
        fir: halve behind a low-pass filter; otherwise by averaging.

    Shapes: `x_prev` and `x_t` `(B, channels, size, size)`, times `(B,)` to `(B,)`. Times as in `sinusoidal_embedding`. A
    logit depends on the whole group of four images that `minibatch_deviation` looks at.

    Raises:
        ValueError: a side that does not halve often enough, an odd `time_dim`, or inputs that do not fit.
    """

    def __init__(
        self,
        channels: int = 1,
        size: int = 28,
        width: int = 32,
        multipliers: Sequence[int] = (1, 2, 4),
        time_dim: int = 64,
        fir: bool = True,
    ):
        super().__init__()
        if size % 2 ** (len(multipliers) - 1):
            raise ValueError(
                f"the side must halve {len(multipliers) - 1} times for {len(multipliers)} multipliers; got size={size}"
            )
        self.shape, self.time_dim = (channels, size, size), time_dim
        self.time = nn.Sequential(
            nn.Linear(time_dim, time_dim),
            nn.LeakyReLU(0.2),
            nn.Linear(time_dim, time_dim),
            nn.LeakyReLU(0.2),
        )
        inner = width * multipliers[0]
        self.first = nn.Conv2d(2 * channels, inner, 1)
        self.blocks = nn.ModuleList()
        for i, multiplier in enumerate(multipliers):
            self.blocks.append(TimeBlock(inner, width * multiplier, time_dim, i > 0, fir))
            inner = width * multiplier
        self.last = nn.Conv2d(inner + 1, inner, 3, padding=1)
        self.head = nn.Linear(inner, 1)
        self._initialise()

    def _initialise(self) -> None:
        """He's normal weights and zero biases. The released code starts with zeros behind each branch and at the end, and sums
        over the pixels: such a network is linear at first, and takes a little longer to tell real from fake.
        """
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, 0.2)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x_prev: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        _check(x_prev, x_t, t, self.shape)
        embedding = self.time(sinusoidal_embedding(t, self.time_dim).to(x_t.dtype))  # (B, time_dim)
        h = self.first(torch.cat([x_prev, x_t], 1))  # (B, width, H, W)
        for block in self.blocks:
            h = block(h, embedding)
        h = F.leaky_relu(self.last(minibatch_deviation(h)), 0.2)
        return self.head(h.mean((2, 3))).squeeze(1).to(x_t.dtype)  # full precision again under autocast


class PointDiscriminator(nn.Module):
    """x_{t-1}, x_t and t of points to a logit: all three concatenated, then an MLP with leaky ReLUs.

    Args:
        dim: of the points.
        width, depth: of the hidden layers.

    Shapes: `x_prev` and `x_t` `(B, dim)`, times `(B,)` to `(B,)`. Times as in `sinusoidal_embedding`.

    Raises:
        ValueError: inputs that do not fit.
    """

    TIME_DIM = 64

    def __init__(self, dim: int, width: int = 512, depth: int = 3):
        super().__init__()
        self.shape = (dim,)
        self.layers = MLP((2 * dim + self.TIME_DIM, *[width] * depth, 1), partial(nn.LeakyReLU, 0.2))

    def forward(self, x_prev: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        _check(x_prev, x_t, t, self.shape)
        told = sinusoidal_embedding(t, self.TIME_DIM).to(x_t.dtype)  # (B, 64)
        return self.layers(torch.cat([x_prev, x_t, told], 1)).squeeze(1)


def _check(x_prev: Tensor, x_t: Tensor, t: Tensor, shape: tuple[int, ...]) -> None:
    if x_t.shape[1:] != shape or x_prev.shape != x_t.shape:
        raise ValueError(
            f"x_prev and x_t must both have shape (B, {', '.join(map(str, shape))}); got {tuple(x_prev.shape)} and "
            f"{tuple(x_t.shape)}"
        )
    if t.shape != x_t.shape[:1]:
        raise ValueError(f"t must have one entry a sample, shape ({len(x_t)},); got {tuple(t.shape)}")

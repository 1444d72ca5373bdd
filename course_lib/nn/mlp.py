"""The multi-layer perceptron, and one that is told the time."""

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

TIME_SCALE = 1000.0  # from a time in (0, 1] to the step numbers that `sinusoidal_embedding` suits


class MLP(nn.Sequential):
    """Affine maps with an activation between them, none after the last.

    Args:
        sizes: widths from input to output, for example `(784, 512, 512, 40)`; two entries make one affine map.
        activation: class of the activation module (or anything that makes one).

    Shapes: `(B, sizes[0])` to `(B, sizes[-1])`.
    """

    def __init__(self, sizes: Sequence[int], activation: Callable[[], nn.Module] = nn.ReLU):
        if len(sizes) < 2:
            raise ValueError(f"an MLP needs at least an input and an output width; got sizes={tuple(sizes)}")
        layers: list[nn.Module] = []
        for width_in, width_out in itertools.pairwise(sizes):
            layers += [nn.Linear(width_in, width_out), activation()]
        super().__init__(*layers[:-1])


def sinusoidal_embedding(t: Tensor, dim: int) -> Tensor:
    """Sines and cosines of t at `dim / 2` frequencies, geometric from 1 down to 1/10,000.

    Args:
        t: `(B,)`, of any size and type: the frequencies suit steps 0 ... 1000, so scale a time in (0, 1] by 1000 first.
        dim: even, at least 4.

    Returns:
        `(B, dim)`, sines before cosines, float32 (float64 for a float64 t).

    Source: Vaswani et al. 2017, section 3.5, with the frequencies and the order of Ho et al. 2020's code.
    """
    if dim % 2 or dim < 4:
        raise ValueError(f"a sinusoidal embedding has an even dimension of at least 4; got {dim}")
    t = t if t.dtype == torch.float64 else t.float()
    steps = torch.arange(dim // 2, dtype=t.dtype, device=t.device)
    angles = t[:, None] * torch.exp(-math.log(10_000) * steps / (dim // 2 - 1))  # (B, dim / 2)
    return torch.cat([angles.sin(), angles.cos()], 1)


def check_conditions(
    x: Tensor, t: Tensor, y: Tensor | None, z: Tensor | None, classes: int | None, latent_dim: int | None
) -> None:
    """Is a network called with the conditions that it was built for?

    Raises:
        ValueError: t is no `(B,)`; y without `classes`; z without `latent_dim`, missing, or of another shape.
    """
    if t.shape != x.shape[:1]:
        raise ValueError(f"t must have one entry a sample, shape ({len(x)},); got {tuple(t.shape)}")
    if y is not None and classes is None:
        raise ValueError("this network takes no labels: build it with classes=K, or leave y out")
    if y is not None and y.shape != x.shape[:1]:
        raise ValueError(f"y must have one label a sample, shape ({len(x)},); got {tuple(y.shape)}")
    if (z is None) != (latent_dim is None):
        raise ValueError(
            "this network takes no code: build it with latent_dim=d, or leave z out"
            if latent_dim is None
            else f"this network needs a code z of shape ({len(x)}, {latent_dim})"
        )
    if z is not None and z.shape != (len(x), latent_dim):
        raise ValueError(f"z must have shape ({len(x)}, {latent_dim}); got {tuple(z.shape)}")


class TimeMLP(nn.Module):
    """A network of points and time, called like `UNet`: everything it is told is concatenated at its input.

    Args:
        dim: of the points.
        width, depth: of the hidden layers.
        out_dim: of the output; as many as `dim` where None.
        latent_dim: of a code z that it takes as well.
        classes: number of labels; label `classes` means "no label".
        activation: class of the activation module.

    Shapes: points `(B, dim)`, times `(B,)`, labels `(B,)` int64, codes `(B, latent_dim)` to `(B, out_dim)`. Times as in
    `sinusoidal_embedding`.

    Raises:
        ValueError: a shape that does not fit, or a condition that the network was not built for.
    """

    TIME_DIM = 64

    def __init__(
        self,
        dim: int,
        width: int = 128,
        depth: int = 3,
        out_dim: int | None = None,
        latent_dim: int | None = None,
        classes: int | None = None,
        activation: Callable[[], nn.Module] = nn.SiLU,
    ):
        super().__init__()
        self.dim, self.latent_dim, self.classes = dim, latent_dim, classes
        self.label = None if classes is None else nn.Embedding(classes + 1, self.TIME_DIM)
        sizes = (dim + self.TIME_DIM + (latent_dim or 0), *[width] * depth, out_dim or dim)
        self.layers = MLP(sizes, activation)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None, z: Tensor | None = None) -> Tensor:
        if x.shape[1:] != (self.dim,):
            raise ValueError(f"points must have shape (B, {self.dim}); got {tuple(x.shape)}")
        check_conditions(x, t, y, z, self.classes, self.latent_dim)
        told = sinusoidal_embedding(t, self.TIME_DIM).to(x.dtype)  # (B, 64)
        if self.label is not None:
            told = told + self.label(torch.full_like(t, self.classes, dtype=torch.int64) if y is None else y)
        return self.layers(torch.cat([x, told] if z is None else [x, told, z], 1))

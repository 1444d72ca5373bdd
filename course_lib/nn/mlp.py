"""The multi-layer perceptron."""

import itertools
from collections.abc import Sequence

from torch import nn


class MLP(nn.Sequential):
    """Affine maps with an activation between them, none after the last.

    Args:
        sizes: widths from input to output, for example `(784, 512, 512, 40)`; two entries make one affine map.
        activation: class of the activation module.

    Shapes: `(B, sizes[0])` to `(B, sizes[-1])`.
    """

    def __init__(self, sizes: Sequence[int], activation: type[nn.Module] = nn.ReLU):
        if len(sizes) < 2:
            raise ValueError(f"an MLP needs at least an input and an output width; got sizes={tuple(sizes)}")
        layers: list[nn.Module] = []
        for width_in, width_out in itertools.pairwise(sizes):
            layers += [nn.Linear(width_in, width_out), activation()]
        super().__init__(*layers[:-1])

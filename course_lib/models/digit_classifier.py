"""The digit classifier behind `features="lenet"`: cross-entropy on slightly moved MNIST digits.

A ruler rather than a generative model; it follows the training contract so that the one loop trains it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.nn import LeNet


class DigitClassifier(LeNet):
    """`course_lib.nn.LeNet` with its training objective."""

    def loss(self, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Cross-entropy in nats on images turned by up to 0.15 rad, scaled by up to 10 % and moved by up to 2 pixels."""
        u = 2 * torch.rand(4, len(x), generator=generator, device=x.device) - 1  # uniform on [-1, 1]
        angle, scale, shift = 0.15 * u[0], 1 + 0.1 * u[1], u[2:] * 2 / 14
        cos, sin = scale * angle.cos(), scale * angle.sin()
        rows = torch.stack([torch.stack([cos, -sin, shift[0]], -1), torch.stack([sin, cos, shift[1]], -1)], 1)
        grid = F.affine_grid(rows, list(x.shape), align_corners=False)  # (B, 28, 28, 2)
        return F.cross_entropy(self(F.grid_sample(x, grid, align_corners=False)), y)

    @torch.no_grad()
    def accuracy(self, x: Tensor, y: Tensor, batch: int = 1000) -> float:
        """Share of images whose most likely class is their label."""
        batches = zip(x.split(batch), y.split(batch), strict=True)
        return sum((self(images).argmax(1) == labels).sum().item() for images, labels in batches) / len(x)


def build(**config) -> DigitClassifier:
    """A fresh classifier; options of `course_lib.nn.LeNet`."""
    return DigitClassifier(**config)

"""A LeNet-like digit classifier whose last hidden layer is the course's feature space for 28x28 grey images.

Trained once by its recipe on MNIST and frozen in `pretrained/`, it is to our offline FID what the Inception network is to
the published one: the ruler, not a model of the course. It still follows the model contract (`loss`), so `fit` trains it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LeNet(nn.Module):
    """Two convolutional blocks and two affine layers.

    Args:
        width: channels of the first block; the second has twice as many.
        features: length of the feature vector (the penultimate layer, after its ReLU).
        classes: number of labels.
        dropout: probability of dropping a feature while training.

    Shapes: images `(B, 1, 28, 28)` in [0, 1]; `features` `(B, features)`; `forward` gives logits `(B, classes)`.

    Raises:
        ValueError: images of another shape, or with values outside [0, 1].
    """

    def __init__(self, width: int = 16, features: int = 64, classes: int = 10, dropout: float = 0.4):
        super().__init__()
        self.blocks = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (B, w, 14, 14)
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (B, 2w, 7, 7)
            nn.Flatten(),
        )
        self.embed = nn.Linear(2 * width * 49, features)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, classes)

    def features(self, x: Tensor) -> Tensor:
        """The feature vector `(B, features)` that the metrics use."""
        if x.ndim != 4 or x.shape[1:] != (1, 28, 28):
            raise ValueError(f"LeNet reads grey images (B, 1, 28, 28); got {tuple(x.shape)}")
        return F.relu(self.embed(self.blocks(x)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(x)))

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
        """Share of images whose most likely class is their label, in eval mode."""
        training = self.training
        self.eval()
        hits = sum(
            int((self(a).argmax(1) == b).sum()) for a, b in zip(x.split(batch), y.split(batch), strict=True)
        )
        self.train(training)
        return hits / len(x)

"""A LeNet-like digit classifier whose last hidden layer is the course's feature space for 28x28 grey images.

Trained once on MNIST (`models.digit_classifier`) and frozen in `pretrained/`, it is to our offline FID what the Inception
network is to the published one.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class LeNet(nn.Module):
    """Three convolutional and two affine layers.

    Args:
        width: channels of the first layer; the others have twice as many.
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
            nn.Conv2d(1, width, 5, padding=2),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (B, w, 14, 14)
            nn.Conv2d(width, 2 * width, 5, padding=2),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (B, 2w, 7, 7)
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
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

"""A small convolutional encoder and its mirror image, for pictures of 28x28 or 32x32.

The encoder halves the side twice (28 -> 14 -> 7, 32 -> 16 -> 8) and ends in an affine layer; the decoder goes back by
transposed convolutions. Neither has batch norm: an autoencoder at this size trains well without, and an energy or a flow
built on top would suffer from it.
"""

from torch import Tensor, nn


def _check_side(size: int) -> None:
    if size % 4:
        raise ValueError(f"the image side must be a multiple of 4 (it is halved twice); got {size}")


class ConvEncoder(nn.Module):
    """Image to vector.

    Args:
        channels: image channels C.
        size: image side in pixels, a multiple of 4.
        out_features: length of the output vector.
        width: channels after the first convolution; the second has twice as many.
        hidden: width of the affine layer before the output.

    Shapes: `(B, C, size, size)` to `(B, out_features)`.
    """

    def __init__(self, channels: int, size: int, out_features: int, width: int = 32, hidden: int = 128):
        super().__init__()
        _check_side(size)
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 4, stride=2, padding=1),  # (B, w, size/2, size/2)
            nn.SiLU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),  # (B, 2w, size/4, size/4)
            nn.SiLU(),
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(2 * width * (size // 4) ** 2, hidden),
            nn.SiLU(),
            nn.Linear(hidden, out_features),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class ConvDecoder(nn.Module):
    """Vector to image: the mirror of `ConvEncoder`.

    Args:
        latent_dim: length of the input vector.
        out_channels: channels of the output (several per image channel where the pixel law has several parameters).
        size, width, hidden: as in `ConvEncoder`.

    Shapes: `(B, latent_dim)` to `(B, out_channels, size, size)`, unbounded.
    """

    def __init__(self, latent_dim: int, out_channels: int, size: int, width: int = 32, hidden: int = 128):
        super().__init__()
        _check_side(size)
        self.stem = nn.Sequential(
            nn.Linear(latent_dim, hidden),
            nn.SiLU(),
            nn.Linear(hidden, 2 * width * (size // 4) ** 2),
            nn.SiLU(),
            nn.Unflatten(1, (2 * width, size // 4, size // 4)),
        )
        self.features = nn.Sequential(
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),  # (B, w, size/2, size/2)
            nn.SiLU(),
            nn.ConvTranspose2d(width, out_channels, 4, stride=2, padding=1),  # (B, out_channels, size, size)
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.features(self.stem(z))

"""A GAN that draws the class you ask for: the label goes into the generator, and into the discriminator as a projection.

The generator reads the noise beside an embedding of the label. The discriminator adds to its logit the inner product of
the image's features with a vector of the label: the form that the best discriminator has where each class is log-linear in the
features. A discriminator that does not see the label leaves the generator free to ignore it.

| symbol | here | shape | meaning |
|---|---|---|---|
| z, y | `z`, `y` | (B, d), (B,) int64 | noise; label in 0..K-1 |
| e_y | `embed(y)` | (B, e) | the generator's vector of the label |
| phi(x) | `body.features(x)` | (B, F) | features of the image |
| u(phi) | `body.head(phi)` | (B,) | what is said of the image alone |
| v_y, c_y | `project`, `offset` | (K, F), (K,) | the discriminator's vector and number of a label |

Sources: Mirza & Osindero 2014 (conditioning); Miyato & Koyama 2018, equations 3-5 (projection); Brock et al. 2019, section 3
(truncated noise).
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from course_lib.models.gan import ImplicitModel, discriminator_loss, generator_loss, judged_rightly, who_lost
from course_lib.nn import DCGANDiscriminator, DCGANGenerator


def truncated_noise(n: int, dim: int, threshold: float, generator: torch.Generator | None = None) -> Tensor:
    """Standard normal numbers that lie in [-threshold, threshold], `(n, dim)`: the quantile function of uniform draws.

    Implements: style-truncated-normal
    """
    if threshold <= 0:
        raise ValueError(f"the threshold must be positive; got {threshold}")
    tail = 0.5 * math.erfc(threshold / math.sqrt(2))  # mass below -threshold
    u = torch.rand(n, dim, generator=generator, dtype=torch.float64, device=generator and generator.device)
    return torch.special.ndtri(tail + (1 - 2 * tail) * u).float()


class ProjectionDiscriminator(nn.Module):
    """Logits of images with their labels.

    Args:
        body: network with `features` and an affine `head`, such as `DCGANDiscriminator`.
        classes: number of labels K.
        projection: False leaves the label out.

    Shapes: images `(B, C, H, W)` in [-1, 1] and labels `(B,)` to `(B,)`.

    Implements: style-projection
    """

    def __init__(self, body: nn.Module, classes: int, projection: bool = True):
        super().__init__()
        self.body = body
        width = body.head.in_features
        self.project = nn.Embedding(classes, width) if projection else None
        self.offset = nn.Embedding(classes, 1) if projection else None
        if projection:
            nn.init.normal_(self.project.weight, std=0.02)
            nn.init.zeros_(self.offset.weight)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        phi = self.body.features(x)  # (B, F)
        logits = self.body.head(phi).squeeze(1)
        if self.project is not None:
            logits = logits + (self.project(y) * phi).sum(1) + self.offset(y).squeeze(1)
        return logits


class ConditionalGAN(ImplicitModel):
    """The non-saturating game on images with their labels.

    Args:
        generator: network from `(B, latent_dim + label_dim)` to images in [-1, 1].
        discriminator: network of images and labels.
        latent_dim, label_dim: lengths of z and of e_y.
        classes: number of labels K.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        latent_dim: int,
        label_dim: int,
        classes: int,
    ):
        super().__init__(generator, latent_dim)
        self.discriminator, self.classes = discriminator, classes
        self.embed = nn.Embedding(classes, label_dim)
        self.monitors: dict[str, Tensor] = {}

    def parameter_groups(self) -> dict[str, Iterator[nn.Parameter]]:
        drawing = [*self.generator.parameters(), *self.embed.parameters()]
        return {"discriminator": self.discriminator.parameters(), "generator": iter(drawing)}

    def _draw(self, y: Tensor, generator: torch.Generator | None) -> Tensor:
        return self.generator(torch.cat([self.noise(len(y), generator), self.embed(y)], 1))

    def training_step(
        self, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None
    ) -> Iterator[tuple[str, Tensor]]:
        """One step of each network; the samples carry the labels of the batch, so both sides have the same shares of classes.

        Implements: style-conditional-value
        """
        x = self.inward(x)
        fake = self._draw(y, generator).detach()
        logits_real, logits_fake = self.discriminator(x, y), self.discriminator(fake, y)
        self.monitors = {"discriminator_accuracy": judged_rightly(logits_real, logits_fake)}
        yield "discriminator", discriminator_loss(logits_real, logits_fake)
        yield "generator", generator_loss(self.discriminator(self._draw(y, generator), y))

    def likely_cause(self, monitors: dict[str, float]) -> str:
        """What probably went wrong, from the discriminator's accuracy before the end."""
        return who_lost(monitors["discriminator_accuracy"], "bound it with spectral normalisation")

    def decode(self, z: Tensor, y: Tensor) -> Tensor:
        """Images in [0, 1] of noise `(B, d)` and labels `(B,)`.

        Raises:
            ValueError: labels that are no int64 in 0..K-1 (their range is looked at on the CPU only).
        """
        outside = y.device.type == "cpu" and y.numel() and (y.min() < 0 or y.max() >= self.classes)
        if y.dtype != torch.int64 or y.shape != z.shape[:1] or outside:
            raise ValueError(
                f"labels must be int64 ({len(z)},) in 0..{self.classes - 1}; got {y.dtype} {tuple(y.shape)}"
            )
        return (self.generator(torch.cat([z, self.embed(y)], 1)) + 1) / 2

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """`n` images of the labels `y` `(n,)`; of uniformly drawn ones if left out."""
        z = self.noise(n, generator)
        if y is None:
            y = torch.randint(self.classes, (n,), generator=generator, device=z.device)
        return self.decode(z, y)


def build(
    image_shape: Sequence[int] = (1, 28, 28),
    classes: int = 10,
    latent_dim: int = 64,
    label_dim: int = 16,
    width: int = 32,
    projection: bool = True,
) -> ConditionalGAN:
    """DCGAN networks for square images with labels."""
    channels, size, _ = image_shape
    body = DCGANDiscriminator(channels, size, width)
    return ConditionalGAN(
        DCGANGenerator(latent_dim + label_dim, channels, size, width),
        ProjectionDiscriminator(body, classes, projection),
        latent_dim,
        label_dim,
        classes,
    )

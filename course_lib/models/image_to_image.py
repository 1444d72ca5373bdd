"""From one image to another: a U-Net draws, a discriminator judges patches, and an L1 term keeps the drawing on its target.

The U-Net halves the side twice and comes back up; at each side the way up sees the maps of the way down, so that edges need
not pass through the narrow middle. The discriminator sees condition and image together and gives one logit for each patch. The L1
term alone asks for the conditional median of each pixel; the patches ask for texture that could be real.

| symbol | here | shape | meaning |
|---|---|---|---|
| c, x | `condition`, `target` | (B, 1, H, W) each | what is given; what is wanted |
| z | `z` | (B, d, H/4, W/4) | noise in the U-Net's middle |
| G(c, z) | `generator(condition, z)` | (B, 1, H, W) | the drawing |
| v(c, x) | `discriminator(condition, x)` | (B, h, w) | one logit a patch; not asked where `adversarial` is 0 |
| lambda | `l1` | | weight of the L1 term, a mean over pixels |

Data are pairs stacked as two channels, as `course_lib.data.edge_pairs` makes them: condition first.

Sources: Isola et al. 2017, equations 3-4, section 3.2 and appendix 6.1; Ronneberger et al. 2015 (U-Net).
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from course_lib.models.gan import ImplicitModel, discriminator_loss, generator_loss, judged_rightly, who_lost


def receptive_field(kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Side in pixels of the patch that one output of a chain of convolutions sees.

    Implements: style-receptive-field
    """
    field, step = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        field += (kernel - 1) * step
        step *= stride
    return field


def _block(layer: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(layer, nn.GroupNorm(1, channels), nn.LeakyReLU(0.2))


class UNet(nn.Module):
    """Two halvings down, noise in the middle, two doublings up, each joined with the maps of the same side.

    Args:
        width: channels at full size; doubled at each halving.
        noise_dim: noise maps in the middle.
        skip: False cuts the joins (they then carry zeros).

    Shapes: condition `(B, 1, H, W)` and noise `(B, noise_dim, H/4, W/4)` to `(B, 1, H, W)` in [-1, 1].
    """

    def __init__(self, width: int, noise_dim: int, skip: bool = True):
        super().__init__()
        w = width
        self.skip = skip
        self.down_full = _block(nn.Conv2d(1, w, 3, padding=1), w)
        self.down_half = _block(nn.Conv2d(w, 2 * w, 4, 2, 1), 2 * w)
        self.down_quarter = _block(nn.Conv2d(2 * w, 4 * w, 4, 2, 1), 4 * w)
        self.middle = _block(nn.Conv2d(4 * w + noise_dim, 4 * w, 3, padding=1), 4 * w)
        self.up_half = _block(nn.ConvTranspose2d(4 * w, 2 * w, 4, 2, 1), 2 * w)
        self.up_full = _block(nn.ConvTranspose2d(4 * w, w, 4, 2, 1), w)
        self.last = nn.Conv2d(2 * w, 1, 3, padding=1)

    def forward(self, condition: Tensor, z: Tensor) -> Tensor:
        full = self.down_full(condition)  # (B, w, H, W)
        half = self.down_half(full)  # (B, 2w, H/2, W/2)
        x = self.middle(torch.cat([self.down_quarter(half), z], 1))  # (B, 4w, H/4, W/4)
        x = torch.cat([self.up_half(x), half * self.skip], 1)  # (B, 4w, H/2, W/2)
        x = torch.cat([self.up_full(x), full * self.skip], 1)  # (B, 2w, H, W)
        return self.last(x).tanh()


class PatchDiscriminator(nn.Module):
    """Condition and image to a map of logits: convolutions 4/2, 4/2, 3/1 (kernel/stride).

    The convolutions of one logit see an 18x18 patch; the norm between them sees the statistics of the whole map.

    Shapes: two `(B, 1, H, W)` to `(B, H/4, W/4)`.
    """

    KERNELS, STRIDES = (4, 4, 3), (2, 2, 1)

    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            _block(nn.Conv2d(width, 2 * width, 4, 2, 1), 2 * width),
            nn.Conv2d(2 * width, 1, 3, padding=1),
        )

    def forward(self, condition: Tensor, image: Tensor) -> Tensor:
        return self.layers(torch.cat([condition, image], 1)).squeeze(1)


class ImageToImage(ImplicitModel):
    """A U-Net against a patch discriminator, with L1.

    Args:
        generator: condition and noise to image.
        discriminator: condition and image to patch logits.
        noise_dim: channels of the noise.
        l1: weight of the L1 term, in units of [-1, 1] pixels.
        adversarial: weight of the generator's game; 0 leaves the discriminator out.

    Raises:
        ValueError: both weights are 0.
    """

    def __init__(
        self,
        generator: UNet,
        discriminator: nn.Module,
        noise_dim: int,
        l1: float = 100.0,
        adversarial: float = 1.0,
    ):
        super().__init__(generator, noise_dim)
        if not (l1 > 0 or adversarial > 0):
            raise ValueError(f"nothing to descend: l1={l1}, adversarial={adversarial}")
        self.discriminator, self.l1, self.adversarial = discriminator, l1, adversarial
        self.monitors: dict[str, Tensor] = {}

    def parameter_groups(self) -> dict[str, Iterator[nn.Parameter]]:
        groups = {"generator": self.generator.parameters()}
        if self.adversarial:
            groups = {"discriminator": self.discriminator.parameters(), **groups}
        return groups

    def _noise(self, condition: Tensor, generator: torch.Generator | None) -> Tensor:
        n, _, height, width = condition.shape
        shape = (n, self.latent_dim, height // 4, width // 4)
        return torch.randn(shape, generator=generator, device=condition.device, dtype=condition.dtype)

    def training_step(
        self, x: Tensor, y: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Iterator[tuple[str, Tensor]]:
        """One step of the discriminator on patches, then one of the generator, on the same drawing.

        Raises:
            ValueError: data that are not pairs `(B, 2, H, W)`.

        Implements: style-image-to-image
        """
        if x.ndim != 4 or x.shape[1] != 2:
            raise ValueError(f"expected pairs (B, 2, H, W), condition first; got {tuple(x.shape)}")
        condition, target = self.inward(x).chunk(2, 1)
        fake = self.generator(condition, self._noise(condition, generator))
        if self.adversarial:
            real_logits, fake_logits = (self.discriminator(condition, v) for v in (target, fake.detach()))
            self.monitors = {"discriminator_accuracy": judged_rightly(real_logits, fake_logits)}
            yield "discriminator", discriminator_loss(real_logits, fake_logits)
        loss = self.l1 * (fake - target).abs().mean()
        if self.adversarial:
            loss = loss + self.adversarial * generator_loss(self.discriminator(condition, fake))
        yield "generator", loss

    def likely_cause(self, monitors: dict[str, float]) -> str:
        """What probably went wrong, from the accuracy on patches before the end."""
        if not self.adversarial:
            return "There is no game, only L1: lower the learning rate"
        return who_lost(monitors["discriminator_accuracy"], f"raise the weight of L1 above {self.l1:g}")

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """One image in [0, 1] for each of the `n` conditions `y`, `(n, 1, H, W)` in [0, 1].

        Raises:
            ValueError: no conditions, or another number or shape of them.
        """
        if y is None or y.ndim != 4 or y.shape[:2] != (n, 1):
            got = None if y is None else tuple(y.shape)
            raise ValueError(f"y must hold the conditions, ({n}, 1, H, W); got {got}")
        condition = self.inward(y)
        return (self.generator(condition, self._noise(condition, generator)) + 1) / 2


def build(width: int = 16, noise_dim: int = 8, skip: bool = True, **options) -> ImageToImage:
    """Networks for grey images whose sides are multiples of 4. Options of `ImageToImage`."""
    return ImageToImage(UNet(width, noise_dim, skip), PatchDiscriminator(width), noise_dim, **options)

"""A style-based generator: the code sets the statistics of every layer, noise sets the detail, the image starts from a constant.

A mapping network turns z into a style w. The synthesis network starts from one learned map; after each convolution,
adaptive instance normalisation (AdaIN) gives every channel the mean and the deviation that w asks for. The discriminator is
held back by R1, the squared slope at real images, and sees the spread of its minibatch.

| symbol | here | shape | meaning |
|---|---|---|---|
| z, w | `z`, `w = mapping(z)` | (B, d), (B, s) | code; style, `style_dim` = s |
| w_1..w_L | `styles` | (B, L, s) | one style a layer: all equal, or two mixed at a layer |
| mu(w), sigma(w) | `AdaIN.affine(w)` | (B, C) each | mean and deviation of each channel after AdaIN |
| psi | `psi` | | truncation: w is pulled towards its mean, 1 leaves it |
| gamma | `gamma` | | weight of R1 |

Sources: Karras et al. 2018 (equalised learning rate, minibatch deviation), 2019 (section 2-3, appendix B: the style-based
generator), 2020 (section 3.1: lazy regularisation); Huang & Belongie 2017, equation 8 (AdaIN); Mescheder et al. 2018,
equation 9 (R1).
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from course_lib.models.gan import ImplicitModel, discriminator_loss, generator_loss, judged_rightly, who_lost
from course_lib.nn.style import StyleDiscriminator, StyleGenerator


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """E ||grad V||^2 at real images: the norm is taken per sample. A scalar with a graph, without gamma / 2.

    Implements: style-r1
    """
    real = real.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()


class StyleGAN(ImplicitModel):
    """The style-based generator against a discriminator with R1, by the non-saturating game.

    Args:
        generator, discriminator: as above.
        latent_dim: length of z.
        gamma: weight of R1.
        r1_every: R1 is taken at every so manieth step, with so many times the weight (lazy regularisation).
        mixing: probability that an image in training takes its styles from two codes, cut at a random layer.
    """

    def __init__(
        self,
        generator: StyleGenerator,
        discriminator: nn.Module,
        latent_dim: int,
        gamma: float = 1.0,
        r1_every: int = 8,
        mixing: float = 0.9,
    ):
        super().__init__(generator, latent_dim)
        self.discriminator = discriminator
        self.gamma, self.r1_every, self.mixing = gamma, r1_every, mixing
        self.step = 0  # set by `fit`
        self.monitors: dict[str, Tensor] = {}

    def parameter_groups(self) -> dict[str, Iterator[nn.Parameter]]:
        return {"discriminator": self.discriminator.parameters(), "generator": self.generator.parameters()}

    def styles(self, z: Tensor, psi: float = 1.0) -> Tensor:
        """`(B, L, style_dim)`: one style for all layers, pulled towards the mean style by psi.

        Implements: style-truncation
        """
        w = self.generator.mapping(z)
        if psi != 1:
            centre = self.mean_style()
            w = centre + psi * (w - centre)
        return w.unsqueeze(1).expand(-1, self.generator.n_layers, -1)

    @torch.no_grad()
    def mean_style(self, n: int = 10_000) -> Tensor:
        """The mean of w over `n` codes of a fixed seed, `(style_dim,)`."""
        seeded = torch.Generator(self.generator.constant.device).manual_seed(0)
        return self.generator.mapping(self.noise(n, seeded)).mean(0)

    def mix(self, first: Tensor, second: Tensor, layer: Tensor) -> Tensor:
        """Styles of `first` before `layer` `(B,)`, of `second` from there on; both `(B, L, style_dim)`.

        Implements: style-mixing
        """
        before = torch.arange(self.generator.n_layers, device=first.device) < layer.unsqueeze(1)  # (B, L)
        return torch.where(before.unsqueeze(2), first, second)

    def _fake(self, n: int, generator: torch.Generator | None) -> Tensor:
        first, second = (self.styles(self.noise(n, generator)) for _ in range(2))
        last, device = self.generator.n_layers, first.device
        layer = torch.randint(1, last, (n,), generator=generator, device=device)
        kept = torch.rand(n, generator=generator, device=device) >= self.mixing
        styles = self.mix(first, second, torch.where(kept, last, layer))
        return self.generator(styles, self.generator.noise_maps(n, generator))

    def training_step(
        self, x: Tensor, y: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Iterator[tuple[str, Tensor]]:
        """One step of the discriminator, with R1 at every `r1_every`-th, then one of the generator.

        Implements: style-lazy
        """
        x = self.inward(x)
        with torch.no_grad():
            fake = self._fake(len(x), generator)
        logits_real, logits_fake = self.discriminator(x), self.discriminator(fake)
        self.monitors = {"discriminator_accuracy": judged_rightly(logits_real, logits_fake)}
        loss = discriminator_loss(logits_real, logits_fake)
        if self.gamma and self.step % self.r1_every == 0:
            loss = loss + self.r1_every * self.gamma / 2 * r1_penalty(self.discriminator, x)
        yield "discriminator", loss
        yield "generator", generator_loss(self.discriminator(self._fake(len(x), generator)))

    def likely_cause(self, monitors: dict[str, float]) -> str:
        """What probably went wrong, from the discriminator's accuracy before the end."""
        return who_lost(monitors["discriminator_accuracy"], f"raise gamma above {self.gamma:g} (R1)")

    def decode(self, z: Tensor, psi: float = 1.0, noise: list[Tensor] | None = None) -> Tensor:
        """Images in [0, 1] from codes; noise maps of zeros if left out."""
        styles = self.styles(z, psi)
        if noise is None:
            noise = [z.new_zeros(len(z), 1, side, side) for side in self.generator.sides]
        return (self.generator(styles, noise) + 1) / 2

    @torch.no_grad()
    def sample(
        self,
        n: int,
        y: Tensor | None = None,
        *,
        psi: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """`n` images with fresh noise, at truncation psi."""
        z = self.noise(n, generator)
        return self.decode(z, psi, self.generator.noise_maps(n, generator))


def build(
    image_shape: Sequence[int] = (1, 28, 28),
    latent_dim: int = 64,
    style_dim: int = 64,
    mapping_depth: int = 4,
    width: int = 16,
    **options,
) -> StyleGAN:
    """A style-based GAN for square images; `width` channels at full size, doubled at each halving. Options of `StyleGAN`."""
    channels, size, _ = image_shape
    generator = StyleGenerator(latent_dim, style_dim, mapping_depth, channels, size, width)
    return StyleGAN(generator, StyleDiscriminator(channels, size, width), latent_dim, **options)

"""Wasserstein GANs: the discriminator becomes a critic, a 1-Lipschitz function that measures the distance to the data.

By the Kantorovich-Rubinstein theorem W_1(p, q) is the largest E_p[f] - E_q[f] over 1-Lipschitz f. A network climbs to it and
the generator descends what the critic found. The methods differ in how they bound the critic's slope.

| symbol | here | shape | meaning |
|---|---|---|---|
| f(x) | `critic(x)` | (B,) | the critic; no sigmoid, no logarithm |
| G(z) | `generator(z)` | (B, C, H, W) in [-1, 1], or (B, dim) | a sample |
| n_critic | `n_critic` | | critic steps for one of the generator |
| c, lambda | `clip`, `penalty` | | bound on each weight; weight of the gradient penalty |

Sources: Arjovsky et al. 2017 (algorithm 1; clipping); Gulrajani et al. 2017 (algorithm 1; penalty); Miyato et al. 2018
(spectral normalisation); Petzka et al. 2018 (one-sided penalty). Distances are in the units of the networks' data, [-1, 1]
a pixel.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from course_lib.models.gan import ImplicitModel
from course_lib.nn import MLP, DCGANDiscriminator, DCGANGenerator

LIPSCHITZ = ("clip", "penalty", "one_sided", "spectral")


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    generator: torch.Generator | None = None,
    *,
    one_sided: bool = False,
) -> Tensor:
    """Mean of (||grad f|| - 1)^2 between data and samples, without lambda.

    Args:
        real, fake: `(B, ...)`; the gradient is taken at u * real + (1 - u) * fake, u uniform on [0, 1], one a sample.
        one_sided: only slopes above 1 cost.

    Returns:
        A scalar with a graph: the norm is taken per sample, over all its values.

    Implements: wgan-gradient-penalty
    """
    u = torch.rand(len(real), *[1] * (real.ndim - 1), generator=generator, device=real.device, dtype=real.dtype)
    mixed = (u * real + (1 - u) * fake).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
    norm = (gradient.flatten(1).square().sum(1) + 1e-12).sqrt()  # without the term its own gradient is NaN at 0
    excess = (norm - 1).clamp(min=0) if one_sided else norm - 1
    return excess.square().mean()


class WGAN(ImplicitModel):
    """A generator and a critic.

    Args:
        generator, critic: networks as in the table above.
        latent_dim: length of the noise.
        lipschitz: one of `LIPSCHITZ`; "spectral" expects a critic whose layers are normalised.
        n_critic: critic steps for one of the generator. A batch holds the data of all of them: `fit` hands over
            `n_critic` times as many images as one step uses.
        clip: bound c. penalty: weight lambda.
        images: as in `ImplicitModel`.

    Raises:
        ValueError: an unknown way to bound the slope; a penalised critic with batch norm, whose gradient at one image
            depends on the others.
    """

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module,
        latent_dim: int,
        lipschitz: str = "penalty",
        n_critic: int = 5,
        clip: float = 0.01,
        penalty: float = 10.0,
        images: bool = True,
    ):
        super().__init__(generator, latent_dim, images)
        if lipschitz not in LIPSCHITZ:
            raise ValueError(f"lipschitz={lipschitz!r}: expected one of {', '.join(LIPSCHITZ)}")
        batch_norms = [m for m in critic.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        if lipschitz in ("penalty", "one_sided") and batch_norms:
            raise ValueError(
                "a critic with a gradient penalty must not have batch norm: it ties the images of a batch together, and the "
                'penalty is a statement about each of them. Use norm="layer" or norm="none"'
            )
        self.critic, self.lipschitz = critic, lipschitz
        self.n_critic, self.clip, self.penalty = n_critic, clip, penalty
        self.monitors: dict[str, Tensor] = {}

    def parameter_groups(self) -> dict[str, Iterator[nn.Parameter]]:
        return {"critic": self.critic.parameters(), "generator": self.generator.parameters()}

    def critic_loss(self, real: Tensor, fake: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """E_g[f] - E_data[f], plus the penalty where there is one.

        Implements: wgan-critic
        """
        on_real, on_fake = self.critic(real), self.critic(fake)
        middle = (on_real.mean() + on_fake.mean()).detach() / 2
        distance = on_real.mean() - on_fake.mean()
        self.monitors = {
            "distance": distance.detach(),
            "critic_accuracy": torch.cat([on_real > middle, on_fake < middle]).float().mean(),
        }
        if self.lipschitz not in ("penalty", "one_sided"):
            return -distance
        cost = gradient_penalty(self.critic, real, fake, generator, one_sided=self.lipschitz == "one_sided")
        return self.penalty * cost - distance

    def training_step(
        self, x: Tensor, y: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Iterator[tuple[str, Tensor]]:
        """`n_critic` steps of the critic on fresh data each, then one of the generator.

        Raises:
            ValueError: a batch that cannot be cut into `n_critic` equal parts.
        """
        if len(x) % self.n_critic:
            raise ValueError(f"a batch of {len(x)} cannot be cut into n_critic={self.n_critic} equal parts")
        for real in self.inward(x).chunk(self.n_critic):
            fake = self.generator(self.noise(len(real), generator)).detach()
            yield "critic", self.critic_loss(real, fake, generator)
            if self.lipschitz == "clip":
                self.clip_weights()
        fake = self.generator(self.noise(len(x) // self.n_critic, generator))
        yield "generator", -self.critic(fake).mean()

    @torch.no_grad()
    def clip_weights(self) -> None:
        """Bring every weight of the critic into [-c, c]."""
        for parameter in self.critic.parameters():
            parameter.clamp_(-self.clip, self.clip)

    def likely_cause(self, monitors: dict[str, float]) -> str:
        """What probably went wrong, from the critic's estimate before the end."""
        distance = monitors["distance"]
        if self.lipschitz == "clip":
            return (
                f"The critic's value ran away (distance {distance:.3g}) although its weights are clipped at {self.clip:g}: "
                "the slope grows with the product of the layers, so lower the bound"
            )
        if self.lipschitz == "spectral":
            return f"The game blew up with a bounded critic (distance {distance:.3g}): lower the learning rates"
        return (
            f"The critic's slope ran away (distance {distance:.3g}): the penalty of weight {self.penalty:g} does not hold "
            "it. Raise the weight or lower the critic's learning rate"
        )


def build(
    image_shape: Sequence[int] | None = (1, 28, 28),
    dim: int = 2,
    latent_dim: int = 64,
    width: int = 64,
    depth: int = 2,
    lipschitz: str = "penalty",
    norm: str | None = None,
    **options,
) -> WGAN:
    """DCGAN networks for images, MLPs for points.

    Args:
        image_shape, dim, latent_dim, width, depth: as for a GAN.
        lipschitz: as in `WGAN`.
        norm: of the critic's maps; left out, "batch" under clipping (as in the paper), "spectral", or "none".
        options: of `WGAN`.
    """
    if image_shape is None:
        critic = MLP([dim, *[width] * depth, 1], nn.ReLU)
        if lipschitz == "spectral":
            critic = nn.Sequential(*(spectral_norm(m) if isinstance(m, nn.Linear) else m for m in critic))
        networks = (MLP([latent_dim, *[width] * depth, dim], nn.ReLU), nn.Sequential(critic, nn.Flatten(0)))
        return WGAN(*networks, latent_dim, lipschitz, images=False, **options)
    channels, size, _ = image_shape
    norm = norm or {"clip": "batch", "spectral": "spectral"}.get(lipschitz, "none")
    networks = (
        DCGANGenerator(latent_dim, channels, size, width),
        DCGANDiscriminator(channels, size, width, norm),
    )
    return WGAN(*networks, latent_dim, lipschitz, **options)

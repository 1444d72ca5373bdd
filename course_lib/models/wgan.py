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

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from course_lib.models.gan import ImplicitModel
from course_lib.nn import MLP, DCGANDiscriminator, DCGANGenerator

LIPSCHITZ = ("clip", "penalty", "one_sided", "spectral")


def slope(critic: Callable[[Tensor], Tensor], x: Tensor, *, create_graph: bool = False) -> Tensor:
    """||grad f|| at each of the points `(B, ...)`, over all values of a point: `(B,)`.

    Args:
        create_graph: the slope is to be differentiated in turn, as a penalty on it is.
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=create_graph)
    squared = gradient.flatten(1).square().sum(1)
    return (squared + 1e-12).sqrt()  # the root alone has an infinite derivative where the critic is flat


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
        real, fake: `(B, ...)`; the slope is taken at u * real + (1 - u) * fake, u uniform on [0, 1], one a sample.
        one_sided: only slopes above 1 cost.

    Returns:
        A scalar with a graph.

    Implements: wgan-gradient-penalty, wgan-one-sided
    """
    shape = (len(real), *[1] * (real.ndim - 1))
    u = torch.rand(shape, generator=generator, device=real.device, dtype=real.dtype)
    excess = slope(critic, u * real + (1 - u) * fake, create_graph=True) - 1
    if one_sided:
        excess = excess.clamp(min=0)
    return excess.square().mean()


@torch.no_grad()
def lipschitz_bound(network: nn.Module) -> float:
    """No slope of an MLP exceeds the product of its affine maps' largest singular values.

    Raises:
        ValueError: a layer whose singular values are not those of its weight matrix.

    Implements: wgan-product
    """
    layers = [m for m in network.modules() if isinstance(m, (nn.Linear, nn.modules.conv._ConvNd))]
    if not all(isinstance(m, nn.Linear) for m in layers):
        raise ValueError("the bound is for affine layers: a convolution's norm is not that of its kernel")
    return math.prod(torch.linalg.matrix_norm(m.weight, 2).item() for m in layers)


class Critic(nn.Module):
    """A network with a bound on its slope. Trained between two fixed laws, it measures their distance.

    Args:
        network: `(B, ...)` to `(B,)`.
        lipschitz: one of `LIPSCHITZ`; "spectral" expects a network whose layers are normalised.
        clip: bound c on each weight. penalty: weight lambda.

    For `fit` on its own, the data are pairs `(N, 2, ...)` of a draw of p and a draw of q.

    Raises:
        ValueError: an unknown way to bound the slope; a penalised network with batch norm, whose gradient at one point
            depends on the others.
    """

    def __init__(
        self, network: nn.Module, lipschitz: str = "penalty", clip: float = 0.01, penalty: float = 10.0
    ):
        super().__init__()
        if lipschitz not in LIPSCHITZ:
            raise ValueError(f"lipschitz={lipschitz!r}: expected one of {', '.join(LIPSCHITZ)}")
        batch_norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        self.penalised = lipschitz in ("penalty", "one_sided")
        if self.penalised and batch_norms:
            raise ValueError(
                "a critic with a gradient penalty must not have batch norm: it ties the images of a batch together, and the "
                'penalty is a statement about each of them. Use norm="layer" or norm="none"'
            )
        self.network, self.lipschitz, self.clip, self.penalty = network, lipschitz, clip, penalty
        self.monitors: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        value = self.network(x)
        return value.to(
            torch.promote_types(value.dtype, torch.float32)
        )  # a mean of bfloat16 has three digits

    def parameter_groups(self) -> dict[str, Iterator[nn.Parameter]]:
        return {"critic": self.parameters()}

    def loss(self, real: Tensor, fake: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """E_q[f] - E_p[f], plus the penalty where there is one.

        Implements: wgan-critic
        """
        on_real, on_fake = self(real), self(fake)
        distance = on_real.mean() - on_fake.mean()
        middle = (on_real.mean() + on_fake.mean()) / 2
        self.monitors = {
            "distance": distance.detach(),
            "critic_accuracy": torch.cat([on_real > middle, on_fake < middle]).float().mean(),
        }
        if not self.penalised:
            return -distance
        cost = gradient_penalty(self, real, fake, generator, one_sided=self.lipschitz == "one_sided")
        return self.penalty * cost - distance

    def training_step(
        self, x: Tensor, y: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Iterator[tuple[str, Tensor]]:
        """One step between two fixed laws, from pairs `(B, 2, ...)`."""
        yield "critic", self.loss(x[:, 0], x[:, 1], generator)
        self.stepped()

    @torch.no_grad()
    def stepped(self) -> None:
        """After each step of the optimiser: bring clipped weights back into [-c, c]."""
        if self.lipschitz == "clip":
            for parameter in self.parameters():
                parameter.clamp_(-self.clip, self.clip)

    def likely_cause(self, monitors: dict[str, float]) -> str:
        """What probably went wrong, from the estimate before the end."""
        distance = monitors["distance"]
        if self.lipschitz == "clip":
            return (
                f"The critic's value ran away (distance {distance:.3g}) although its weights are clipped at {self.clip:g}: "
                "the slope grows with the product of the layers, so lower the bound"
            )
        if self.lipschitz == "spectral":
            return (
                f"The game blew up with a bounded critic (distance {distance:.3g}): lower the learning rates"
            )
        return (
            f"The critic's slope ran away (distance {distance:.3g}): the penalty of weight {self.penalty:g} does not hold "
            "it. Raise the weight or lower the critic's learning rate"
        )


class WGAN(ImplicitModel):
    """A generator and a critic.

    Args:
        generator: network as in the table above.
        critic: its opponent.
        latent_dim: length of the noise.
        n_critic: critic steps for one of the generator. A batch holds the data of all of them: `fit` hands over
            `n_critic` times as many images as one step uses.
        images: as in `ImplicitModel`.
    """

    def __init__(
        self, generator: nn.Module, critic: Critic, latent_dim: int, n_critic: int = 5, images: bool = True
    ):
        super().__init__(generator, latent_dim, images)
        self.critic, self.n_critic = critic, n_critic

    @property
    def monitors(self) -> dict[str, Tensor]:
        return self.critic.monitors

    def parameter_groups(self) -> dict[str, Iterator[nn.Parameter]]:
        return {"critic": self.critic.parameters(), "generator": self.generator.parameters()}

    def training_step(
        self, x: Tensor, y: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Iterator[tuple[str, Tensor]]:
        """`n_critic` steps of the critic on fresh data each, then one of the generator.

        Raises:
            ValueError: a batch that cannot be cut into `n_critic` equal parts.

        Implements: wgan-generator
        """
        if len(x) % self.n_critic:
            raise ValueError(f"a batch of {len(x)} cannot be cut into n_critic={self.n_critic} equal parts")
        for real in self.inward(x).chunk(self.n_critic):
            fake = self.generator(self.noise(len(real), generator)).detach()
            yield "critic", self.critic.loss(real, fake, generator)
            self.critic.stepped()
        fake = self.generator(self.noise(len(x) // self.n_critic, generator))
        yield "generator", -self.critic(fake).mean()

    def likely_cause(self, monitors: dict[str, float]) -> str:
        """The critic's guess."""
        return self.critic.likely_cause(monitors)


def build(
    image_shape: Sequence[int] | None = (1, 28, 28),
    dim: int = 2,
    latent_dim: int = 64,
    width: int = 64,
    depth: int = 2,
    lipschitz: str = "penalty",
    norm: str | None = None,
    n_critic: int = 5,
    **options,
) -> WGAN:
    """DCGAN networks for images, MLPs for points.

    Args:
        image_shape, dim, latent_dim, width, depth: as for a GAN.
        lipschitz: as in `Critic`.
        norm: of the critic's maps; left out, "batch" under clipping (as in the paper), "spectral", or "none".
        n_critic: as in `WGAN`.
        options: of `Critic`.
    """
    if image_shape is None:
        generator = MLP([latent_dim, *[width] * depth, dim], nn.ReLU)
        critic = build_critic(dim, width, depth, lipschitz, **options)
        return WGAN(generator, critic, latent_dim, n_critic, images=False)
    channels, size, _ = image_shape
    norm = norm or {"clip": "batch", "spectral": "spectral"}.get(lipschitz, "none")
    generator = DCGANGenerator(latent_dim, channels, size, width)
    critic = Critic(DCGANDiscriminator(channels, size, width, norm), lipschitz, **options)
    return WGAN(generator, critic, latent_dim, n_critic)


def build_critic(
    dim: int = 2, width: int = 64, depth: int = 2, lipschitz: str = "penalty", **options
) -> Critic:
    """A critic of points: an MLP with `depth` hidden layers. Options as in `Critic`."""
    network = MLP([dim, *[width] * depth, 1], nn.ReLU)
    if lipschitz == "spectral":
        network = nn.Sequential(*(spectral_norm(m) if isinstance(m, nn.Linear) else m for m in network))
    return Critic(nn.Sequential(network, nn.Flatten(0)), lipschitz, **options)

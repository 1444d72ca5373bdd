"""Flow matching: a network learns the velocity that carries noise to data along straight lines.

A datum and a noise vector are joined by a line; the network is asked at random points of random lines in which direction the
line runs. Many lines pass through one point, so it learns their mean, and that mean is the velocity of a flow whose law at
each time is the law of the points on the lines. To sample is to solve one ordinary differential equation.

| symbol | here | shape | meaning |
|---|---|---|---|
| x_0, eps | `x0`, `noise` | (B, C, H, W) in [-1, 1], or (B, dim) | a datum; a draw of N(0, I) |
| t | `t` | (B,) in [0, 1] | time: 0 at the data, 1 at the noise, as in diffusion |
| x_t | `xt` | as x_0 | (1 - t) x_0 + t eps, a point of the line |
| u | `velocity(xt, t)` | as x_0 | the mean of eps - x_0 over the lines through x_t |

Sources: Lipman et al. 2023 (theorems 1 and 2; their time runs the other way); Liu et al. 2023 (rectified flow, reflow,
straightness). The loss is a mean over values, the density in nats.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from course_lib.distributions import gaussian_log_prob
from course_lib.models.gaussian_diffusion import inward
from course_lib.nn import TimeMLP, UNet
from course_lib.nn.mlp import TIME_SCALE
from course_lib.sampling import ode


class FlowMatching(nn.Module):
    """A velocity field, learned on straight lines.

    Args:
        network: `(B, ...)` and a time `(B,)` to `(B, ...)`.
        shape: of one datum: `(C, H, W)`, images in [0, 1] at the door, or `(dim,)`.
        classes: number K of labels that the network knows; None for a network without.
        label_dropout: share of training data whose label is withheld, so that one network learns both laws.
        pairs: data are pairs `(B, 2, ...)` of a datum and its noise, as `couple` makes them, instead of data alone.
        steps, solver: how `sample` integrates by default; a fixed-step method of `sampling.ode`.
    """

    def __init__(
        self,
        network: nn.Module,
        shape: Sequence[int],
        classes: int | None = None,
        label_dropout: float = 0.1,
        pairs: bool = False,
        steps: int = 10,
        solver: str = "midpoint",
    ):
        super().__init__()
        if solver not in ode.EVALUATIONS:
            raise ValueError(f"solver={solver!r}: expected one of {', '.join(ode.EVALUATIONS)}")
        self.network, self.shape, self.pairs = network, tuple(shape), pairs
        self.classes, self.label_dropout = classes, label_dropout
        self.images = len(self.shape) == 3
        self.steps, self.solver = steps, solver

    @property
    def n_evaluations(self) -> int:
        """Of the network, a sample."""
        return self.steps * ode.EVALUATIONS[self.solver]

    def velocity(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """The network's velocity at points `(B, ...)` (images in [-1, 1]), times `(B,)`, labels `(B,)` (K: none)."""
        return self.network(xt, TIME_SCALE * t, y)

    def score(self, xt: Tensor, t: Tensor) -> Tensor:
        """Gradient of the log-density at time t in (0, 1], from the velocity.

        Implements: sde-flow-score
        """
        t_ = t.view(-1, *[1] * len(self.shape))
        return -(xt + (1 - t_) * self.velocity(xt, t)) / t_

    def loss(self, x: Tensor, y: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Mean squared error of the velocity at uniform times.

        Args:
            x: images `(B, C, H, W)` in [0, 1], points `(B, dim)`, or pairs of them and their noise `(B, 2, ...)`.
            y: labels `(B,)`; used where there are classes.

        Implements: sde-flow-matching
        """
        if self.pairs:
            if x.shape[1:] != (2, *self.shape):
                raise ValueError(f"expected pairs (B, 2, *{self.shape}); got {tuple(x.shape)}")
            x0, noise = inward(x[:, 0], self.shape), x[:, 1]
        else:
            x0 = inward(x, self.shape)
            noise = torch.randn(x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)
        t = torch.rand(len(x0), generator=generator, device=x0.device, dtype=x0.dtype)
        if self.classes is None:
            y = None
        elif y is not None:
            withheld = torch.rand(len(x0), generator=generator, device=x0.device) < self.label_dropout
            y = torch.where(withheld, self.classes, y)
        t_ = t.view(-1, *[1] * len(self.shape))
        predicted = self.velocity((1 - t_) * x0 + t_ * noise, t, y)
        return (predicted.float() - (noise - x0).float()).square().mean()

    def noise(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """`(n, ...)` standard normal, on the network's device."""
        like = next(self.network.parameters())
        return torch.randn(n, *self.shape, generator=generator, device=like.device, dtype=like.dtype)

    @torch.no_grad()
    def decode(
        self,
        noise: Tensor,
        y: Tensor | None = None,
        *,
        steps: int | None = None,
        solver: str | None = None,
        path: bool = False,
    ) -> Tensor:
        """Samples from noise `(B, ...)`; with `path`, all positions `(S + 1, B, ...)` on the way."""
        times = torch.linspace(1, 0, (steps or self.steps) + 1, dtype=noise.dtype)
        x = ode.solve(lambda x, t: self.velocity(x, t, y), noise, times, solver or self.solver, path=path)
        return (x + 1) / 2 if self.images else x

    def sample(
        self,
        n: int,
        y: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        steps: int | None = None,
        solver: str | None = None,
    ) -> Tensor:
        """`n` samples by `steps` steps of a fixed-step `solver` (by default the model's own).

        Args:
            y: labels `(n,)`, `classes` for none; left out, uniformly drawn where the network knows labels.
        """
        noise = self.noise(n, generator)
        if y is None and self.classes is not None:
            y = torch.randint(self.classes, (n,), generator=generator, device=noise.device)
        return self.decode(noise, y, steps=steps, solver=solver)


class PointFlowMatching(FlowMatching):
    """Flow matching of points, where the exact divergence is cheap and the density a method.

    For images, `sampling.ode.log_prob` with a probe estimates it.
    """

    def log_prob(self, x: Tensor, *, method: str = "dopri5", tolerance: float = 1e-5) -> Tensor:
        """Log-density of points `(B, dim)` in nats, `(B,)`."""
        return ode.log_prob(
            self.velocity,
            inward(x, self.shape),
            torch.tensor([0.0, 1.0], dtype=x.dtype),
            lambda z: gaussian_log_prob(z, torch.zeros_like(z), torch.zeros_like(z)),
            method=method,
            tolerance=tolerance,
        )


def couple(
    model: FlowMatching,
    n: int,
    *,
    generator: torch.Generator | None = None,
    steps: int = 100,
    solver: str = "midpoint",
) -> Tensor:
    """Reflow's data: noise and the sample that the model makes of it, `(n, 2, ...)`, sample first.

    Implements: sde-reflow
    """
    noise = model.noise(n, generator)
    return torch.stack([model.decode(noise, steps=steps, solver=solver), noise], 1)


def straightness(path: Tensor, velocity: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Mean over time of ||(x_1 - x_0) - velocity(x_t, t)||^2 on each trajectory, `(B,)`: 0 for straight lines.

    Args:
        path: `(S + 1, B, ...)` positions at equal steps of time from 1 to 0, as `decode(..., path=True)` gives points.

    Implements: sde-straightness
    """
    times = torch.linspace(1, 0, len(path), dtype=path.dtype, device=path.device)
    chord = path[0] - path[-1]
    off = [
        (chord - velocity(x, t.expand(len(x)))).flatten(1).square().sum(1)
        for x, t in zip(path, times, strict=True)
    ]
    return torch.trapezoid(torch.stack(off), -times, dim=0)


def mixture_velocity(xt: Tensor, t: Tensor, weights: Tensor, means: Tensor, covs: Tensor) -> Tensor:
    """The exact velocity where data are a Gaussian mixture: E[eps - x_0 | x_t].

    Within a component everything is jointly Gaussian, so the mean is linear in x_t; the components are averaged with the
    probabilities that x_t comes from them.

    Args:
        xt, t: `(B, d)` and `(B,)`, any t in [0, 1].
        weights, means, covs: `(K,)`, `(K, d)`, `(K, d, d)`.

    Returns:
        `(B, d)`.

    Implements: sde-flow-oracle
    """
    d = xt.shape[1]
    t_ = t.view(-1, 1, 1, 1)
    eye = torch.eye(d, dtype=xt.dtype, device=xt.device)
    cov = (1 - t_) ** 2 * covs + t_**2 * eye  # (B, K, d, d): of x_t within a component
    centred = xt[:, None] - (1 - t.view(-1, 1, 1)) * means  # (B, K, d)
    root = torch.linalg.cholesky(cov)
    solved = torch.cholesky_solve(centred[..., None], root)  # (B, K, d, 1)
    log_det = 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    log_weight = weights.log() - 0.5 * (log_det + (centred[..., None] * solved).sum((-2, -1)))
    each = ((t_ * eye - (1 - t_) * covs) @ solved).squeeze(-1) - means  # (B, K, d)
    return (log_weight.softmax(1)[..., None] * each).sum(1)


def build(
    image_shape: Sequence[int] | None = (1, 28, 28),
    dim: int = 2,
    width: int = 32,
    classes: int | None = None,
    label_dropout: float = 0.1,
    pairs: bool = False,
    steps: int = 10,
    solver: str = "midpoint",
    **options,
) -> FlowMatching:
    """A U-Net for images, as in chapter 18; a `TimeMLP` for points.

    Args:
        image_shape: `(C, H, W)`, square; None for points of dimension `dim`.
        width: channels of the first level, or of the hidden layers.
        options: of the network. The rest as in `FlowMatching`.
    """
    settings = (classes, label_dropout, pairs, steps, solver)
    if image_shape is None:
        return PointFlowMatching(TimeMLP(dim, width, classes=classes, **options), (dim,), *settings)
    channels, size, _ = image_shape
    return FlowMatching(UNet(channels, size, width, classes=classes, **options), image_shape, *settings)

"""Two-dimensional toy laws with exact samplers and, where one exists in closed form, exact log-densities.

Each name is a `Toy`: call it to sample, `toy2d.ring8(1000, generator)`, and ask for `toy2d.ring8.log_prob(x)` where the
density is known. Swiss roll, two moons and pinwheel have no closed form; their `log_prob` is absent.

| name | what | log_prob |
|---|---|---|
| `grid25`, `grid9` | equal Gaussians on a 5x5 (3x3) grid with spacing 2, standard deviation 0.05 | yes |
| `ring8` | eight equal Gaussians on a circle of radius 2, standard deviation 0.05 | yes |
| `checkerboard` | uniform on the dark squares of a 4x4 board on [-2, 2]^2 | yes |
| `swiss_roll`, `two_moons`, `pinwheel` | curved, with Gaussian blur | no |
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def _uniform(n: int, generator: torch.Generator | None) -> Tensor:
    return torch.rand(n, generator=generator)


def _normal(n: int, generator: torch.Generator | None) -> Tensor:
    return torch.randn(n, 2, generator=generator)


class Toy:
    """A law on the plane. `toy(n, generator=None)` draws `(n, 2)` float32 points."""

    def __init__(self, name: str, sample: Callable[[int, torch.Generator | None], Tensor]):
        self.name, self._sample = name, sample

    def __call__(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        return self._sample(n, generator)

    def __repr__(self) -> str:
        return f"toy2d.{self.name}"


class GaussianModes(Toy):
    """Equal mixture of round Gaussians.

    Attributes:
        modes: `(K, 2)` centres. std: their common standard deviation.
    """

    def __init__(self, name: str, modes: Tensor, std: float):
        super().__init__(name, self._draw)
        self.modes, self.std = modes, std

    def _draw(self, n: int, generator: torch.Generator | None) -> Tensor:
        which = torch.randint(len(self.modes), (n,), generator=generator)
        return self.modes[which] + self.std * _normal(n, generator)

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log-density of `x` `(B, 2)` in nats, `(B,)`."""
        squared = ((x.unsqueeze(-2) - self.modes.to(x)) ** 2).sum(-1) / self.std**2  # (B, K)
        log_normaliser = math.log(2 * math.pi * self.std**2) + math.log(len(self.modes))
        return torch.logsumexp(-0.5 * squared, -1) - log_normaliser


class Checkerboard(Toy):
    """Uniform on the squares of a 4x4 board on [-2, 2]^2 whose row and column numbers have an even sum."""

    def __init__(self):
        super().__init__("checkerboard", self._draw)

    def _draw(self, n: int, generator: torch.Generator | None) -> Tensor:
        column = torch.randint(4, (n,), generator=generator)
        row = 2 * torch.randint(2, (n,), generator=generator) + column % 2
        corner = torch.stack([column, row], -1) - 2
        return corner + torch.rand(n, 2, generator=generator)

    def log_prob(self, x: Tensor) -> Tensor:
        """log(1/8) on the support, minus infinity elsewhere."""
        square = torch.floor(x) + 2
        inside = ((square >= 0) & (square < 4)).all(-1) & (square.sum(-1) % 2 == 0)
        return torch.where(inside, -math.log(8.0), -math.inf).to(x)


def _grid(side: int) -> Tensor:
    ticks = 2.0 * (torch.arange(side) - (side - 1) / 2)
    return torch.cartesian_prod(ticks, ticks)


def _ring(count: int, radius: float) -> Tensor:
    angle = 2 * math.pi * torch.arange(count) / count
    return radius * torch.stack([angle.cos(), angle.sin()], -1)


def _swiss_roll(n: int, generator: torch.Generator | None) -> Tensor:
    angle = 1.5 * math.pi * (1 + 2 * _uniform(n, generator))
    roll = angle.unsqueeze(-1) * torch.stack([angle.cos(), angle.sin()], -1)
    return (roll + 0.4 * _normal(n, generator)) / 7.5


def _two_moons(n: int, generator: torch.Generator | None) -> Tensor:
    angle = math.pi * _uniform(n, generator)
    lower = torch.randint(2, (n,), generator=generator, dtype=torch.bool)
    upper_moon = torch.stack([angle.cos(), angle.sin()], -1)
    lower_moon = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], -1)
    moons = torch.where(lower.unsqueeze(-1), lower_moon, upper_moon) - torch.tensor([0.5, 0.25])
    return 1.5 * moons + 0.1 * _normal(n, generator)


def _pinwheel(n: int, generator: torch.Generator | None, arms: int = 5) -> Tensor:
    arm = torch.randint(arms, (n,), generator=generator)
    points = _normal(n, generator) * torch.tensor([0.3, 0.05]) + torch.tensor([1.0, 0.0])
    angle = 2 * math.pi * arm / arms + 0.25 * points[:, 0].exp()
    cos, sin = angle.cos(), angle.sin()
    turned = torch.stack(
        [cos * points[:, 0] - sin * points[:, 1], sin * points[:, 0] + cos * points[:, 1]], -1
    )
    return 1.5 * turned


grid25 = GaussianModes("grid25", _grid(5), std=0.05)
grid9 = GaussianModes("grid9", _grid(3), std=0.05)
ring8 = GaussianModes("ring8", _ring(8, radius=2.0), std=0.05)
checkerboard = Checkerboard()
swiss_roll = Toy("swiss_roll", _swiss_roll)
two_moons = Toy("two_moons", _two_moons)
pinwheel = Toy("pinwheel", _pinwheel)


class Mixture1D:
    """A one-dimensional Gaussian mixture with exact density.

    Args:
        weights, means, stds: one entry a component; weights sum to 1.

    The default is the two-mode mixture of the chapters on distances and on denoising.
    """

    def __init__(self, weights=(0.6, 0.4), means=(-1.0, 1.5), stds=(0.3, 0.4)):
        self.weights, self.means, self.stds = (
            torch.tensor(v, dtype=torch.float64) for v in (weights, means, stds)
        )
        if (
            not torch.isclose(self.weights.sum(), torch.ones((), dtype=torch.float64))
            or (self.weights < 0).any()
        ):
            raise ValueError(f"mixture weights must be non-negative and sum to 1; got {tuple(weights)}")

    def __call__(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """`(n,)` float32 draws."""
        which = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        return (self.means[which] + self.stds[which] * torch.randn(n, generator=generator)).float()

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log-density in nats, of the shape of `x`."""
        means, stds, weights = self.means.to(x), self.stds.to(x), self.weights.to(x)
        z = (x.unsqueeze(-1) - means) / stds
        return torch.logsumexp(weights.log() - 0.5 * z**2 - stds.log() - 0.5 * math.log(2 * math.pi), -1)


mixture1d = Mixture1D()

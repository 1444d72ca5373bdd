"""Denoising diffusion: noise is added in T small Gaussian steps, and a network learns to take each of them back.

The network sees x_t and t and predicts what was mixed. One regression loss trains all steps at once; it is a reweighted form
of a variational bound, which the model can also compute. Sampling starts from noise and walks back, step by step.

| symbol | here | shape | meaning |
|---|---|---|---|
| x_t, t | `xt`, `t` | (B, C, H, W) or (B, dim); (B,) int64 | noised data; its step, counted from zero |
| eps | `noise` | as x_t | what the network predicts, by default |
| x^_0 | `x0` | as x_t | the data behind x_t, as the network guesses them |
| sigma_t^2 | `log_variance` | (B, 1, ...) or as x_t | noise of the step back |
| y, K | `y`, `classes` | (B,) int64 | label; K stands for "no label" |
| w | `guidance` | | weight of the label: 0 ignores it, 1 is the conditional model, more than 1 exaggerates |

Sources: Ho et al. 2020 (algorithms 1 and 2, equations 5-14); Nichol & Dhariwal 2021 (learned variances, equations 14-16); Ho &
Salimans 2022 (guidance). Images are in [0, 1] at the door and in [-1, 1] inside; points are taken as they are.
"""

import collections
import functools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Generator, Tensor, nn

from course_lib.models.diffusion_bound import DRAWN_STEPS, step_cost, sum_of_steps
from course_lib.models.gaussian_diffusion import (
    GaussianDiffusion,
    cosine_betas,
    inward,
    linear_betas,
    make_betas,
)
from course_lib.nn.mlp import TimeMLP
from course_lib.nn.unet import UNet

__all__ = ["DDPM", "GaussianDiffusion", "build", "cosine_betas", "linear_betas"]

PREDICTIONS = ("eps", "x0", "v")
VARIANCES = ("beta", "posterior", "learned")
VLB_WEIGHT = 0.001  # of the bound beside the regression (Nichol & Dhariwal, equation 16)


class DDPM(nn.Module):
    """A diffusion model around a network.

    Args:
        network: `network(x, t)`, or `network(x, t, y)` where there are classes; twice the channels come out if variances are
            learned.
        betas: `(T,)`, T at least 2.
        shape: of one image `(C, H, W)` or point `(dim,)`.
        prediction: what the network predicts, one of `PREDICTIONS`.
        variance: of the step back: "beta", the "posterior"'s, or "learned" between the two.
        classes: number K of labels; None for a model without.
        label_dropout: share of training images whose label is withheld, so that one network learns both laws.
        times: `(T,)` times to tell the network, where they are not 0..T-1.
        sample_steps: steps that `sample` takes unless told otherwise; all of them if None.

    Raises:
        ValueError: an unknown name, or numbers out of range.
    """

    def __init__(
        self,
        network: nn.Module,
        betas: Tensor,
        shape: Sequence[int],
        prediction: str = "eps",
        variance: str = "beta",
        label_dropout: float = 0.1,
        classes: int | None = None,
        times: Tensor | None = None,
        sample_steps: int | None = None,
    ):
        super().__init__()
        self.network, self.diffusion, self.shape = network, GaussianDiffusion(betas), tuple(shape)
        T = self.diffusion.T
        if prediction not in PREDICTIONS or variance not in VARIANCES:
            known = f"{', '.join(PREDICTIONS)}; {', '.join(VARIANCES)}"
            raise ValueError(f"unknown prediction={prediction!r} or variance={variance!r}: there are {known}")
        if T < 2 or not 0 <= label_dropout <= 1 or not 2 <= (sample_steps or T) <= T:
            got = f"T={T}, label_dropout={label_dropout}, sample_steps={sample_steps}"
            raise ValueError(f"T starts at 2, label_dropout is a share, sample_steps in 2..T; got {got}")
        self.prediction, self.variance, self.classes = prediction, variance, classes
        self.label_dropout, self.sample_steps = label_dropout, sample_steps
        self.images = len(self.shape) == 3
        # beta~ is 0 at the first step; the authors' code takes the next one there, and in beta's place too for images
        small, large = self.diffusion.posterior_variance.clone(), self.diffusion.betas.clone()
        small[0] = small[1]
        large[0] = small[0] if self.images else large[0]
        times = torch.arange(T) if times is None else times
        for name, table in {"log_small": small.log(), "log_large": large.log(), "times": times}.items():
            self.register_buffer(name, table, persistent=False)

    @property
    def n_evaluations(self) -> int:
        """Network evaluations per sample; twice as many with guidance."""
        return self.sample_steps or self.diffusion.T

    def _labels(self, y: Tensor | None, t: Tensor) -> Tensor:
        """Labels `(B,)`, K for "none"; `ValueError` for what is none."""
        y = torch.full_like(t, self.classes) if y is None else y
        outside = y.device.type == "cpu" and y.numel() and (y.min() < 0 or y.max() > self.classes)
        if y.dtype != torch.int64 or y.shape != t.shape or outside:
            wanted = f"({len(t)},) in 0..{self.classes - 1}, or {self.classes} for none"
            raise ValueError(f"labels must be int64 {wanted}; got {y.dtype} {tuple(y.shape)}")
        return y

    def _call(self, xt: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        labels = () if self.classes is None else (self._labels(y, t),)
        answer = self.network(xt, self.times[t], *labels)
        return answer.to(torch.promote_types(answer.dtype, xt.dtype))  # bfloat16 is too coarse to step with

    def outputs(
        self, xt: Tensor, t: Tensor, y: Tensor | None = None, guidance: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """The prediction, of the shape of x_t, and log sigma_t^2, which broadcasts to it.

        Implements: ddpm-guidance, ddpm-learned-variance
        """
        answer, channels = self._call(xt, t, y), self.shape[0]
        predicted = answer[:, :channels]
        if y is not None and guidance != 1:
            without = self._call(xt, t, None)[:, :channels]
            predicted = without + guidance * (predicted - without)
        log_small, log_large = (self.diffusion.at(v, t, xt) for v in (self.log_small, self.log_large))
        if self.variance == "learned":
            share = (answer[:, channels:] + 1) / 2
            return predicted, share * log_large + (1 - share) * log_small
        return predicted, log_large if self.variance == "beta" else log_small

    def predict(
        self, xt: Tensor, t: Tensor, y: Tensor | None = None, guidance: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """The guesses of x_0 and eps that lie behind x_t, not clipped to the range of images."""
        return self.diffusion.pair(self.prediction, self.outputs(xt, t, y, guidance)[0], xt, t)

    def score(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """The model's gradient of log q_t at x_t, in the units of x_t.

        Implements: ddpm-score
        """
        return -self.predict(xt, t, y)[1] / self.diffusion.at(self.diffusion.sigma, t, xt)

    def loss(self, x: Tensor, y: Tensor | None = None, *, generator: Generator | None = None) -> Tensor:
        """Mean squared error of the prediction, over values and batch; plus a little of the bound where variances are learned.

        Implements: ddpm-simple, ddpm-hybrid
        """
        x0 = inward(x, self.shape)
        options = {"generator": generator, "device": x.device}
        t = torch.randint(self.diffusion.T, (len(x0),), **options)
        noise = torch.randn(x0.shape, dtype=x0.dtype, **options)
        if self.classes is not None and y is not None:
            withheld = torch.rand(len(x0), **options) < self.label_dropout
            y = torch.where(withheld, self.classes, self._labels(y, t))
        xt = self.diffusion.q_sample(x0, t, noise)
        predicted, log_variance = self.outputs(xt, t, y)
        target = {"eps": noise, "x0": x0, "v": self.diffusion.v_from(x0, noise, t)}[self.prediction]
        error = (predicted - target).square().mean()
        if self.variance != "learned":
            return error
        mean, _ = self.mean(predicted.detach(), xt, t)  # the bound teaches the variance alone
        nats = step_cost(self.diffusion, x0, xt, t, mean, log_variance, self.images)
        return error + VLB_WEIGHT * self.diffusion.T * nats.mean() / (x0[0].numel() * math.log(2))

    def mean(self, predicted: Tensor, xt: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Mean of the step back, and the x_0 that it aims at: within [-1, 1] where images are.

        Implements: ddpm-reverse
        """
        x0, _ = self.diffusion.pair(self.prediction, predicted, xt, t)
        x0 = x0.clamp(-1, 1) if self.images else x0
        return self.diffusion.posterior(x0, xt, t)[0], x0

    def step(
        self, xt: Tensor, t: Tensor, noise: Tensor, y: Tensor | None = None, guidance: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """One step back: x_{t-1}, and the x_0 that it aims at. No noise where t = 0.

        Args:
            xt, noise: of one shape; noise standard normal. t: `(B,)` int64.

        Implements: ddpm-step
        """
        predicted, log_variance = self.outputs(xt, t, y, guidance)
        mean, x0 = self.mean(predicted, xt, t)
        noisy = (t > 0).view(-1, *[1] * len(self.shape))
        return mean + noisy * (0.5 * log_variance).exp() * noise, x0

    def strided(self, steps: int) -> "DDPM":
        """The same network with `steps` longer steps, evenly spread over 0..T-1, both ends among them."""
        if not 2 <= steps <= self.diffusion.T:
            raise ValueError(f"steps must be in 2..{self.diffusion.T}; got {steps}")
        kept = torch.linspace(0, self.diffusion.T - 1, steps, dtype=torch.float64).round().long()
        betas = self.diffusion.merged(kept).betas
        options = {"classes": self.classes, "times": self.times.cpu()[kept]}
        model = DDPM(nn.Identity(), betas, self.shape, self.prediction, self.variance, **options)
        model.to(self.diffusion.betas.device, self.diffusion.betas.dtype)
        model.network = self.network  # after the tables have moved: it stays as it is
        return model

    @torch.no_grad()
    def trajectory(
        self, n: int, y: Tensor | None = None, *, generator: Generator | None = None, guidance: float = 1.0
    ) -> Iterator[tuple[int, Tensor, Tensor]]:
        """All steps back of `n` samples: t, then x_{t-1} and the x_0 that it aims at, as the diffusion sees them.

        Implements: ddpm-progressive
        """
        like = next(self.network.parameters(), self.diffusion.betas)
        options = {"generator": generator, "device": like.device, "dtype": like.dtype}
        x = torch.randn(n, *self.shape, **options)
        for i in reversed(range(self.diffusion.T)):
            t = torch.full((n,), i, device=like.device)
            x, x0 = self.step(x, t, torch.randn(n, *self.shape, **options), y, guidance)
            yield i, x, x0

    def sample(
        self,
        n: int,
        y: Tensor | None = None,
        *,
        generator: Generator | None = None,
        guidance: float = 1.0,
        steps: int | None = None,
    ) -> Tensor:
        """`n` images in [0, 1], or points.

        Args:
            y: labels `(n,)`, `classes` for none; left out, uniformly drawn where the network knows labels.
            guidance: w; of use with labels only, and doubles the evaluations where it is not 1.
            steps: `sample_steps` if left out.
        """
        if y is None and self.classes is not None:
            y = torch.randint(self.classes, (n,), generator=generator, device=self.diffusion.betas.device)
        steps = steps or self.n_evaluations
        model = self if steps == self.diffusion.T else self.strided(steps)
        walk = model.trajectory(n, y, generator=generator, guidance=guidance)
        x = collections.deque(walk, maxlen=1)[0][1]
        return ((x + 1) / 2).clamp(0, 1) if self.images else x

    @torch.no_grad()
    def bound_terms(self, x: Tensor, t: Tensor, *, generator: Generator | None = None) -> Tensor:
        """The bound's term at each datum's own step t, from one draw of x_t: `(B,)` in nats."""
        x0 = inward(x, self.shape)
        noise = torch.randn(x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)
        xt = self.diffusion.q_sample(x0, t, noise)
        predicted, log_variance = self.outputs(xt, t)
        mean, _ = self.mean(predicted, xt, t)
        return step_cost(self.diffusion, x0, xt, t, mean, log_variance, self.images)

    def elbo(
        self, x: Tensor, times: int | None = DRAWN_STEPS, *, generator: Generator | None = None
    ) -> Tensor:
        """Unbiased estimate of the variational bound, `(B,)` in nats: log-mass of 8-bit images, log-density of points.

        Args:
            times: how many of the steps t > 0 are drawn for each datum; None takes them all, T network evaluations.
        """
        known = self.diffusion.prior_kl(inward(x, self.shape)).double()
        cost = functools.partial(self.bound_terms, x, generator=generator)
        return -known - sum_of_steps(cost, self.diffusion.T, len(x), times, x.device, generator)


def build(
    image_shape: Sequence[int] | None = (1, 28, 28),
    dim: int = 2,
    width: int = 32,
    T: int = 1000,
    schedule: str = "linear",
    prediction: str = "eps",
    variance: str = "beta",
    classes: int | None = None,
    label_dropout: float = 0.1,
    sample_steps: int | None = None,
    **options,
) -> DDPM:
    """A U-Net for images, a `TimeMLP` for points.

    Args:
        image_shape: `(C, H, W)`, square; None for points of dimension `dim`.
        width: channels of the first level, or of the hidden layers.
        T, schedule: "linear" or "cosine" betas.
        options: of the network. The rest as in `DDPM`.
    """
    values = 2 if variance == "learned" else 1
    if image_shape is None:
        shape, network = (dim,), TimeMLP(dim, width=width, out_dim=values * dim, classes=classes, **options)
    else:
        shape, (channels, size, _) = image_shape, image_shape
        network = UNet(channels, size, width, out_channels=values * channels, classes=classes, **options)
    betas = make_betas(schedule, T)
    model = DDPM(network, betas, shape, prediction, variance, label_dropout, classes, None, sample_steps)
    return model.float() if torch.backends.mps.is_available() else model  # Apple's GPUs have no float64

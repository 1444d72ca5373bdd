"""Maximum mean discrepancy: the distance between two laws' mean functions in a kernel's space.

MMD^2(p, q) = E k(x, x') - 2 E k(x, y) + E k(y, y'). A single estimator for every chapter: chunked, so that no n x n matrix
stands in memory, neither forward nor backward.

kernel        k(x, y), r = ||x - y||, C = 2 dim s summed over the scales s
"imq"         sum C / (C + r^2), the inverse multiquadratic
"gaussian"    sum exp(-r^2 / C); C / (C + r^2) = integral over t > 0 of e^-t exp(-r^2 t / C): one is a mixture of the other
"cubic"       (x.y / dim + 1)^3, the kernel of KID; no scales

Sources: Gretton et al. (2012), lemma 6; Tolstikhin et al. (2018), section 4; Binkowski et al. (2018).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from course_lib.distributions import gaussian_mmd2
from course_lib.metrics.pairwise import check_points, squared_distances

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
KERNELS = ("imq", "gaussian", "cubic")
# Entries of a chunk of a kernel matrix: 1 MB in float32 stays in a core's cache; chunks of 16 MB take several times longer.
CHUNK = 2**18


def mmd2(
    x: Tensor,
    y: Tensor,
    kernel: str = "imq",
    scales: Sequence[float] | None = None,
    unbiased: bool = True,
) -> Tensor:
    """Estimate of the squared MMD between the laws of two samples; differentiable.

    Args:
        x, y: `(n, d)` and `(m, d)` float points.
        kernel: "imq", "gaussian" or "cubic".
        scales: s in C = 2 d s; (.1, .2, .5, 1, 2, 5, 10) if left out. The cubic kernel has none.
        unbiased: the U-statistic, whose mean is MMD^2 and which may be negative; else the V-statistic, MMD^2 of the two
            empirical laws, too large by (E k(x, x) - E k(x, x')) / n and the same for y.

    Returns:
        A scalar of the dtype of `x`.

    Raises:
        ValueError: not points of one dimension, NaN, fewer than two points for the U-statistic, an unknown kernel, or
            scales that are not positive.

    Implements: distances-mmd, distances-mmd-u, distances-mmd-v
    """
    check_points(x, y)
    if unbiased and min(len(x), len(y)) < 2:
        raise ValueError(f"the U-statistic needs at least two points of each law; got {len(x)} and {len(y)}")
    k = _kernel(kernel, _constants(kernel, scales, x.shape[1]))
    if kernel != "cubic":  # moving both samples changes no distance, and rounding less near the origin
        centre = x.mean(0).detach()
        x, y = x - centre, y - centre
    return _mean(k, x, x, unbiased) + _mean(k, y, y, unbiased) - 2 * _mean(k, x, y, False)


def mmd2_gaussians(
    mu_a: Tensor,
    cov_a: Tensor,
    mu_b: Tensor,
    cov_b: Tensor,
    kernel: str = "imq",
    scales: Sequence[float] | None = None,
) -> Tensor:
    """Exact squared MMD between N(mu_a, cov_a) and N(mu_b, cov_b) for the kernels and scales of `mmd2`.

    The Gaussian kernel has a closed form; the inverse multiquadratic one is its mixture over scales, integrated to about
    1e-12 of the kernel's size in float64.

    Raises:
        ValueError: shapes that do not fit, the cubic kernel, or scales that are not positive.

    Implements: distances-kernel-mixture
    """
    if kernel == "cubic":
        raise ValueError("expected kernel 'imq' or 'gaussian'; the cubic one has no closed form here")
    constants = torch.tensor(_constants(kernel, scales, len(mu_a)), dtype=mu_a.dtype, device=mu_a.device)
    if kernel == "gaussian":
        return gaussian_mmd2(mu_a, cov_a, mu_b, cov_b, constants).sum()
    # t = exp(u - e^-u) makes the integrand fall doubly exponentially at both ends: the trapezoid rule is then exact.
    u = torch.linspace(-3.8, 3.9, 400, dtype=mu_a.dtype, device=mu_a.device)
    t = (u - (-u).exp()).exp()
    weights = (-t).exp() * t * (1 + (-u).exp())
    values = gaussian_mmd2(mu_a, cov_a, mu_b, cov_b, constants[:, None] / t)  # (scales, nodes)
    return torch.trapezoid(weights * values, u).sum()


def _constants(kernel: str, scales: Sequence[float] | None, dim: int) -> list[float]:
    if kernel not in KERNELS:
        raise ValueError(f"unknown kernel {kernel!r}: expected one of {', '.join(KERNELS)}")
    if kernel == "cubic" and scales is not None:
        raise ValueError("the cubic kernel has no scales")
    scales = list(SCALES if scales is None else scales)
    if not scales or not all(0 < s < float("inf") for s in scales):
        raise ValueError(f"scales must be positive and finite; got {scales}")
    return [2 * dim * s for s in scales]


def _kernel(name: str, constants: list[float]) -> Callable[[Tensor, Tensor], Tensor]:
    """The kernel matrix `(n, m)` as a function of `(n, d)` and `(m, d)`."""

    def cubic(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def imq(x: Tensor, y: Tensor) -> Tensor:
        squared = squared_distances(x, y)
        return sum(c / (c + squared) for c in constants)

    def gaussian(x: Tensor, y: Tensor) -> Tensor:
        squared = squared_distances(x, y)
        return sum(torch.exp(-squared / c) for c in constants)

    return {"cubic": cubic, "imq": imq, "gaussian": gaussian}[name]


def _mean(k: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor, without_diagonal: bool) -> Tensor:
    """Mean of k over all pairs, a chunk of rows at a time; `without_diagonal` leaves out the pairs (i, i)."""

    def part(rows: Tensor, y: Tensor, first: int) -> Tensor:
        values = k(rows, y)
        total = values.sum()
        return total - values.diagonal(first).sum() if without_diagonal else total

    rows = max(1, CHUNK // len(y))
    total = part(x, y, 0) if len(x) <= rows else _ChunkedSum.apply(x, y, part, rows)
    return total / (len(x) * (len(y) - 1 if without_diagonal else len(y)))


class _ChunkedSum(torch.autograd.Function):
    """Sum of `part` over chunks of rows; the backward pass computes each chunk again instead of keeping all of them.

    Results go into one tensor made beforehand: small tensors kept between large ones would fragment the heap.
    """

    @staticmethod
    def forward(ctx, x, y, part, rows):
        ctx.save_for_backward(x, y)
        ctx.part, ctx.rows = part, rows
        chunks = x.split(rows)
        totals = x.new_empty(len(chunks))
        for i, chunk in enumerate(chunks):
            totals[i] = part(chunk, y, i * rows)
        return totals.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        x, y = (points.detach() for points in ctx.saved_tensors)
        of_x, of_y = torch.empty_like(x), torch.zeros_like(y)
        for i, (chunk, of_chunk) in enumerate(zip(x.split(ctx.rows), of_x.split(ctx.rows), strict=True)):
            with torch.enable_grad():
                pair = chunk.clone().requires_grad_(), y.clone().requires_grad_()
                gradients = torch.autograd.grad(ctx.part(*pair, i * ctx.rows), pair)
            of_chunk.copy_(gradients[0])
            of_y += gradients[1]
        return gradient * of_x, gradient * of_y, None, None

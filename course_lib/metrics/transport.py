"""Optimal transport between point clouds: exact, entropic, on the line, sliced, and its dual.

Primal: the cheapest plan P >= 0 with row sums a and column sums b, cost sum_ij P_ij ||x_i - y_j||^p = W_p^p.
Dual (Kantorovich): the largest sum a phi + sum b psi with phi_i + psi_j <= c_ij; equal where P_ij > 0.
Dual for p = 1 (Kantorovich-Rubinstein): the largest sum a f(x) - sum b f(y) over 1-Lipschitz f.

symbol        shape           meaning
x, y          (n, d), (m, d)  points
a, b          (n,), (m,)      their weights, uniform where left out
plan, P       (n, m)          mass moved from x_i to y_j
phi, psi      (n,), (m,)      Kantorovich potentials

Sources: Peyre & Cuturi (2019), "Computational optimal transport"; Villani (2009), theorem 5.10.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.metrics.pairwise import check_points


class Transport(NamedTuple):
    """A solution: scalar `cost`, `plan` `(n, m)`, potentials `phi` `(n,)` and `psi` `(m,)`.

    `cost` has a gradient in the points, with the plan held: that of the optimal value (the plan is optimal, so its own
    change counts nothing to first order).
    """

    cost: Tensor
    plan: Tensor
    phi: Tensor
    psi: Tensor


def wasserstein1(x: Tensor, y: Tensor) -> Tensor:
    """W_1 between two samples: in one dimension by quantiles, in more by an exact linear programme (POT).

    Args:
        x, y: `(n,)` and `(m,)`, or `(n, d)` and `(m, d)`; n and m may differ.

    Returns:
        A scalar, differentiable in the points. One dimension costs a sort; more need the n x m matrix of distances.

    Raises:
        ValueError: points of different dimension, an empty sample, or NaN.

    Implements: distances-w1-quantile
    """
    if x.ndim == 1 and y.ndim == 1:
        x, y = x[:, None], y[:, None]
    check_points(x, y)
    if x.shape[1] > 1:
        return optimal_transport(x, y).cost
    i, j, weight = _quantile_pairs(x, y)
    distance = (x[:, 0].sort().values[i] - y[:, 0].sort().values[j]).abs()
    return (weight * distance).sum()


def optimal_transport(
    x: Tensor, y: Tensor, a: Tensor | None = None, b: Tensor | None = None, p: float = 1
) -> Transport:
    """Exact optimal transport for the cost ||x_i - y_j||^p, by POT's network simplex.

    Args:
        x, y: `(n, d)`, `(m, d)`.
        a, b: weights that sum to 1; uniform if left out.
        p: power of the distance, at least 1; the cost is W_p^p.

    Raises:
        ValueError: points of different dimension, NaN, or weights that are negative or do not sum to 1.
        RuntimeError: the solver did not reach the optimum.

    Implements: distances-wasserstein, distances-kantorovich
    """
    import ot

    cost, a, b = _problem(x, y, a, b, p)
    c = cost.detach().cpu().double().numpy()
    plan, log = ot.emd(a, b, c, numItermax=10_000_000, log=True)
    if log["warning"]:
        raise RuntimeError(f"optimal transport of {len(x)} to {len(y)} points failed: {log['warning']}")
    plan, phi, psi = (torch.as_tensor(v).to(cost) for v in (plan, log["u"], log["v"]))
    return Transport((plan * cost).sum(), plan, phi, psi)


def sinkhorn(
    x: Tensor, y: Tensor, epsilon: float, a: Tensor | None = None, b: Tensor | None = None, p: float = 1
) -> Transport:
    """Entropic optimal transport: the plan that minimises <P, c> + epsilon KL(P || a b^T), by POT in the log domain.

    P_ij = a_i b_j exp((phi_i + psi_j - c_ij) / epsilon). `cost` is <P, c> alone: it falls to the exact cost as epsilon -> 0,
    while the iterations grow in number. They stop when the marginals of P are right to 1e-6. The gradient of `cost` is that
    of the whole minimum, its entropy included.

    Args:
        epsilon: temperature, in units of the cost.
        x, y, a, b, p: as in `optimal_transport`; all weights positive.

    Raises:
        ValueError: as `optimal_transport`; epsilon or a weight not positive.
        RuntimeError: no convergence in 100,000 iterations.

    Implements: distances-sinkhorn
    """
    import numpy as np
    import ot

    if not epsilon > 0:
        raise ValueError(f"epsilon must be positive; got {epsilon}")
    cost, a, b = _problem(x, y, a, b, p)
    if min(a.min(), b.min()) == 0:
        raise ValueError("entropic transport needs positive weights: drop the points of weight 0")
    c = cost.detach().cpu().double().numpy()
    temperature, phi, psi = max(c.max(), epsilon), np.zeros(len(a)), np.zeros(len(b))
    while True:  # from warm to cold, each temperature from the potentials of the last: several times faster
        options = {"numItermax": 100_000, "stopThr": 1e-6, "log": True, "warn": False}
        with np.errstate(over="ignore"):  # POT also returns exp(phi / epsilon), which nobody needs
            start = phi / temperature, psi / temperature
            plan, log = ot.bregman.sinkhorn_log(a, b, c, temperature, warmstart=start, **options)
        if not log["err"][-1] < options["stopThr"]:
            raise RuntimeError(f"Sinkhorn has not converged at temperature {temperature:.3g}: raise epsilon")
        phi, psi = temperature * log["log_u"], temperature * log["log_v"]
        if temperature == epsilon:
            break
        temperature = max(temperature / 2, epsilon)
    phi, psi = phi - epsilon * np.log(a), psi - epsilon * np.log(b)  # POT's plan is exp(...) without a and b
    plan, phi, psi = (torch.as_tensor(v).to(cost) for v in (plan, phi, psi))
    return Transport((plan * cost).sum(), plan, phi, psi)


def lipschitz_dual(
    x: Tensor, y: Tensor, a: Tensor | None = None, b: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The largest sum a f(x) - sum b f(y) over functions f that are 1-Lipschitz on all n + m points.

    One linear programme with a variable a point and a constraint a pair of points: for a few hundred points. f is free up
    to a constant; here its mean over the points is 0.

    Returns:
        The value (equal to W_1), f on x `(n,)`, f on y `(m,)`.

    Raises:
        ValueError: as `optimal_transport`.
        RuntimeError: the solver did not reach the optimum.

    Implements: distances-kr
    """
    import numpy as np
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    _, a, b = _problem(x, y, a, b, 1)
    points = torch.cat([x, y]).detach()
    distance = _distances(points, points).cpu().double().numpy()
    n = len(points)
    i, j = np.nonzero(~np.eye(n, dtype=bool))
    row = np.arange(len(i))
    ones = np.ones(len(i))
    differences = coo_array(
        (np.concatenate([ones, -ones]), (np.concatenate([row, row]), np.concatenate([i, j]))),
        shape=(len(i), n),
    )
    bounds = [(0, 0)] + [(None, None)] * (n - 1)  # f(x_0) = 0 fixes the constant
    gain = np.concatenate([a, -b])
    solution = linprog(-gain, A_ub=differences.tocsr(), b_ub=distance[i, j], bounds=bounds, method="highs")
    if solution.status != 0:
        raise RuntimeError(f"the dual linear programme failed: {solution.message}")
    f = torch.as_tensor(solution.x - solution.x.mean()).to(points)
    return torch.tensor(-solution.fun).to(points), f[: len(x)], f[len(x) :]


def sliced_wasserstein2(
    x: Tensor, y: Tensor, projections: int = 100, generator: torch.Generator | None = None
) -> Tensor:
    """Squared sliced W_2: the mean over random directions of the squared W_2 of the projections, by quantiles.

    Args:
        x, y: `(n, d)`, `(m, d)`; n and m may differ.
        projections: number of directions, uniform on the sphere.

    Returns:
        A scalar, differentiable in the points. Between N(u, S) and N(v, S) it estimates ||u - v||^2 / d.

    Raises:
        ValueError: points of different dimension, NaN, or no projection.

    Implements: distances-sliced
    """
    check_points(x, y)
    if projections < 1:
        raise ValueError(f"projections must be at least 1; got {projections}")
    directions = torch.randn(x.shape[1], projections, generator=generator, dtype=x.dtype, device=x.device)
    directions = directions / directions.norm(dim=0)
    i, j, weight = _quantile_pairs(x, y)
    gap = (x @ directions).sort(0).values[i] - (y @ directions).sort(0).values[j]  # (pairs, projections)
    return (weight @ gap.square()).mean()


def _quantile_pairs(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which order statistics two empirical quantile functions pair on each interval of levels, and its length.

    Levels are counted in units of 1/(n m): integers, so that steps at the same level are found equal.
    """
    n, m = len(x), len(y)
    steps = [torch.arange(1, k + 1, device=x.device) * other for k, other in ((n, m), (m, n))]
    levels = torch.cat(steps).unique()  # sorted
    lengths = levels.diff(prepend=levels.new_zeros(1))
    return (levels - 1) // m, (levels - 1) // n, lengths.to(x.dtype) / (n * m)


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """||x_i - y_j|| without the cancellation of the matrix-product form: near pairs decide an optimal plan."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def _problem(x: Tensor, y: Tensor, a: Tensor | None, b: Tensor | None, p: float):
    """Cost matrix as a tensor, weights as float64 arrays, all checked."""
    check_points(x, y)
    if not p >= 1:
        raise ValueError(f"p must be at least 1; got {p}")
    return _distances(x, y) ** p, _weights(a, len(x)), _weights(b, len(y))


def _weights(weights: Tensor | None, n: int):
    if weights is None:
        weights = torch.ones(n) / n
    weights = torch.as_tensor(weights).detach().cpu().double()
    if weights.shape != (n,):
        raise ValueError(f"expected one weight a point, ({n},); got {tuple(weights.shape)}")
    if not (weights >= 0).all() or abs(weights.sum().item() - 1) > 1e-5:
        raise ValueError("weights must be at least 0 and sum to 1")
    return (weights / weights.sum()).numpy()

"""Optimal transport against SciPy, POT, linear programming by hand, closed forms, and its own duals."""

import itertools

import numpy as np
import ot
import pytest
import scipy.optimize
import scipy.stats
import torch

from course_lib.distributions import gaussian_w1
from course_lib.metrics.transport import (
    lipschitz_dual,
    optimal_transport,
    sinkhorn,
    sliced_wasserstein2,
    wasserstein1,
)


def clouds(n=12, m=9, dim=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(k, dim, generator=generator, dtype=torch.float64) for k in (n, m))
    return x, 0.7 + 1.4 * y


def weights(n, seed=0):
    drawn = torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.05
    return drawn / drawn.sum()


def primal_by_linprog(cost, a, b):
    """The transport problem as a textbook linear programme, every constraint written out."""
    n, m = cost.shape
    rows = np.kron(np.eye(n), np.ones(m))
    columns = np.kron(np.ones(n), np.eye(m))
    solution = scipy.optimize.linprog(
        cost.ravel(), A_eq=np.concatenate([rows, columns]), b_eq=np.concatenate([a, b]), method="highs"
    )
    return solution.fun


@pytest.mark.equation("distances-w1-quantile")
@pytest.mark.parametrize(("n", "m"), [(50, 50), (50, 37), (12, 30), (1, 7)])
def test_w1_on_the_line_is_scipys_and_pots(n, m):
    x, y = (points[:, 0] for points in clouds(n, m, 1))
    value = wasserstein1(x, y).item()
    assert value == pytest.approx(scipy.stats.wasserstein_distance(x.numpy(), y.numpy()), rel=1e-12)
    assert value == pytest.approx(ot.emd2_1d(x.numpy(), y.numpy(), metric="euclidean"), rel=1e-12)
    assert value == pytest.approx(optimal_transport(x[:, None], y[:, None]).cost.item(), rel=1e-10)
    assert wasserstein1(x[:, None], y[:, None]).item() == value


@pytest.mark.equation("distances-w1-quantile")
def test_w1_on_the_line_with_ties_and_its_gradient():
    x, y = torch.tensor([0.0, 0.0, 1.0]).double(), torch.tensor([1.0, 0.0, 1.0, 1.0]).double()
    assert wasserstein1(x, y).item() == pytest.approx(2 / 3 - 1 / 4)
    x, y = (points[:, 0].requires_grad_() for points in clouds(7, 5, 1))
    assert torch.autograd.gradcheck(wasserstein1, (x, y))


@pytest.mark.equation("distances-w1-quantile", "distances-gaussian-w1")
def test_w1_of_gaussian_samples_comes_near_the_closed_form():
    """Quantiles at the middles of n equal levels: an error of the order of 1/n, where samples would have 1/sqrt(n)."""
    levels = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    z = torch.special.ndtri(levels)
    exact = gaussian_w1(*(torch.tensor(v).double() for v in (0.3, 2.0, 0.0, 0.5)))
    assert wasserstein1(0.3 + 2 * z, 0.5 * z).item() == pytest.approx(exact.item(), abs=1 / 20_000)


@pytest.mark.equation("distances-wasserstein")
@pytest.mark.parametrize("p", [1, 2, 1.5])
def test_transport_is_pots_and_a_linear_programmes(p):
    x, y = clouds()
    a, b = weights(12), weights(9, 1)
    found = optimal_transport(x, y, a, b, p)
    cost = ot.dist(x.numpy(), y.numpy(), "euclidean") ** p
    assert found.cost.item() == pytest.approx(ot.emd2(a.numpy(), b.numpy(), cost), rel=1e-10)
    assert found.cost.item() == pytest.approx(primal_by_linprog(cost, a.numpy(), b.numpy()), rel=1e-6)
    assert (found.plan >= 0).all()
    torch.testing.assert_close(found.plan.sum(1), a)
    torch.testing.assert_close(found.plan.sum(0), b)
    uniform = optimal_transport(x, y, p=p).cost.item()
    assert uniform == pytest.approx(
        optimal_transport(x, y, torch.ones(12) / 12, torch.ones(9) / 9, p).cost.item()
    )


@pytest.mark.equation("distances-kantorovich")
@pytest.mark.parametrize("p", [1, 2])
def test_potentials_are_feasible_tight_on_the_plan_and_as_good_as_it(p):
    x, y = clouds(30, 40)
    a, b = weights(30), weights(40, 1)
    found = optimal_transport(x, y, a, b, p)
    slack = torch.cdist(x, y) ** p - found.phi[:, None] - found.psi
    assert slack.min() > -1e-9
    assert slack[found.plan > 1e-12].abs().max() < 1e-9
    assert (a @ found.phi + b @ found.psi).item() == pytest.approx(found.cost.item(), rel=1e-9)


def test_transport_is_differentiable():
    """The optimal plan does not move with the points (envelope theorem), also where two points coincide."""
    x, y = (points.requires_grad_() for points in clouds(5, 4))
    for p in (1, 2):
        assert torch.autograd.gradcheck(lambda x, y, p=p: optimal_transport(x, y, p=p).cost, (x, y))
    same = optimal_transport(x, x.detach()).cost
    assert torch.autograd.grad(same, x)[0].isfinite().all()
    assert same.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.equation("distances-kr")
@pytest.mark.parametrize(("dim", "p_weights"), [(1, False), (2, False), (2, True), (5, True)])
def test_kantorovich_rubinstein_primal_is_dual(dim, p_weights):
    x, y = clouds(25, 20, dim)
    a, b = (weights(25), weights(20, 1)) if p_weights else (None, None)
    value, f_x, f_y = lipschitz_dual(x, y, a, b)
    assert value.item() == pytest.approx(optimal_transport(x, y, a, b).cost.item(), abs=1e-6)
    points, f = torch.cat([x, y]), torch.cat([f_x, f_y])
    distance = torch.cdist(points, points)
    assert ((f[:, None] - f).abs() <= distance + 1e-7).all()
    a, b = (torch.ones(k).double() / k if w is None else w for k, w in ((25, a), (20, b)))
    assert (a @ f_x - b @ f_y).item() == pytest.approx(value.item(), abs=1e-7)
    assert f.mean().item() == pytest.approx(0, abs=1e-12)


@pytest.mark.equation("distances-sinkhorn")
def test_sinkhorn_plan_has_its_form_and_marginals_and_falls_to_the_exact_cost():
    x, y = clouds(15, 10)
    a, b = weights(15), weights(10, 1)
    exact, cost = optimal_transport(x, y, a, b).cost.item(), torch.cdist(x, y)
    excess = []
    for epsilon in (1.0, 0.3, 0.1, 0.03):
        found = sinkhorn(x, y, epsilon, a, b)
        torch.testing.assert_close(found.plan.sum(1), a, rtol=0, atol=1e-5)
        torch.testing.assert_close(found.plan.sum(0), b, rtol=0, atol=1e-5)
        form = a[:, None] * b * torch.exp((found.phi[:, None] + found.psi - cost) / epsilon)
        torch.testing.assert_close(found.plan, form, rtol=1e-9, atol=1e-15)
        # strong duality of the entropic problem: <P, c> + epsilon KL(P || a b^T) = a.phi + b.psi
        kl = torch.xlogy(found.plan, found.plan / (a[:, None] * b)).sum()
        dual = a @ found.phi + b @ found.psi
        assert (found.cost + epsilon * kl).item() == pytest.approx(dual.item(), abs=1e-4)
        excess.append(found.cost.item() - exact)
    assert all(later < earlier / 2 for earlier, later in itertools.pairwise(excess))
    assert 0 < excess[-1] < 0.01 * exact


@pytest.mark.equation("distances-sinkhorn")
def test_sinkhorn_is_pots_in_one_go():
    x, y = clouds(15, 10)
    peer = ot.sinkhorn(np.ones(15) / 15, np.ones(10) / 10, ot.dist(x.numpy(), y.numpy()), 0.5, stopThr=1e-12)
    torch.testing.assert_close(sinkhorn(x, y, 0.5, p=2).plan, torch.as_tensor(peer), rtol=0, atol=1e-6)


@pytest.mark.equation("distances-sliced")
def test_sliced_w2_is_pots_on_the_same_projections():
    x, y = clouds(40, 40, 3)
    directions = torch.randn(3, 25, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    directions = directions / directions.norm(dim=0)
    for m in (40, 28):  # POT takes unequal sizes, too
        peer = ot.sliced_wasserstein_distance(x.numpy(), y[:m].numpy(), projections=directions.numpy())
        value = sliced_wasserstein2(x, y[:m], 25, torch.Generator().manual_seed(5))
        assert value.item() == pytest.approx(peer**2, rel=1e-9)


@pytest.mark.equation("distances-sliced")
def test_sliced_w2_of_a_moved_cloud_is_the_shift_over_the_dimension():
    """Every projection moves by theta.shift, and E (theta.shift)^2 = |shift|^2 / d."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 4, generator=generator, dtype=torch.float64)
    shift = torch.tensor([1.0, -2.0, 0.5, 0.0]).double()
    values = torch.stack([sliced_wasserstein2(x, x + shift, 200, generator) for _ in range(50)])
    error = values.std() / 50**0.5
    assert abs(values.mean() - shift.square().sum() / 4) < 3 * error
    assert error < 0.02


def test_sliced_w2_is_differentiable_and_repeatable():
    x, y = clouds(6, 4, 3)
    x.requires_grad_()

    def value(x):
        return sliced_wasserstein2(x, y, 10, torch.Generator().manual_seed(0))

    assert value(x) == value(x)
    assert torch.autograd.gradcheck(value, (x,))


def test_float32_stays_float32():
    x, y = (points.float() for points in clouds())
    assert wasserstein1(x, y).dtype == torch.float32
    assert wasserstein1(x[:, 0], y[:, 0]).dtype == torch.float32
    assert sliced_wasserstein2(x, y).dtype == torch.float32
    assert {t.dtype for t in (*optimal_transport(x, y), *sinkhorn(x, y, 1.0), *lipschitz_dual(x, y))} == {
        torch.float32
    }


def test_wrong_inputs_are_named():
    x, y = clouds()
    for function in (wasserstein1, optimal_transport, lipschitz_dual, sliced_wasserstein2):
        with pytest.raises(ValueError, match="different dimension"):
            function(x, y[:, :1])
        with pytest.raises(ValueError, match="NaN"):
            function(x, y * torch.nan)
    with pytest.raises(ValueError, match="float points"):
        wasserstein1(x[:, 0], y)
    with pytest.raises(ValueError, match="n > 0"):
        wasserstein1(x[:0], y)
    with pytest.raises(ValueError, match="at least 0 and sum to 1"):
        optimal_transport(x, y, a=torch.tensor([1.2, -0.2, *[0.0] * 10]))
    with pytest.raises(ValueError, match="at least 0 and sum to 1"):
        lipschitz_dual(x, y, b=torch.ones(9))
    with pytest.raises(ValueError, match="one weight a point"):
        optimal_transport(x, y, a=weights(9))
    with pytest.raises(ValueError, match="p must be at least 1"):
        optimal_transport(x, y, p=0.5)
    with pytest.raises(ValueError, match="epsilon must be positive"):
        sinkhorn(x, y, 0.0)
    with pytest.raises(ValueError, match="positive weights"):
        sinkhorn(x, y, 1.0, b=torch.tensor([0.0, *[0.125] * 8]))
    with pytest.raises(ValueError, match="projections"):
        sliced_wasserstein2(x, y, 0)

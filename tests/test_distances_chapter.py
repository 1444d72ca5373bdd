"""What chapter 02 proves: ceilings, the coin, Pinsker and the chain, witness and spectrum of the MMD, transport's continuity."""

import itertools
import math

import pytest
import torch
from torch import nn

from course_lib.data import Mixture1D
from course_lib.distributions import gaussian_mmd2
from course_lib.metrics import (
    F_DIVERGENCES,
    mmd2,
    optimal_transport,
    sinkhorn,
    sliced_wasserstein2,
    wasserstein1,
)
from course_lib.nn import MLP
from course_lib.training import recorded
from course_lib.training.experiments import distances_images, distances_samples

LOG_2 = math.log(2)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def random_laws(generator, count=200, points=6):
    """Pairs of probability vectors, `(count, points)` each, with zeros among their entries."""
    weights = -torch.rand(2, count, points, generator=generator, dtype=torch.float64).log()
    weights = weights * (torch.rand(2, count, points, generator=generator) < 0.8)
    weights[..., 0] += 1e-3  # no law without mass
    return weights / weights.sum(-1, keepdim=True)


def total_variation(p, q):
    return F_DIVERGENCES["total_variation"].discrete(p, q)


@pytest.mark.equation("distances-gibbs", "distances-ceiling")
@pytest.mark.parametrize("name", sorted(set(F_DIVERGENCES) - {"gan"}))
def test_an_f_divergence_lies_between_zero_and_its_ceiling(name, generator):
    family = F_DIVERGENCES[name]
    p, q = random_laws(generator)
    zero, infinity = torch.zeros((), dtype=torch.float64), torch.tensor(math.inf, dtype=torch.float64)
    ceiling = family.f(zero) + family.derivative(infinity)
    values = family.discrete(p, q)
    assert (values > 0).all()
    assert (values <= ceiling + 1e-12).all()
    torch.testing.assert_close(family.discrete(p, p), torch.zeros(200, dtype=torch.float64))
    apart = torch.eye(2, dtype=torch.float64)
    torch.testing.assert_close(family.discrete(*apart), ceiling)


@pytest.mark.equation("distances-jsd-ceiling")
def test_jsd_is_what_a_point_tells_about_the_coin(generator):
    p, q = random_laws(generator)
    joint = torch.stack([p, q], 1) / 2  # (count, coin, point)
    independent = joint.sum(1, keepdim=True) * joint.sum(2, keepdim=True)
    information = torch.xlogy(joint, joint / independent.clamp(min=1e-300)).sum((1, 2))
    jsd = F_DIVERGENCES["jensen_shannon"].discrete(p, q)
    torch.testing.assert_close(jsd, information)
    assert (jsd <= LOG_2).all()


@pytest.mark.equation("distances-gan")
def test_the_best_classifier_is_worth_twice_the_jsd_less_log_four(generator):
    p, q = random_laws(generator, count=20)
    # Searched at each point, no formula for D. Half a step of the logit, 1e-3, costs at most (p + q) 1e-6 / 8.
    heads = torch.linspace(-40, 40, 40_001, dtype=torch.float64).sigmoid()[:, None, None]
    best = (torch.xlogy(p, heads) + torch.xlogy(q, 1 - heads)).amax(0).sum(-1)
    value = 2 * F_DIVERGENCES["jensen_shannon"].discrete(p, q) - 2 * LOG_2
    torch.testing.assert_close(best, value, atol=3e-7, rtol=0)


@pytest.mark.equation("distances-seeking")
@pytest.mark.parametrize("weight", [0.1, 0.6])
def test_reverse_kl_charges_the_log_of_the_share_it_keeps(weight):
    mixture = Mixture1D((weight, 1 - weight), (-6.0, 6.0), (0.5, 0.7))
    x = torch.linspace(-12, 12, 4_001, dtype=torch.float64)
    hump = Mixture1D((1.0,), (-6.0,), (0.5,)).log_prob(x)
    value = F_DIVERGENCES["reverse_kl"].quadrature(mixture.log_prob(x), hump, x)
    assert value.item() == pytest.approx(math.log(1 / weight), abs=1e-8)


@pytest.mark.equation("distances-ess-gaussian")
@pytest.mark.parametrize("shift", [0.3, 1.0, 1.7])
def test_second_moment_of_the_weights_between_shifted_gaussians(shift):
    x = torch.linspace(-12, 16, 20_001, dtype=torch.float64)
    log_q = -0.5 * x**2 - 0.5 * math.log(2 * math.pi)
    log_p = -0.5 * (x - shift) ** 2 - 0.5 * math.log(2 * math.pi)
    second = torch.trapezoid(torch.exp(2 * log_p - log_q), x)
    assert second.item() == pytest.approx(math.exp(shift**2), rel=1e-9)
    pearson = F_DIVERGENCES["pearson"].quadrature(log_p, log_q, x)
    assert 1 + pearson.item() == pytest.approx(math.exp(shift**2), rel=1e-9)


@pytest.mark.equation("distances-mmd-sup", "distances-witness")
def test_no_function_of_the_unit_ball_beats_the_witness(generator):
    x, y = torch.randn(2, 15, 2, generator=generator, dtype=torch.float64)
    y = y + 1
    points = torch.cat([x, y])
    gram = torch.exp(-torch.cdist(points, points).square() / 4)  # C = 4: scale 1 in the plane
    mean_difference = gram[:15].mean(0) - gram[15:].mean(0)  # of k(., point) under x and under y
    mmd = mmd2(x, y, "gaussian", (1.0,), unbiased=False).sqrt()

    def gain(coefficients):  # of g = sum_i c_i k(points_i, .), at norm 1
        return (mean_difference @ coefficients) / (coefficients @ gram @ coefficients).sqrt()

    others = torch.randn(300, 30, generator=generator, dtype=torch.float64)
    assert all(gain(c) <= mmd + 1e-12 for c in others)
    witness = torch.cat([torch.ones(15), -torch.ones(15)]).double() / 15
    torch.testing.assert_close(gain(witness), mmd)


@pytest.mark.equation("distances-mmd-spectral")
@pytest.mark.parametrize("c", [0.3, 2.0, 20.0])
def test_mmd_is_the_mean_gap_between_characteristic_functions(c):
    mean_a, mean_b, var_a, var_b = 0.2, -0.7, 1.0, 0.3
    omega = torch.linspace(-40, 40, 80_001, dtype=torch.float64)
    density = torch.exp(-(omega**2) * c / 4) * math.sqrt(c / (4 * math.pi))  # N(0, 2/C)
    phi_a = torch.exp(1j * omega * mean_a - omega**2 * var_a / 2)
    phi_b = torch.exp(1j * omega * mean_b - omega**2 * var_b / 2)
    spectral = torch.trapezoid((phi_a - phi_b).abs().square() * density, omega)
    a, b = torch.tensor([[mean_a], [mean_b]], dtype=torch.float64)
    cov_a, cov_b = torch.tensor([[[var_a]], [[var_b]]], dtype=torch.float64)
    torch.testing.assert_close(spectral, gaussian_mmd2(a, cov_a, b, cov_b, c))


@pytest.mark.equation("distances-lp")
def test_transport_is_the_linear_programme(generator):
    from scipy.optimize import linprog

    x = torch.randn(5, 2, generator=generator, dtype=torch.float64)
    y = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    a, b = random_laws(generator, 1, 5)[0, 0], torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    rows = torch.kron(torch.eye(5), torch.ones(4))
    columns = torch.kron(torch.ones(5), torch.eye(4))
    solution = linprog(
        torch.cdist(x, y).square().flatten().numpy(),
        A_eq=torch.cat([rows, columns]).numpy(),
        b_eq=torch.cat([a, b]).numpy(),
        method="highs",
    )
    assert optimal_transport(x, y, a, b, p=2).cost.item() == pytest.approx(solution.fun, abs=1e-9)


@pytest.mark.equation("distances-sinkhorn-update")
def test_sinkhorns_turns_end_at_the_librarys_plan(generator):
    x, y = torch.randn(2, 12, 2, generator=generator, dtype=torch.float64)
    epsilon, cost, n = 0.4, torch.cdist(x, y), 12
    phi = torch.zeros(n, dtype=torch.float64)
    for _ in range(300):
        psi = -epsilon * torch.logsumexp((phi[:, None] - cost) / epsilon - math.log(n), 0)
        phi = -epsilon * torch.logsumexp((psi - cost) / epsilon - math.log(n), 1)
    plan = torch.exp((phi[:, None] + psi - cost) / epsilon) / n**2
    torch.testing.assert_close(plan, sinkhorn(x, y, epsilon).plan, atol=1e-9, rtol=1e-6)


@pytest.mark.equation("distances-tv")
def test_total_variation_is_the_largest_gap_of_any_event(generator):
    p, q = random_laws(generator, 20)
    events = torch.tensor(list(itertools.product((0.0, 1.0), repeat=6)), dtype=torch.float64)
    torch.testing.assert_close(total_variation(p, q), ((p - q) @ events.T).amax(1))


@pytest.mark.equation("distances-pinsker", "distances-jsd-tv", "distances-w1-tv")
def test_the_chain_of_inequalities(generator):
    p, q = random_laws(generator)
    tv = total_variation(p, q)
    jsd = F_DIVERGENCES["jensen_shannon"].discrete(p, q)
    for name in ("kl", "reverse_kl"):
        assert (2 * tv**2 <= F_DIVERGENCES[name].discrete(p, q) + 1e-12).all()
    assert (tv**2 / 2 <= jsd + 1e-12).all()
    assert (jsd <= LOG_2 * tv + 1e-12).all()
    places = torch.rand(6, 2, generator=generator, dtype=torch.float64)
    diameter = torch.cdist(places, places).max()
    w = torch.stack([optimal_transport(places, places, a, b).cost for a, b in zip(p, q, strict=True)])
    assert (w <= diameter * tv + 1e-9).all()
    assert (w <= diameter * (2 * jsd).sqrt() + 1e-9).all()


@pytest.mark.equation("distances-tv", "distances-jsd-tv", "distances-pinsker")
def test_the_chains_constants_are_the_best():
    apart = torch.eye(2, dtype=torch.float64)
    assert F_DIVERGENCES["jensen_shannon"].discrete(*apart).item() == pytest.approx(LOG_2)
    assert total_variation(*apart).item() == pytest.approx(1)
    near = torch.tensor([[0.5, 0.5], [0.5 + 1e-4, 0.5 - 1e-4]], dtype=torch.float64)
    tv = total_variation(*near)
    assert (F_DIVERGENCES["kl"].discrete(*near) / (2 * tv**2)).item() == pytest.approx(1, abs=1e-4)
    assert (F_DIVERGENCES["jensen_shannon"].discrete(*near) / (tv**2 / 2)).item() == pytest.approx(
        1, abs=1e-4
    )


@pytest.mark.equation("distances-continuity")
def test_wasserstein_moves_less_than_the_network(generator):
    z = torch.randn(60, 1, generator=generator, dtype=torch.float64)
    target = torch.randn(60, 2, generator=generator, dtype=torch.float64)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        net = MLP((1, 8, 2), nn.ReLU).double()
        before = net(z)
        for size in (1e-3, 0.1, 1.0):
            for weights in net.parameters():
                weights += size * torch.randn(weights.shape, generator=generator, dtype=torch.float64)
            after = net(z)
            change = (wasserstein1(target, after) - wasserstein1(target, before)).abs()
            between, same_z = wasserstein1(before, after), (after - before).norm(dim=1).mean()
            assert change <= between + 1e-9
            assert between <= same_z + 1e-9
            before = after


@pytest.mark.equation("distances-parallel-lines")
@pytest.mark.parametrize("theta", [-0.7, 0.01, 1.3])
def test_parallel_lines(theta):
    heights = (torch.arange(40, dtype=torch.float64) + 0.5) / 40
    x = torch.stack([torch.zeros_like(heights), heights], 1)
    y = torch.stack([torch.full_like(heights, theta), heights], 1)
    assert wasserstein1(x, y).item() == pytest.approx(abs(theta), abs=1e-9)
    kappa = torch.exp(-((heights[:, None] - heights) ** 2) / 2).mean()  # C = 4 s = 2
    exact = 2 * kappa * (1 - math.exp(-(theta**2) / 2))
    torch.testing.assert_close(mmd2(x, y, "gaussian", (0.5,), unbiased=False), exact, atol=1e-12, rtol=1e-6)


def test_slices_of_a_shift_share_its_square(generator):
    x = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    sliced = sliced_wasserstein2(x, x + torch.tensor([2.0, 0, 0]), 20_000, generator)
    assert sliced.item() == pytest.approx(4 / 3, rel=0.03)  # ||shift||^2 / D
    y = torch.randn(50, 3, generator=generator, dtype=torch.float64) * 2
    assert sliced_wasserstein2(x, y, 2_000, generator) <= optimal_transport(x, y, p=2).cost / 3 * 1.05


@pytest.mark.equation("distances-sinkhorn-duality")
@pytest.mark.parametrize("epsilon", [0.05, 0.5, 5.0])
def test_sinkhorns_prices_earn_the_regularised_cost(epsilon, generator):
    x, y = torch.randn(2, 9, 2, generator=generator, dtype=torch.float64)
    a, b = torch.rand(2, 9, generator=generator, dtype=torch.float64) + 0.1
    a, b = a / a.sum(), b / b.sum()
    blurred = sinkhorn(x, y, epsilon, a, b)
    product = a[:, None] * b
    divergence = F_DIVERGENCES["kl"].discrete(blurred.plan.flatten(), product.flatten())
    income = a @ blurred.phi + b @ blurred.psi
    # `sinkhorn` meets the marginals up to 1e-6 in all; what is missing there is missing at these prices here
    missing = 1e-6 * (blurred.phi.abs().max() + blurred.psi.abs().max()).item()
    torch.testing.assert_close(income, blurred.cost + epsilon * divergence, atol=missing, rtol=0)
    excess = blurred.phi[:, None] + blurred.psi - torch.cdist(x, y)
    assert (excess <= epsilon * (1 / b).log() + missing).all()
    exact = optimal_transport(x, y, a, b).cost
    assert income - epsilon * (1 / b).log().max() <= exact + missing
    assert exact <= income + missing


def test_sample_complexity_experiment():
    result = distances_samples.run("smoke")
    assert result["same"].shape == result["shifted"].shape == (3, 4, 5, 2)
    values, log_n = (
        torch.from_numpy(result["same"]).mean(-1).log(),
        torch.from_numpy(result["n"]).double().log(),
    )
    centred = log_n - log_n.mean()
    slopes = (values @ centred) / (centred @ centred)  # (3, 4)
    assert (slopes < 0).all()
    assert slopes[0, 3] > -0.2  # W1 in ten dimensions hardly falls
    assert (slopes[1:] < -0.35).all()  # sliced W2 and MMD fall like n^(-1/2) in all
    largest = torch.from_numpy(result["shifted"][:, 0, -1].mean(-1))  # on the line, 512 points
    torch.testing.assert_close(largest, torch.from_numpy(result["truth"][:, 0]), atol=0.15, rtol=0)


def test_image_contenders_and_their_judge():
    real, imitations = distances_images.contenders("glyphs", 120)
    assert list(imitations) == list(distances_images.CONTENDERS)
    for images in (real, *imitations.values()):
        assert images.shape == (120, 784)
        assert images.min() >= 0
        assert images.max() <= 1
    judged = distances_images.measure(real, real.flip(0))
    assert judged["W1"] == pytest.approx(0, abs=1e-6)
    assert judged["MMD"] == 0
    assert distances_images.measure(real, 1 - real)["AUC"] > 0.99


@pytest.mark.parametrize("name", ["distances_samples", "distances_images"])
def test_records_are_of_the_laptop_tier(name):
    arrays, card = recorded(name)
    assert card["tier"] == "laptop"
    assert all(torch.from_numpy(values).isfinite().all() for values in arrays.values())

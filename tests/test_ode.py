"""The thin face of torchdiffeq, divergences, and exact likelihoods of flows."""

import math

import pytest
import torch

from course_lib.distributions import gaussian_log_prob
from course_lib.models.exact_score import mixture_score
from course_lib.models.score_sde import VPSDE, gaussian_flow
from course_lib.sampling import ode
from course_lib.sampling.sde import probability_flow

MATRIX = torch.tensor([[-0.5, 0.8], [-0.3, 0.2]], dtype=torch.float64)
MEAN = torch.tensor([0.5, -0.2], dtype=torch.float64)
COV = torch.tensor([[0.5, 0.3], [0.3, 0.4]], dtype=torch.float64)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(x, t):
    return x @ MATRIX.T


def standard(x):
    return gaussian_log_prob(x, torch.zeros_like(x), torch.zeros_like(x))


def curved(x, t):
    """A velocity with a known divergence: cos(x_1) + x_2 t - 2 x_2."""
    x1, x2 = x.unbind(1)
    return torch.stack([x1.sin() + x1 * x2 * t, x1**2 - x2**2], 1)


def exact_velocity(sde, weights, means, covs):
    return probability_flow(sde, lambda x, t: mixture_score(x, *sde.marginal(t), weights, means, covs))


@pytest.mark.parametrize("method", [*ode.FIXED, *ode.ADAPTIVE])
@pytest.mark.parametrize("backward", [False, True])
def test_linear_flow_is_the_matrix_exponential(method, backward):
    x = draw(6, 2)
    times = torch.linspace(0, 1.5, 201, dtype=torch.float64)
    sign = -1 if backward else 1
    y = ode.solve(linear, x, times.flip(0) if backward else times, method, tolerance=1e-9)
    exact = x @ torch.matrix_exp(sign * 1.5 * MATRIX).T
    torch.testing.assert_close(y, exact, rtol=0, atol=1e-2 if method == "euler" else 1e-4)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("heun2", 2), ("rk4", 4)])
def test_fixed_methods_have_their_order_and_cost(method, order):
    x, errors, calls = draw(6, 2), [], []

    def counted(x, t):
        calls.append(t)
        return linear(x, t) + torch.sin(t)[:, None]

    def grid(steps):
        return torch.linspace(0, 1.5, steps + 1, dtype=torch.float64)

    fine = ode.solve(counted, x, grid(1_000), "rk4")
    for steps in (8, 16, 32):
        calls.clear()
        errors.append((ode.solve(counted, x, grid(steps), method) - fine).abs().max().item())
        assert len(calls) == steps * ode.EVALUATIONS[method]
        assert all(t.shape == (6,) for t in calls)
    assert math.log2(errors[1] / errors[2]) == pytest.approx(order, abs=0.35)


@pytest.mark.parametrize("method", ode.ADAPTIVE)
def test_no_velocity_is_asked_for_beyond_the_ends(method):
    """A root that is not real beyond the end: dx/dt = x / (2 sqrt(t)) carries x to x exp(sqrt(t) - 1), down to t = 0."""
    seen = []

    def rooted(x, t):
        seen.append(t[0].item())
        return x / (2 * t.sqrt()[:, None])

    x = draw(3, 2)
    for end in (1e-4, 4.0):
        seen.clear()
        y = ode.solve(rooted, x, torch.tensor([1.0, end], dtype=torch.float64), method, tolerance=1e-8)
        torch.testing.assert_close(y, x * math.exp(math.sqrt(end) - 1), rtol=1e-4, atol=0)
        assert min(1.0, end) <= min(seen)
        assert max(seen) <= max(1.0, end)


def test_path_holds_every_position():
    x, times = draw(3, 2), torch.linspace(1, 0, 5, dtype=torch.float64)
    path = ode.solve(linear, x, times, "rk4", path=True)
    assert path.shape == (5, 3, 2)
    assert torch.equal(path[0], x)
    torch.testing.assert_close(path[2], ode.solve(linear, x, times[:3], "rk4"))


@pytest.mark.equation("sde-hutchinson")
def test_divergence_is_the_trace_of_the_jacobian_and_hutchinson_is_unbiased():
    """Mean of 20,000 estimates within 4 standard errors, for signs and for normal probes; signs have the smaller variance."""
    x, t = draw(1, 2), torch.tensor([0.7], dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: curved(x, t), x).view(2, 2)
    velocity, exact = ode.divergence(curved, x, t)
    assert exact.item() == pytest.approx(jacobian.trace().item())
    torch.testing.assert_close(velocity, curved(x, t))
    n = 20_000
    spread = {}
    for name, probe in (("signs", draw(n, 2, seed=1).sign()), ("normal", draw(n, 2, seed=2))):
        _, estimates = ode.divergence(curved, x.expand(n, 2), t.expand(n), probe)
        spread[name] = estimates.std().item()
        assert abs(estimates.mean() - exact) < 4 * estimates.std() / math.sqrt(n)
    symmetric = (jacobian + jacobian.T) / 2
    off_diagonal = symmetric - symmetric.diag().diag()
    assert spread["signs"] == pytest.approx(math.sqrt(2) * off_diagonal.norm().item(), rel=0.05)
    assert spread["normal"] == pytest.approx(math.sqrt(2) * symmetric.norm().item(), rel=0.05)


def test_divergence_of_images_sums_over_all_values():
    x, t = draw(2, 1, 3, 3), torch.zeros(2, dtype=torch.float64)
    _, exact = ode.divergence(lambda x, t: x**2 / 2, x, t)
    torch.testing.assert_close(exact, x.flatten(1).sum(1))
    _, estimate = ode.divergence(lambda x, t: x**2 / 2, x, t, draw(2, 1, 3, 3, seed=1).sign())
    torch.testing.assert_close(estimate, exact)  # a diagonal Jacobian: signs make no error


@pytest.mark.equation("sde-change-of-variables", "sde-continuity")
def test_density_of_a_linear_flow_is_gaussian():
    """z ~ N(0, I) at time 1 comes from x = exp(-A) z: N(0, exp(-A) exp(-A)^T), by matrices alone."""
    x = draw(5, 2)
    times = torch.tensor([0.0, 1.0], dtype=torch.float64)
    root = torch.matrix_exp(-MATRIX)
    exact = torch.distributions.MultivariateNormal(
        torch.zeros(2, dtype=torch.float64), root @ root.T
    ).log_prob(x)
    torch.testing.assert_close(
        ode.log_prob(linear, x, times, standard, tolerance=1e-9), exact, rtol=0, atol=1e-7
    )


@pytest.mark.equation(
    "sde-gaussian-flow", "sde-gaussian-law", "sde-probability-flow", "sde-change-of-variables"
)
def test_probability_flow_of_a_gaussian_is_exact():
    """Map and density from t = 1e-3 to 1, against closed forms; the law at time 1 taken as prior makes both exact."""
    sde, one = VPSDE(), torch.ones(1, dtype=torch.float64)
    velocity = exact_velocity(sde, one, MEAN[None], COV[None])
    x = MEAN + draw(6, 2) @ torch.linalg.cholesky(COV).T
    times = torch.tensor([1e-3, 1.0], dtype=torch.float64)
    y = ode.solve(velocity, x, times, "dopri5", tolerance=1e-9)
    torch.testing.assert_close(y, gaussian_flow(sde, x, 1e-3, 1.0, MEAN, COV), rtol=0, atol=1e-6)
    laws = []
    for t in times:
        a, s = sde.marginal(t)
        cov = a**2 * COV + s**2 * torch.eye(2, dtype=torch.float64)
        laws.append(torch.distributions.MultivariateNormal(a * MEAN, cov))
    got = ode.log_prob(velocity, x, times, laws[1].log_prob, tolerance=1e-9)
    torch.testing.assert_close(got, laws[0].log_prob(x), rtol=0, atol=1e-6)
    back = gaussian_flow(sde, gaussian_flow(sde, x, 0.0, 1.0, MEAN, COV), 1.0, 0.0, MEAN, COV)
    torch.testing.assert_close(back, x)


@pytest.mark.equation("sde-probability-flow", "sde-change-of-variables", "sde-hutchinson")
def test_likelihood_of_a_mixture_is_its_density():
    """Exact trace against the closed-form density at t = 1e-3; Hutchinson's estimate right on average, 4 standard errors."""
    sde = VPSDE()
    weights = torch.tensor([0.3, 0.7], dtype=torch.float64)
    means = torch.tensor([[-1.0, 0.5], [0.8, -0.3]], dtype=torch.float64)
    covs = torch.stack([0.1 * torch.eye(2, dtype=torch.float64), COV])
    velocity = exact_velocity(sde, weights, means, covs)
    a, s = sde.marginal(torch.tensor(1e-3, dtype=torch.float64))
    noised = a**2 * covs + s**2 * torch.eye(2, dtype=torch.float64)
    law = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(weights), torch.distributions.MultivariateNormal(a * means, noised)
    )
    x = draw(8, 2) * 0.7
    times = torch.tensor([1e-3, 1.0], dtype=torch.float64)
    exact = ode.log_prob(velocity, x, times, standard, tolerance=1e-7)
    torch.testing.assert_close(
        exact, law.log_prob(x), rtol=0, atol=2e-2
    )  # N(0, I) for the law at time 1: a_1 = 0.007
    n = 1_000
    point = x[:1].expand(n, 2)
    estimates = ode.log_prob(
        velocity, point, times, standard, probe=draw(n, 2, seed=3).sign(), tolerance=1e-4
    )
    assert abs(estimates.mean() - exact[0]) < 4 * estimates.std() / math.sqrt(n) + 1e-3
    assert estimates.std() > 0.01


def test_mass_is_conserved():
    """The density of a curved flow integrates to 1 over a fine grid."""
    side = torch.linspace(-4, 4, 81, dtype=torch.float64)
    x = torch.cartesian_prod(side, side)

    def swirl(x, t):
        return torch.stack([x[:, 1].sin(), -0.5 * x[:, 0] + 0.3 * t * x[:, 1].tanh()], 1)

    times = torch.linspace(0, 1, 21, dtype=torch.float64)
    density = ode.log_prob(swirl, x, times, standard, method="rk4").exp()
    assert (density.sum() * 0.1**2).item() == pytest.approx(1, abs=2e-3)


def test_bad_inputs_are_named():
    x = draw(3, 2)
    with pytest.raises(ValueError, match="method='magic'"):
        ode.solve(linear, x, torch.tensor([0.0, 1.0]), "magic")
    for times in ([0.0], [0.0, 1.0, 0.5], [0.0, 0.0]):
        with pytest.raises(ValueError, match="all increasing or all decreasing"):
            ode.solve(linear, x, torch.tensor(times), "euler")
    with pytest.raises(ValueError, match="method='rk5'"):
        ode.log_prob(linear, x, torch.tensor([0.0, 1.0]), standard, method="rk5")

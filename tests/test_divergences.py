"""The f-divergence table against autograd, numerical Legendre transforms, closed forms, SciPy and exact small laws."""

import math

import pytest
import scipy.integrate
import scipy.spatial.distance
import scipy.stats
import torch
from torch import distributions as D

from course_lib.distributions import gaussian_kl_full
from course_lib.metrics.divergences import F_DIVERGENCES, Estimate, jsd_monte_carlo, kl_monte_carlo

LOG_2 = math.log(2)
# Supremum of the conjugate's domain, f'(infinity), by hand. Downwards it has no end: below f'(0) the best u is 0.
UPPER = {
    "kl": math.inf,
    "reverse_kl": 0,
    "jensen_shannon": LOG_2 / 2,
    "gan": 0,
    "pearson": math.inf,
    "neyman": 1,
    "squared_hellinger": 1,
    "total_variation": 0.5,
    "jeffreys": math.inf,
}
every = pytest.mark.parametrize("divergence", F_DIVERGENCES.values(), ids=F_DIVERGENCES)


def critic_values(n=61):
    """Values of an unbounded critic, float64."""
    return torch.linspace(-6, 6, n, dtype=torch.float64)


def normal(mean, std):
    return D.Normal(torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64))


def grid(half=25.0, n=200_001):
    return torch.linspace(-half, half, n, dtype=torch.float64)


def laws(k=6, seed=0):
    return (
        torch.rand(2, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).pow(3).softmax(1)
    )


@every
def test_derivative_is_autograds_and_f_is_convex(divergence):
    u = torch.cat([torch.logspace(-3, 3, 60).double(), torch.tensor([0.5, 2.0]).double()]).requires_grad_()
    (gradient,) = torch.autograd.grad(divergence.f(u).sum(), u)
    torch.testing.assert_close(divergence.derivative(u), gradient, rtol=1e-10, atol=1e-12)
    ordered = divergence.derivative(u.detach().sort().values)
    assert (ordered.diff() >= 0).all()


@pytest.mark.equation("distances-conjugate")
@every
def test_conjugate_is_the_numerical_legendre_transform(divergence):
    """The supremum over u on a fine grid, u = 0 included; and values below the range of f', where it sits at 0."""
    u = torch.cat([torch.zeros(1), torch.linspace(-25, 25, 100_001).double().exp()]).double()
    t = torch.cat([divergence.activation(critic_values(25)), torch.tensor([-9.0]).double()])
    supremum = torch.stack([(u * value - divergence.f(u)).max() for value in t])
    torch.testing.assert_close(divergence.conjugate(t), supremum, rtol=1e-6, atol=1e-6)


@pytest.mark.equation("distances-conjugate")
@every
def test_fenchel_young_with_equality_at_the_derivative(divergence):
    u = torch.logspace(-2, 2, 41).double()
    t = divergence.activation(critic_values(41))
    gap = divergence.f(u)[:, None] + divergence.conjugate(t) - u[:, None] * t
    assert gap.min() > -1e-12
    touching = divergence.derivative(u).requires_grad_()
    conjugate = divergence.conjugate(touching)
    torch.testing.assert_close(
        conjugate.detach(), u * touching.detach() - divergence.f(u), rtol=1e-9, atol=1e-9
    )
    if divergence.name != "total_variation":  # whose f' jumps: the conjugate has a corner there
        (slope,) = torch.autograd.grad(conjugate.sum(), touching)
        torch.testing.assert_close(slope, u, rtol=1e-8, atol=1e-8)


@every
def test_activation_increases_and_fills_the_domain(divergence):
    t = divergence.activation(critic_values())
    upper = UPPER[divergence.name]
    assert (t.diff() > 0).all()
    assert (t < upper).all()
    assert divergence.conjugate(t).isfinite().all()
    assert divergence.derivative(torch.tensor(math.inf).double()).item() == pytest.approx(upper)
    if math.isinf(upper):
        return
    assert divergence.activation(torch.tensor(40.0).double()).item() == pytest.approx(upper)
    assert divergence.conjugate(torch.tensor([upper + 0.1, upper + 5.0]).double()).tolist() == [math.inf] * 2


@pytest.mark.equation("distances-f-divergence", "distances-kl")
def test_quadrature_is_the_closed_form_between_gaussians():
    """Equal variances where a chi-square must be finite; textbook forms of Hellinger, total variation and chi-square."""
    x, delta, std = grid(), 0.8, 1.3
    p, q = normal(0.5, std), normal(0.5 + delta, std)
    shift = (delta / std) ** 2
    exact = {
        "kl": shift / 2,
        "reverse_kl": shift / 2,
        "jeffreys": shift,
        "pearson": math.expm1(shift),
        "neyman": math.expm1(shift),
        "squared_hellinger": 2 - 2 * math.exp(-shift / 8),
        "total_variation": math.erf(math.sqrt(shift / 8)),
    }
    log_densities = p.log_prob(x), q.log_prob(x)
    for name, value in exact.items():
        assert F_DIVERGENCES[name].quadrature(*log_densities, x).item() == pytest.approx(value, rel=1e-8), (
            name
        )


def test_quadrature_keeps_its_digits_where_densities_underflow():
    """A narrow law against a wide one: at the grid's ends the narrow density is 0 in float64."""
    x, means, stds = grid(), torch.tensor([0.0, 1.0]).double(), torch.tensor([0.1, 1.0]).double()
    stds.requires_grad_()
    log_p, log_q = D.Normal(means[:, None], stds[:, None]).log_prob(x)
    assert (log_p.exp() == 0).any()
    a, b = ((m[None], s.square()[None, None]) for m, s in zip(means, stds, strict=True))
    kl, reverse = gaussian_kl_full(*a, *b), gaussian_kl_full(*b, *a)
    for name, exact in {"kl": kl, "reverse_kl": reverse, "jeffreys": kl + reverse}.items():
        value = F_DIVERGENCES[name].quadrature(log_p, log_q, x)
        torch.testing.assert_close(value, exact)
        slopes = [torch.autograd.grad(v, stds, retain_graph=True)[0] for v in (value, exact)]
        torch.testing.assert_close(*slopes)
    for name in ("jensen_shannon", "gan", "squared_hellinger", "total_variation"):
        value = F_DIVERGENCES[name].quadrature(log_p, log_q, x)
        assert torch.autograd.grad(value, stds, retain_graph=True)[0].isfinite().all(), name


@pytest.mark.equation("distances-jsd")
def test_jsd_by_adaptive_quadrature_and_the_gans_value():
    p, q, x = normal(0.0, 1.0), normal(2.0, 0.5), grid()

    def integrand(point):
        a, b = (float(law.log_prob(torch.tensor(point, dtype=torch.float64)).exp()) for law in (p, q))
        m = (a + b) / 2
        return 0.5 * (a * math.log(a / m) + b * math.log(b / m))

    adaptive = scipy.integrate.quad(integrand, -12, 12, points=[0, 2], epsabs=1e-12, limit=200)[0]
    log_densities = p.log_prob(x), q.log_prob(x)
    jsd = F_DIVERGENCES["jensen_shannon"].quadrature(*log_densities, x).item()
    assert jsd == pytest.approx(adaptive, abs=1e-9)
    gan = F_DIVERGENCES["gan"].quadrature(*log_densities, x).item()
    assert gan == pytest.approx(2 * jsd - 2 * LOG_2, abs=1e-9)


@pytest.mark.equation("distances-f-divergence", "distances-jsd", "distances-kl")
def test_discrete_laws_are_scipys():
    p, q = laws()
    values = {name: divergence.discrete(p, q).item() for name, divergence in F_DIVERGENCES.items()}
    a, b = p.numpy(), q.numpy()
    assert values["kl"] == pytest.approx(scipy.stats.entropy(a, b), rel=1e-12)
    assert values["reverse_kl"] == pytest.approx(scipy.stats.entropy(b, a), rel=1e-12)
    assert values["jensen_shannon"] == pytest.approx(
        scipy.spatial.distance.jensenshannon(a, b) ** 2, rel=1e-10
    )
    assert values["pearson"] == pytest.approx(scipy.stats.chisquare(a, b).statistic, rel=1e-10)
    assert values["neyman"] == pytest.approx(scipy.stats.chisquare(b, a).statistic, rel=1e-10)
    assert values["total_variation"] == pytest.approx(0.5 * abs(a - b).sum(), rel=1e-12)
    assert values["squared_hellinger"] == pytest.approx(2 - 2 * ((a * b) ** 0.5).sum(), rel=1e-12)


@pytest.mark.equation("distances-f-divergence", "distances-jsd")
def test_mass_where_the_other_law_has_none():
    """Disjoint, half overlapping, equal: known by hand. A place where neither law has mass costs nothing."""
    inf = math.inf
    disjoint = {
        "kl": inf, "reverse_kl": inf, "jensen_shannon": LOG_2, "gan": 0, "pearson": inf, "neyman": inf,
        "squared_hellinger": 2, "total_variation": 1, "jeffreys": inf,
    }  # fmt: skip
    # p = (1/2, 1/2, 0), q = (0, 1/2, 1/2): two halves of each side
    half = {
        "kl": inf, "reverse_kl": inf, "jensen_shannon": LOG_2 / 2, "gan": -LOG_2, "pearson": inf, "neyman": inf,
        "squared_hellinger": 1, "total_variation": 0.5, "jeffreys": inf,
    }  # fmt: skip
    # p = (1, 0) inside q = (1/2, 1/2): finite where only q has mass that p lacks
    inside = {"kl": LOG_2, "reverse_kl": inf, "pearson": 1, "neyman": inf, "total_variation": 0.5}

    def vector(*mass):
        return torch.tensor(mass, dtype=torch.float64)

    for name, divergence in F_DIVERGENCES.items():
        assert divergence.discrete(vector(1, 0, 0), vector(0, 1, 0)).item() == pytest.approx(
            disjoint[name]
        ), name
        assert divergence.discrete(vector(0.5, 0.5, 0), vector(0, 0.5, 0.5)).item() == pytest.approx(
            half[name]
        ), name
        same = divergence.discrete(vector(0.3, 0.7, 0), vector(0.3, 0.7, 0)).item()
        assert same == pytest.approx(-2 * LOG_2 if name == "gan" else 0, abs=1e-12), name
        if name in inside:
            assert divergence.discrete(vector(1, 0), vector(0.5, 0.5)).item() == pytest.approx(
                inside[name]
            ), name


@pytest.mark.equation("distances-optimal-critic", "distances-variational")
@every
def test_bound_is_tight_at_the_optimal_critic_and_below_elsewhere(divergence):
    """Samples that hold each atom exactly as often as its probability says make the bound exact."""
    counts_p, counts_q = torch.tensor([1, 5, 2, 8]), torch.tensor([6, 4, 5, 1])
    p, q = counts_p / 16.0, counts_q / 16.0
    exact = divergence.discrete(p.double(), q.double()).item()

    def bound(critic):
        return divergence.bound(critic.repeat_interleave(counts_p), critic.repeat_interleave(counts_q)).value

    assert bound(divergence.optimal_critic((p / q).double())) == pytest.approx(exact, abs=1e-9)
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        critic = divergence.activation(2 * torch.randn(4, generator=generator, dtype=torch.float64))
        assert bound(critic) <= exact + 1e-12


@pytest.mark.equation("distances-variational")
def test_bound_from_samples_carries_an_honest_error():
    p, q = normal(0.0, 1.0), normal(0.7, 1.0)
    kl = F_DIVERGENCES["kl"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x, y = p.sample((20_000,)), q.sample((20_000,))
    critic = [kl.optimal_critic((p.log_prob(v) - q.log_prob(v)).exp()) for v in (x, y)]
    estimate = kl.bound(*critic)
    assert abs(estimate.value - 0.7**2 / 2) < 3 * estimate.error
    assert estimate.interval == pytest.approx(
        (estimate.value - 1.96 * estimate.error, estimate.value + 1.96 * estimate.error)
    )


@pytest.mark.equation("distances-kl", "distances-jsd")
def test_monte_carlo_errors_are_the_errors():
    """400 estimates: their mean is the exact value, and the exact value lies in 95 % of their intervals."""
    p, q, x = normal(0.0, 1.0), normal(1.0, 1.5), grid()
    log_densities = p.log_prob(x), q.log_prob(x)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        draws = [(p.sample((500,)), q.sample((500,))) for _ in range(400)]
    for name, estimates in {
        "kl": [kl_monte_carlo(p.log_prob, q.log_prob, a) for a, _ in draws],
        "jensen_shannon": [jsd_monte_carlo(p.log_prob, q.log_prob, a, b) for a, b in draws],
    }.items():
        exact = F_DIVERGENCES[name].quadrature(*log_densities, x).item()
        values, errors = torch.tensor(estimates, dtype=torch.float64).T
        assert abs(values.mean() - exact) < 3 * values.std() / 20
        assert values.std() == pytest.approx(errors.mean().item(), rel=0.15)
        covered = sum(e.interval[0] <= exact <= e.interval[1] for e in estimates) / 400
        assert 0.92 < covered < 0.98, name


def test_monte_carlo_of_laws_apart():
    """Uniform laws on [0, 1] and [2, 3]: KL infinite, JSD exactly log 2."""
    p, q = (D.Uniform(a, a + 1.0, validate_args=False) for a in (0.0, 2.0))
    x = torch.rand(100)
    assert kl_monte_carlo(p.log_prob, q.log_prob, x) == Estimate(math.inf, math.inf)
    assert jsd_monte_carlo(p.log_prob, q.log_prob, x, x + 2).value == pytest.approx(LOG_2)
    with pytest.raises(ValueError, match="NaN"):  # samples where neither has a density
        kl_monte_carlo(p.log_prob, q.log_prob, x + 10)
    with pytest.raises(ValueError, match="at least two values"):
        kl_monte_carlo(p.log_prob, q.log_prob, x[:1])


def test_wrong_inputs_are_named():
    kl, p = F_DIVERGENCES["kl"], torch.tensor([0.5, 0.5])
    for wrong in (torch.tensor([0.5, 0.6]), torch.tensor([1.5, -0.5]), p * torch.nan):
        with pytest.raises(ValueError, match="at least 0 and sum to 1"):
            kl.discrete(p, wrong)
    with pytest.raises(ValueError, match="one shape"):
        kl.discrete(p, torch.tensor([1.0]))
    with pytest.raises(ValueError, match="NaN"):
        kl.quadrature(p, p * torch.nan, torch.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match="increasing grid"):
        kl.quadrature(p, p, torch.tensor([1.0, 0.0]))
    with pytest.raises(ValueError, match="increasing grid"):
        kl.quadrature(p, p, torch.tensor([0.0, 1.0, 2.0]))

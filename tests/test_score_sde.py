"""Processes against integrated moment equations, samplers against exact laws, orders and diffusers, and a learned score."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

import course_lib  # noqa: F401  (before diffusers)
from course_lib import checkpoints, models
from course_lib.data import toy2d
from course_lib.distributions import gaussian_w2
from course_lib.models import ddpm as ddpm_module
from course_lib.models import score_sde
from course_lib.models.exact_score import mixture_score
from course_lib.models.gaussian_diffusion import GaussianDiffusion, linear_betas
from course_lib.models.score_sde import VESDE, VPSDE, SubVPSDE, gaussian_flow, of_ddpm
from course_lib.sampling import sde as samplers
from course_lib.training import Recipe, build, fit, recipe, save_run
from course_lib.training.experiments import sde_fid, sde_steps

PROCESSES = [VPSDE(), SubVPSDE(), VESDE(0.01, 10.0)]
IDS = ["vp", "sub_vp", "ve"]
MEAN = torch.tensor([0.7, -0.4], dtype=torch.float64)
COV = torch.tensor([[0.5, 0.3], [0.3, 0.4]], dtype=torch.float64)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def gaussian_score(sde, mean=MEAN, cov=COV):
    """The exact score of data N(mean, cov)."""
    one = torch.ones(1, dtype=torch.float64)
    return lambda x, t: mixture_score(x, *sde.marginal(t), one, mean[None], cov[None])


def law(sde, t, mean=MEAN, cov=COV):
    """Mean and covariance at time t."""
    a, s = sde.marginal(torch.tensor(t, dtype=torch.float64))
    return a * mean, a**2 * cov + s**2 * torch.eye(2, dtype=torch.float64)


def prior(sde, n, seed=0):
    return sde.prior_sample(torch.empty(n, 2, dtype=torch.float64), rng(seed))


# --- the processes ---------------------------------------------------------------------------------------------------------


@pytest.mark.equation(
    "sde-forward", "sde-moments", "sde-vp", "sde-vp-marginal", "sde-sub-vp", "sde-sub-vp-marginal", "sde-ve",
    "sde-ve-marginal",
)  # fmt: skip
@pytest.mark.parametrize("sde", PROCESSES, ids=IDS)
def test_marginals_solve_the_moment_equations(sde):
    """m' = f m and v' = 2 f v + g^2 with f x = drift, from m = 1, v = 0, by Runge-Kutta steps: error of order h^4."""

    def slope(t, state):
        t = torch.tensor([t], dtype=torch.float64)
        f, g = sde.drift(torch.ones(1, dtype=torch.float64), t), sde.diffusion(t)
        return torch.stack([f * state[0], 2 * f * state[1] + g**2])

    state, steps = torch.tensor([[1.0], [0.0]], dtype=torch.float64), 800
    for i in range(steps):
        t, h = i / steps, 1 / steps
        k1 = slope(t, state)
        k2 = slope(t + h / 2, state + h / 2 * k1)
        k3 = slope(t + h / 2, state + h / 2 * k2)
        k4 = slope(t + h, state + h * k3)
        state = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        if (i + 1) % 200 == 0:
            scale, std = sde.marginal(torch.tensor([t + h], dtype=torch.float64))
            torch.testing.assert_close(state, torch.stack([scale, std**2]), rtol=1e-7, atol=1e-10)


@pytest.mark.equation("sde-forward", "sde-euler-maruyama")
@pytest.mark.parametrize("sde", PROCESSES, ids=IDS)
def test_simulated_paths_have_the_marginals(sde):
    """20,000 paths in 400 steps from one point: mean and variance within 4 standard errors plus the steps' own error, 1%."""
    n, steps = 20_000, 400
    x = torch.full((n, 1), 1.5, dtype=torch.float64)
    generator = rng(1)
    for i in range(steps):
        t = torch.full((n,), (i + 0.5) / steps, dtype=torch.float64)
        noise = torch.randn(n, 1, generator=generator, dtype=torch.float64)
        x = x + sde.drift(x, t) / steps + sde.diffusion(t)[:, None] / math.sqrt(steps) * noise
    scale, std = sde.marginal(torch.ones(1, dtype=torch.float64))
    assert abs(x.mean() - 1.5 * scale) < 4 * std / math.sqrt(n) + 0.01
    assert x.var().item() == pytest.approx(std.item() ** 2, rel=4 * math.sqrt(2 / n) + 0.01)


@pytest.mark.parametrize("sde", PROCESSES, ids=IDS)
def test_time_inverts_the_log_ratio(sde):
    t = torch.linspace(1e-4, 1, 50, dtype=torch.float64)
    scale, std = sde.marginal(t)
    torch.testing.assert_close(sde.time((scale / std).log()), t, rtol=1e-9, atol=1e-9)


@pytest.mark.equation("sde-vp-marginal")
def test_vp_is_the_limit_of_ddpm():
    """log alpha_bar of T steps with betas beta(t) / T: the products' error falls like 1 / T."""
    sde, errors = VPSDE(), []
    for T in (1000, 10_000):
        t = torch.arange(1, T + 1, dtype=torch.float64) / T
        diffusion = GaussianDiffusion(sde.beta(t) / T)
        errors.append((diffusion.alpha_bar.log() - 2 * sde.marginal(t)[0].log()).abs().max().item())
    assert errors[0] < 0.1
    assert errors[1] == pytest.approx(errors[0] / 10, rel=0.02)


def test_sub_vp_has_less_noise_than_vp_and_the_same_scale():
    t = torch.linspace(0.01, 1, 30)
    (a, s), (b, r) = VPSDE().marginal(t), SubVPSDE().marginal(t)
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(r, s**2)


def test_prior_density_is_that_of_its_samples():
    sde = VESDE(0.01, 10.0)
    x = sde.prior_sample(torch.empty(40_000, 3), rng())
    assert x.std().item() == pytest.approx(10, rel=0.02)
    expected = torch.distributions.Normal(0, 10).log_prob(x).sum(1)
    torch.testing.assert_close(sde.prior_log_prob(x), expected)


def test_impossible_processes_are_refused():
    with pytest.raises(ValueError, match="beta_min"):
        VPSDE(2.0, 1.0)
    with pytest.raises(ValueError, match="sigma_min"):
        VESDE(0.0, 1.0)


# --- reverse processes -----------------------------------------------------------------------------------------------------


@pytest.mark.equation("sde-fokker-planck", "sde-reverse", "sde-probability-flow")
@pytest.mark.parametrize("sde", PROCESSES, ids=IDS)
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_every_reverse_process_has_the_forward_marginals(sde, share):
    """dp/dt by automatic differentiation in t against the Fokker-Planck operator of drift f - (1 + share) g^2/2 score and,
    backward, diffusion share g^2 / 2: the probability flow for share 0, Anderson's reverse SDE for share 1."""
    w = torch.tensor([0.3, 0.7], dtype=torch.float64)
    means = torch.tensor([[-1.0], [0.8]], dtype=torch.float64)
    covs = torch.tensor([[[0.1]], [[0.3]]], dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)

    def density(x, t):
        a, s = sde.marginal(t)
        variance = a**2 * covs.view(-1) + s**2
        each = torch.exp(-0.5 * (x - a * means.view(-1)) ** 2 / variance) / (2 * math.pi * variance).sqrt()
        return (w * each).sum()

    def flux(x, t):
        """Backward in time probability is carried by -velocity and spread by share g^2 / 2."""
        score = mixture_score(x.view(1, 1), *sde.marginal(t.view(1)), w, means, covs).view(())
        g2 = sde.diffusion(t.view(1)).view(()) ** 2
        drift = sde.drift(x.view(1, 1), t.view(1)).view(()) - 0.5 * (1 + share) * g2 * score
        gradient = torch.func.grad(density)(x, t)
        return -drift * density(x, t) - share * 0.5 * g2 * gradient

    for x, t in ((-0.9, 0.2), (0.3, 0.4), (1.2, 0.7)):
        x, t = x * one[0], t * one[0]
        backward = -torch.func.grad(flux)(x, t)  # d p / d(1 - t)
        torch.testing.assert_close(
            torch.func.grad(density, argnums=1)(x, t), -backward, rtol=1e-8, atol=1e-12
        )


@pytest.mark.equation("sde-ddim", "sde-heun", "sde-dpm-solver", "sde-gaussian-flow", "sde-probability-flow")
@pytest.mark.parametrize(
    ("name", "sde", "order"),
    [
        ("ddim", VPSDE(), 1),
        ("heun", VPSDE(), 2),
        ("dpm_solver_2", VPSDE(), 2),
        ("dpm_solver_2", SubVPSDE(), 2),
        ("dpm_solver_2", VESDE(0.01, 10.0), 2),
        ("ddim", VESDE(0.01, 10.0), 1),
    ],
)
def test_order_of_convergence_to_the_exact_flow(name, sde, order):
    """Twice the steps, 2^-order the error, each point against the closed-form map."""
    errors = []
    for steps in (80, 160, 320):
        times = samplers.time_grid(sde, steps, 0.02, "log_ratio")
        start = prior(sde, 50)
        x = samplers.SAMPLERS[name](sde, gaussian_score(sde), start, times)
        exact = gaussian_flow(sde, start, 1.0, 0.02, MEAN, COV)
        errors.append((x - exact).abs().max().item())
    assert errors[-1] < 0.02
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.25)


@pytest.mark.equation("sde-noise-ode", "sde-probability-flow")
@pytest.mark.parametrize("sde", PROCESSES, ids=IDS)
def test_in_its_own_coordinates_the_flow_moves_along_the_noise(sde):
    """d(x/a) / d(s/a) by automatic differentiation of the coordinates in t, with the velocity for dx/dt, against eps."""
    score, x = gaussian_score(sde), draw(4, 2)
    for t in (0.2, 0.6):
        time = torch.full((4,), t, dtype=torch.float64)
        velocity = samplers.probability_flow(sde, score)(x, time)
        one = torch.tensor([t], dtype=torch.float64)
        (a, s), (da, ds) = torch.func.jvp(sde.marginal, (one,), (torch.ones_like(one),))
        slope = (velocity / a - x * da / a**2) / (ds / a - s * da / a**2)
        torch.testing.assert_close(slope, -s * score(x, time))


def euler_maruyama_variance(sde, times, v):
    """Variance of the sampler's output for data N(0, v): each step multiplies by a number and adds g^2 h, the last adds none."""
    a, std = sde.marginal(times[:1])
    out = a**2 * v + std**2
    for i, (t, s) in enumerate(zip(times[:-1, None], times[1:, None], strict=True)):
        a, std = sde.marginal(t)
        f, g2 = sde.drift(torch.ones_like(t), t), sde.diffusion(t) ** 2
        gain = 1 - (t - s) * (f + g2 / (a**2 * v + std**2))
        out = gain**2 * out + (g2 * (t - s) if i < len(times) - 2 else 0)
    return out.item()


@pytest.mark.equation("sde-reverse", "sde-euler-maruyama")
def test_euler_maruyama_has_the_predicted_law_and_order_one():
    """Sample variance against its recursion, 4 standard errors; twice the steps, half the recursion's error."""
    sde, v, n = VPSDE(0.1, 5.0), 0.3, 40_000
    cov = v * torch.eye(2, dtype=torch.float64)
    errors = []
    for steps in (10, 40, 1000, 2000, 4000):
        times = samplers.time_grid(sde, steps, 0.02)
        predicted = euler_maruyama_variance(sde, times, v)
        if steps <= 40:
            start = law(sde, 1.0, 0 * MEAN, cov)[1][0, 0].sqrt() * torch.randn(
                n, 2, generator=rng(), dtype=torch.float64
            )
            x = samplers.euler_maruyama(
                sde, gaussian_score(sde, 0 * MEAN, cov), start, times, generator=rng(1)
            )
            assert x.square().mean().item() == pytest.approx(predicted, rel=4 / math.sqrt(n))
        else:
            errors.append(abs(predicted - law(sde, 0.02, 0 * MEAN, cov)[1][0, 0].item()))
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(1, abs=0.12)


@pytest.mark.equation("sde-corrector")
def test_corrector_mends_what_a_coarse_predictor_spoils():
    """W_2 to the data after 20 steps, 20,000 points (floor about 0.01); too large a Langevin step spoils everything."""
    sde = VPSDE()
    times = samplers.time_grid(sde, 20, 1e-3, "log_ratio")

    def distance(sampler, **options):
        x = sampler(sde, gaussian_score(sde), prior(sde, 20_000), times, generator=rng(1), **options)
        return gaussian_w2(x.mean(0), torch.cov(x.T), MEAN, COV).sqrt().item()

    coarse = distance(samplers.euler_maruyama)
    assert distance(samplers.predictor_corrector, corrections=2) < 0.6 * coarse
    assert distance(samplers.predictor_corrector, corrections=2, ratio=1.0) > 1.5 * coarse


# --- DDIM and peers --------------------------------------------------------------------------------------------------------


class Table:
    """A discrete schedule with the face of a process: times are (step + 1), 0 is the data."""

    def __init__(self, alpha_bar):
        self.alpha_bar = torch.cat([torch.ones(1, dtype=alpha_bar.dtype), alpha_bar])

    def marginal(self, t):
        alpha_bar = self.alpha_bar[t.round().long()]
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


@pytest.mark.equation("sde-ddim", "sde-ddim-ancestral")
@pytest.mark.parametrize(("t", "s"), [(999, 998), (999, 700), (300, 20), (1, 0)])
def test_ddim_with_eta_one_is_the_ancestral_step_with_the_merged_posterior_variance(t, s):
    whole = GaussianDiffusion(linear_betas(1000))
    merged = whole.merged([s, t])
    table = Table(whole.alpha_bar)
    x, eps, noise = (torch.randn(5, 3, generator=rng(i), dtype=torch.float64) for i in range(3))
    now, then = (table.marginal(torch.tensor([float(i + 1)])) for i in (t, s))
    second = torch.ones(5, dtype=torch.int64)
    x0 = merged.x0_from_eps(x, second, eps)
    mean, variance = merged.posterior(x0, x, second)
    torch.testing.assert_close(
        samplers.ddim_step(x, eps, now, then, 1.0, noise), mean + variance.sqrt() * noise
    )


class TwoSpots(nn.Module):
    """The best guess of the noise for values near -1 or 1, each by itself; t counts from zero."""

    alpha_bar = GaussianDiffusion(linear_betas(1000)).alpha_bar

    def forward(self, x, t, y=None):
        alpha_bar = self.alpha_bar[t.long()].view(-1, *[1] * (x.ndim - 1))
        a, s = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        variance = 0.1 * a**2 + s**2
        return s * (x - a * torch.tanh(a * x / variance)) / variance


@pytest.mark.equation("sde-ddim")
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_strided_ddim_is_that_of_diffusers(eta):
    """Ten steps on the same noise; both end with the guessed datum. diffusers keeps its tables in float32: 1e-6."""
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(
        num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear", clip_sample=False,
        set_alpha_to_one=True, timestep_spacing="leading",
    )  # fmt: skip
    scheduler.set_timesteps(10)
    alpha_bar = scheduler.alphas_cumprod.double()
    x = torch.randn(4, 1, 6, 6, generator=rng(), dtype=torch.float64)
    noises = torch.randn(10, *x.shape, generator=rng(1), dtype=torch.float64)
    network, theirs, ours = TwoSpots(), x, x
    steps = scheduler.timesteps.tolist()
    table = Table(alpha_bar)
    for i, t in enumerate(steps):
        eps = network(theirs, torch.full((4,), float(t)))
        theirs = scheduler.step(eps, t, theirs, eta=eta, variance_noise=noises[i]).prev_sample
        now = table.marginal(torch.tensor(t + 1.0))
        then = table.marginal(torch.tensor(t + 1.0 - 100 if i < 9 else 0.0))
        eps = network(ours, torch.full((4,), float(t)))
        ours = samplers.ddim_step(ours, eps, now, then, eta, noises[i])
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.equation("sde-ddim")
def test_ddim_walks_its_steps():
    """The loop over times equals single steps; times may end at 0."""
    table, network = Table(TwoSpots.alpha_bar), TwoSpots()

    def score(x, t):
        return -network(x, t - 1) / table.marginal(t)[1][:, None]

    x = torch.randn(3, 2, generator=rng(), dtype=torch.float64)
    times = torch.tensor([1000.0, 600.0, 200.0, 0.0], dtype=torch.float64)
    expected = x
    for t, s in pairwise(times):
        eps = network(expected, t.expand(3) - 1)
        expected = samplers.ddim_step(expected, eps, table.marginal(t), table.marginal(s))
    torch.testing.assert_close(samplers.ddim(table, score, x, times), expected)


@pytest.mark.equation("sde-dpm-solver")
def test_dpm_solver_step_is_that_of_diffusers():
    """One step of their single-step solver of second order, whose inner time is the middle of log(scale / std) too.

    Their schedule is discrete, so the middle is taken at the step where they evaluate."""
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DPMSolverSinglestepScheduler(
        num_train_timesteps=1000, beta_start=1e-4, beta_end=0.005, beta_schedule="linear",
        algorithm_type="dpmsolver", solver_order=2, solver_type="midpoint", prediction_type="epsilon",
        lower_order_final=False, final_sigmas_type="sigma_min",
    )  # fmt: skip
    scheduler.set_timesteps(4)
    steps = scheduler.timesteps.tolist()
    x = torch.randn(4, 2, generator=rng(), dtype=torch.float64)
    network, theirs = TwoSpots(), x
    for t in steps[:2]:
        theirs = scheduler.step(network(theirs, torch.full((4,), float(t))), t, theirs).prev_sample
    # their sigma is std / scale; alpha and sigma of each of the three times
    pairs = [(1 / (s**2 + 1).sqrt(), s / (s**2 + 1).sqrt()) for s in scheduler.sigmas[:3].double()]
    eps0 = network(x, torch.full((4,), float(steps[0])))
    middle = samplers.ddim_step(x, eps0, pairs[0], pairs[1])
    eps1 = network(middle, torch.full((4,), float(steps[1])))
    lam = [(a / s).log() for a, s in pairs]
    r = (lam[1] - lam[0]) / (lam[2] - lam[0])
    ours = samplers.ddim_step(x, eps0 + (eps1 - eps0) / (2 * r), pairs[0], pairs[2])  # r = 1/2 in ours
    torch.testing.assert_close(ours, theirs, rtol=2e-6, atol=2e-6)  # their sigmas are float32


# --- joining a discrete network --------------------------------------------------------------------------------------------


@pytest.mark.equation("sde-discrete-score")
@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
@pytest.mark.parametrize("sde", PROCESSES, ids=IDS)
def test_score_of_a_discrete_network_is_the_exact_one(sde, prediction):
    """A network that is exact at every (also fractional) step gives the exact score of every process."""
    T = 1000
    diffusion = GaussianDiffusion(linear_betas(T))
    log_ratio = (diffusion.alpha_bar / (1 - diffusion.alpha_bar)).log() / 2
    one = torch.ones(1, dtype=torch.float64)

    class Exact(nn.Module):
        def forward(self, x, t, y=None):
            low = t.long().clamp(max=T - 2)
            lam = torch.lerp(log_ratio[low], log_ratio[low + 1], t - low)
            a, s = torch.sigmoid(2 * lam).sqrt(), torch.sigmoid(-2 * lam).sqrt()
            eps = -s[:, None] * mixture_score(x, a, s, one, MEAN[None], COV[None])
            a, s = a[:, None], s[:, None]
            x0 = (x - s * eps) / a
            return {"eps": eps, "x0": x0, "v": a * eps - s * x0}[prediction]

    model = ddpm_module.DDPM(Exact(), linear_betas(T), (2,), prediction=prediction)
    t = torch.tensor([0.3, 0.5, 0.62, 0.8], dtype=torch.float64)
    x = 0.3 + prior(sde, 4) * 0.3
    torch.testing.assert_close(of_ddpm(model, sde)(x, t), gaussian_score(sde)(x, t), rtol=1e-8, atol=1e-8)


def test_time_is_told_between_the_steps_of_training():
    """At a time whose noise is that of step i the network is told i; beyond the last step, the last."""
    model = ddpm_module.build(None, T=50)
    told = []

    class Spy(nn.Module):
        def forward(self, x, t, y=None):
            told.append(t)
            return x

    model.network = Spy()
    sde = VPSDE()
    alpha_bar = model.diffusion.alpha_bar.double()
    times = sde.time((alpha_bar / (1 - alpha_bar)).log() / 2)
    of_ddpm(model, sde)(torch.zeros(50, 2, dtype=torch.float64), times)
    torch.testing.assert_close(told[-1], torch.arange(50, dtype=torch.float64), rtol=1e-6, atol=1e-6)
    of_ddpm(model, sde)(torch.zeros(1, 2), torch.tensor([1e-9]))
    assert told[-1].item() == 0


@pytest.mark.equation("sde-discrete-score")
def test_guessed_images_are_clipped():
    """A guess far outside: the score is that of the clipped datum, and only with `clip`."""
    model = ddpm_module.build((1, 8, 8), 8, multipliers=[1, 2], blocks=1, attention=[])
    model.network = nn.Identity()
    model.network.forward = lambda x, t: -x  # noise of the wrong sign: a datum of 2 x / a or so
    sde, t = VPSDE(), torch.tensor([0.7, 0.9], dtype=torch.float64)
    x = 1 + torch.rand(2, 1, 8, 8, generator=rng(), dtype=torch.float64)
    a, s = (v.view(2, 1, 1, 1) for v in sde.marginal(t))
    torch.testing.assert_close(of_ddpm(model, sde)(x, t), (a - x) / s**2)
    torch.testing.assert_close(of_ddpm(model, sde, clip=False)(x, t), x / s)


# --- a learned score -------------------------------------------------------------------------------------------------------


@pytest.mark.equation("sde-score-matching", "sde-score-eps")
@pytest.mark.parametrize(("process", "coefficients"), [("vp", []), ("sub_vp", []), ("ve", [0.01, 10.0])])
def test_best_constant_in_time_network_is_the_conditional_mean(process, coefficients):
    """For data N(0, v) the best linear guess at a time is s / (a^2 v + s^2) x: the loss is lowest there, by a known amount."""
    model = score_sde.build(None, 1, 8, process, coefficients)
    v, n = 0.49, 40_000
    x = math.sqrt(v) * torch.randn(n, 1, generator=rng(3), dtype=torch.float64)

    class Linear(nn.Module):
        def __init__(self, gain):
            super().__init__()
            self.gain = gain

        def forward(self, seen, t):
            a, s = model.sde.marginal(t / score_sde.TIME_SCALE)
            level = (a**2 + s**2).sqrt()
            slope = self.gain * s / (a**2 * v + s**2)  # of the guess of the noise in x_t
            return ((slope * level - s / level) * level / a)[:, None] * seen

    losses = {}
    for gain in (0.9, 1.0, 1.1):
        model.network = Linear(gain)
        losses[gain] = model.loss(x, generator=rng(4)).item()
    t = torch.linspace(1e-5, 1, 20_001, dtype=torch.float64)
    a, s = model.sde.marginal(t)
    explained = torch.trapezoid(s**2 / (a**2 * v + s**2), t).item()  # of the noise's variance 1
    assert losses[1.0] == pytest.approx(1 - explained, abs=4 * math.sqrt(2 / n))
    for gain in (0.9, 1.1):
        assert losses[gain] - losses[1.0] == pytest.approx(0.01 * explained, rel=0.5)
    xt = torch.tensor([[0.3]], dtype=torch.float64)
    model.network = Linear(1.0)
    a, s = model.sde.marginal(torch.tensor([0.4], dtype=torch.float64))
    torch.testing.assert_close(
        model.score(xt, torch.tensor([0.4], dtype=torch.float64)), -xt / (a**2 * v + s**2)
    )


@pytest.fixture(scope="module")
def trained():
    plan = recipe("score_sde", "two_moons", "smoke", steps=400)
    model = fit(build(plan), toy2d.two_moons(20_000, rng()), plan, progress=False)
    return plan, model


def test_learned_score_draws_the_data_and_knows_their_density(trained):
    _, run = trained
    assert run.losses["all"][-50:].mean() < run.losses["all"][:20].mean() - 0.01
    test = toy2d.two_moons(400, rng(5))
    gaussian = torch.distributions.MultivariateNormal(test.mean(0), torch.cov(test.T))
    assert run.model.log_prob(test, tolerance=1e-3).mean() > gaussian.log_prob(test).mean() + 0.1
    for name in samplers.SAMPLERS:
        x = run.model.sample(500, generator=rng(1), steps=30, sampler=name)
        again = run.model.sample(500, generator=rng(1), steps=30, sampler=name)
        assert torch.equal(x, again)
        assert (x.mean(0) - test.mean(0)).norm() < 0.35
        assert (x.std(0) / test.std(0) - 1).abs().max() < 0.35


def test_stored_model_is_the_same(trained, tmp_path):
    plan, run = trained
    save_run(run, plan, tmp_path / "moons.safetensors", checkpoints.commit())
    loaded = models.load("moons", tmp_path)
    torch.testing.assert_close(
        loaded.sample(5, generator=rng()), run.model.sample(5, generator=rng()), rtol=0.02, atol=0.02
    )


def test_images_go_in_and_out():
    model = score_sde.build((1, 8, 8), width=8, multipliers=[1, 2], blocks=1, attention=[], process="ve")
    x = torch.rand(3, 1, 8, 8, generator=rng())
    loss = model.loss(x, generator=rng())
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())
    assert torch.equal(loss, model.loss(x, generator=rng()))
    assert model.sample(2, generator=rng(), steps=2).shape == (2, 1, 8, 8)
    assert not hasattr(model, "log_prob")


def test_bad_inputs_are_named():
    model = score_sde.build(None)
    with pytest.raises(ValueError, match="float points"):
        model.loss(torch.zeros(3, 3))
    with pytest.raises(ValueError, match="sampler='magic'"):
        model.sample(2, sampler="magic")
    with pytest.raises(ValueError, match="process='vvp'"):
        score_sde.build(None, process="vvp")
    with pytest.raises(ValueError, match="decrease"):
        samplers.ddim(VPSDE(), model.score, torch.zeros(2, 2), torch.tensor([0.1, 1.0]))
    with pytest.raises(ValueError, match="spacing"):
        samplers.time_grid(VPSDE(), 10, spacing="cubic")
    with pytest.raises(ValueError, match=r"end in \(0, 1\)"):
        samplers.time_grid(VPSDE(), 10, end=0.0)


def test_recipe_names_what_build_takes():
    assert isinstance(
        build(Recipe("score_sde", "mnist", "lab", 1, 1, {"width": 8, "attention": []})), nn.Module
    )


def test_experiments_run():
    """Orders of magnitude on the smallest tier: solvers of second order beat DDIM, six samplers draw something like the law."""
    steps = sde_steps.run("smoke")
    assert steps["mixture"].shape == (6, 2, 5)
    assert (steps["mixture"][:, :, -1].min(1) < 0.15).all()
    rows = dict(zip(steps["method"], steps["flow"][:, 1, -1], strict=True))
    assert rows["Heun"] < 0.3 * rows["DDIM (eta = 0)"]
    assert math.isnan(rows["Euler-Maruyama"])
    images = sde_fid.run("smoke")
    assert images["samples"].shape == (7, 2, 10, 1, 28, 28)
    assert (images["low"] <= images["fid"]).all()
    assert (images["fid"] > images["floor"]).all()

"""Diffusion models against Gaussian conditioning by brute force, quadrature, closed forms, and diffusers."""

import importlib
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import course_lib  # noqa: F401  (before diffusers: it lets torchvision import)
from course_lib import checkpoints, models
from course_lib.data import toy2d
from course_lib.distributions import discretized_gaussian_log_prob, gaussian_log_prob
from course_lib.models.ddpm import DDPM, PREDICTIONS, GaussianDiffusion, cosine_betas, linear_betas
from course_lib.models.diffusion_bound import step_cost, sum_of_steps
from course_lib.models.exact_score import ExactEps, ancestral_law, exact_bounds, mixture_score
from course_lib.training import build, fit, recipe, save_run
from course_lib.training.evaluation import evaluate
from course_lib.training.loop import TensorData
from course_lib.training.recipes.ddpm import RECIPES

MEAN = torch.tensor([0.3, -1.0], dtype=torch.float64)
COV = torch.tensor([[0.5, 0.2], [0.2, 0.3]], dtype=torch.float64)
SMALL = {"width": 8, "multipliers": [1, 2], "blocks": 1, "attention": [], "schedule": "cosine"}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def at(t: int, n: int) -> Tensor:
    return torch.full((n,), t)


def exact_model(betas, mean=MEAN, cov=COV, **options) -> DDPM:
    """A model whose network is perfect for data from N(mean, cov)."""
    network = ExactEps(GaussianDiffusion(betas).alpha_bar, torch.ones(1), mean[None], cov[None])
    return DDPM(network, betas, (len(mean),), **options)


def variances(model: DDPM) -> Tensor:
    return (model.log_large if model.variance == "beta" else model.log_small).exp()


class Fixed(nn.Module):
    """A network whose answer is given."""

    def __init__(self, answer: Tensor):
        super().__init__()
        self.answer, self.seen = nn.Parameter(answer), []

    def forward(self, x, t, y=None, z=None):
        self.seen.append((t.clone(), y))
        return self.answer.expand(len(x), *self.answer.shape[1:])


def joint(betas: Tensor, cov0: float) -> Tensor:
    """Covariance of (x_0, ..., x_T) on the line, step by step from q(x_t given x_{t-1}); x_0 has variance `cov0`."""
    T = len(betas)
    mix = torch.eye(T + 1, dtype=torch.float64)  # x = mix @ (x_0, independent noises)
    for t in range(1, T + 1):
        mix[t] = (1 - betas[t - 1]).sqrt() * mix[t - 1]
        mix[t, t] = betas[t - 1].sqrt()
    spread = torch.ones(T + 1, dtype=torch.float64)
    spread[0] = cov0
    return (mix * spread) @ mix.T


def condition(cov: Tensor, of: int, on: list[int]) -> tuple[Tensor, float]:
    """Coefficients and variance of a centred Gaussian's entry `of`, given the entries `on`."""
    inside = cov[on][:, on]
    weights = torch.linalg.solve(inside, cov[on, of])
    return weights, (cov[of, of] - weights @ cov[on, of]).item()


# --- the forward process -------------------------------------------------------------------------------------------------


@pytest.mark.equation("ddpm-linear", "ddpm-posterior")
def test_tables_have_the_known_values():
    diffusion = GaussianDiffusion(linear_betas(1000))
    known = {
        diffusion.alpha_bar[999]: 4.035829765375676e-5,
        diffusion.alpha_bar[500]: 0.07779665836502389,
        diffusion.posterior_mean_x0[500]: 0.003058057075629619,
        diffusion.posterior_mean_xt[500]: 0.9941043507567258,
        diffusion.posterior_variance[1]: 5.4531876613e-5,
    }
    for value, expected in known.items():
        assert value.item() == pytest.approx(expected, rel=1e-9)
    assert linear_betas(1000)[[0, -1]].tolist() == pytest.approx([1e-4, 0.02])


@pytest.mark.equation("ddpm-cosine")
def test_cosine_schedule_takes_away_the_same_share_for_any_number_of_steps():
    """abar after a quarter, half, three quarters of the steps is the squared cosine, for T = 8 as for T = 800."""
    for T in (8, 800):
        alpha_bar = GaussianDiffusion(cosine_betas(T)).alpha_bar
        for quarter in (1, 2, 3):
            angle = (quarter / 4 + 0.008) / 1.008 * math.pi / 2
            expected = (math.cos(angle) / math.cos(0.008 / 1.008 * math.pi / 2)) ** 2
            assert alpha_bar[quarter * T // 4 - 1].item() == pytest.approx(expected, rel=1e-9)
        assert cosine_betas(T).max() == 0.999


@pytest.mark.equation("ddpm-forward", "ddpm-marginal", "ddpm-posterior")
@pytest.mark.parametrize("betas", [cosine_betas(6), torch.tensor([0.3, 0.01, 0.6, 0.2]).double()])
def test_marginal_and_posterior_by_conditioning_the_joint_gaussian(betas):
    diffusion = GaussianDiffusion(betas)
    cov = joint(betas, cov0=1.7)  # the posterior given x_0 must not depend on the law of x_0
    for t in range(1, len(betas) + 1):
        index = at(t - 1, 1)
        weights, variance = condition(cov, t, [0])
        zero, one = torch.zeros(1, 1).double(), torch.ones(1, 1).double()
        assert diffusion.q_sample(one, index, zero).item() == pytest.approx(weights.item(), abs=1e-12)
        assert diffusion.q_sample(zero, index, one).item() ** 2 == pytest.approx(variance, abs=1e-12)
        if t == 1:
            mean, tilde = diffusion.posterior(one, 5 * one, index)
            assert (mean.item(), tilde.item()) == pytest.approx((1, 0))
            continue
        weights, variance = condition(cov, t - 1, [0, t])
        assert diffusion.posterior(one, zero, index)[0].item() == pytest.approx(weights[0].item(), abs=1e-10)
        mean, tilde = diffusion.posterior(zero, one, index)
        assert mean.item() == pytest.approx(weights[1].item(), abs=1e-10)
        assert tilde.item() == pytest.approx(variance, abs=1e-10)


@pytest.mark.equation("ddpm-merged")
def test_merged_steps_are_the_same_process_seen_less_often():
    betas, kept = cosine_betas(9), [1, 2, 6, 8]
    merged, cov = GaussianDiffusion(betas).merged(kept), joint(betas, cov0=0.4)
    for i, t in enumerate(kept):
        assert merged.alpha_bar[i].item() == pytest.approx(GaussianDiffusion(betas).alpha_bar[t].item())
        if i > 0:
            weights, variance = condition(cov, kept[i - 1] + 1, [0, t + 1])
            assert merged.posterior_mean_x0[i].item() == pytest.approx(weights[0].item(), abs=1e-10)
            assert merged.posterior_variance[i].item() == pytest.approx(variance, abs=1e-10)
    with pytest.raises(ValueError, match="rise"):
        GaussianDiffusion(betas).merged([3, 2])


@pytest.mark.equation("ddpm-x0-eps", "ddpm-v")
def test_every_prediction_names_the_same_pair():
    diffusion = GaussianDiffusion(linear_betas(100))
    x0, noise = draw(50, 3, seed=1), draw(50, 3, seed=2)
    t = torch.randint(100, (50,), generator=rng())
    xt, v = diffusion.q_sample(x0, t, noise), diffusion.v_from(x0, noise, t)
    for prediction, predicted in {"eps": noise, "x0": x0, "v": v}.items():
        got = diffusion.pair(prediction, predicted, xt, t)
        torch.testing.assert_close(got, (x0, noise), rtol=1e-8, atol=1e-8)
    # x_t = cos(angle) x_0 + sin(angle) eps, and v is its derivative in the angle
    angle = torch.atan2(diffusion.sigma[t], diffusion.signal[t])[:, None]
    _, derivative = torch.func.jvp(
        lambda a: a.cos() * x0 + a.sin() * noise, (angle,), (torch.ones_like(angle),)
    )
    torch.testing.assert_close(v, derivative)
    torch.testing.assert_close(xt**2 + v**2, x0**2 + noise**2)


def test_times_and_betas_are_checked():
    diffusion, x = GaussianDiffusion(linear_betas(10)), torch.zeros(3, 2)
    for t in (at(10, 3), at(-1, 3), at(1, 2), torch.zeros(3)):
        with pytest.raises(ValueError, match="t "):
            diffusion.q_sample(x, t, x)
    for betas in (torch.tensor([0.1, 1.0]), torch.tensor([[0.1]]), torch.tensor([])):
        with pytest.raises(ValueError, match="betas"):
            GaussianDiffusion(betas)
    with pytest.raises(ValueError, match="at least one step"):
        linear_betas(0)


# --- the best prediction -------------------------------------------------------------------------------------------------


def mixture():
    means = torch.tensor([[-1.0, 0.0], [1.0, 0.5], [0.0, 2.0]]).double()
    root = draw(3, 2, 2, seed=5)
    return torch.tensor([0.2, 0.5, 0.3]).double(), means, root @ root.mT + 0.1 * torch.eye(2).double()


@pytest.mark.equation("ddpm-mixture-score")
def test_mixture_score_is_the_gradient_of_the_log_density():
    weights, means, covs = mixture()
    scale, std = torch.rand(20, generator=rng(1)).double(), torch.rand(20, generator=rng(2)).double()
    x = (2 * draw(20, 2)).requires_grad_()
    noised = scale[:, None, None, None] ** 2 * covs + std[:, None, None, None] ** 2 * torch.eye(2).double()
    law = torch.distributions.MultivariateNormal(scale[:, None, None] * means, noised)
    log_prob = (law.log_prob(x[:, None]) + weights.log()).logsumexp(1)
    (gradient,) = torch.autograd.grad(log_prob.sum(), x)
    torch.testing.assert_close(mixture_score(x.detach(), scale, std, weights, means, covs), gradient)
    assert mixture_score(x.detach().float(), 0.5, 0.5, weights, means, covs).dtype == torch.float32
    with pytest.raises(ValueError, match="expected x"):
        mixture_score(x.detach()[:, :1], 1.0, 1.0, weights, means, covs)


@pytest.mark.equation("ddpm-eps-score", "ddpm-score", "ddpm-denoising")
def test_the_best_prediction_is_the_scaled_score_by_quadrature():
    """E[eps given x_t] by a sum over eps; and the two losses differ by a constant, whatever the prediction."""
    weights, means, covs = (
        torch.tensor([0.6, 0.4]),
        torch.tensor([[-1.0], [1.5]]),
        torch.tensor([[[0.09]], [[0.16]]]),
    )
    law, diffusion = toy2d.mixture1d, GaussianDiffusion(cosine_betas(20))
    network = ExactEps(diffusion.alpha_bar, weights, means, covs)
    model = DDPM(network, cosine_betas(20), (1,))
    t = 9
    signal, sigma = diffusion.signal[t], diffusion.sigma[t]
    eps = torch.linspace(-9, 9, 20_001, dtype=torch.float64)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    mass = torch.exp(-0.5 * eps**2 + law.log_prob((x[:, None] - sigma * eps) / signal))
    best = (mass * eps).sum(1) / mass.sum(1)
    torch.testing.assert_close(network(x[:, None], at(t, 9))[:, 0], best, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(model.score(x[:, None], at(t, 9))[:, 0], -best / sigma, rtol=1e-6, atol=1e-6)

    line = torch.linspace(-4, 5, 1_201, dtype=torch.float64)
    x0, noise = torch.meshgrid(line, torch.linspace(-6, 6, 801, dtype=torch.float64), indexing="ij")
    weight = torch.exp(law.log_prob(x0) - 0.5 * noise**2)
    weight = weight / weight.sum()
    xt = signal * x0 + sigma * noise
    score = model.score(xt.reshape(-1, 1), at(t, xt.numel())).reshape(xt.shape)

    def gap(predict):
        guess = predict(xt)
        return (weight * ((guess - noise) ** 2 - (guess + sigma * score) ** 2)).sum().item()

    gaps = [gap(predict) for predict in (torch.zeros_like, torch.sin, lambda v: 2 * v - 1)]
    assert gaps == pytest.approx([gaps[0]] * 3, abs=1e-6)


@pytest.mark.equation("ddpm-mean-eps", "ddpm-reverse", "ddpm-progressive")
def test_perfect_step_back_has_the_conditional_mean():
    """The mean of the step back is E[x_{t-1} given x_t], and the guess is E[x_0 given x_t], by conditioning the joint Gaussian."""
    betas, cov0 = cosine_betas(6), 0.4
    model = exact_model(betas, torch.zeros(1).double(), torch.tensor([[cov0]]).double())
    cov, xt = joint(betas, cov0), draw(5, 1)
    for t in range(1, 7):
        index = at(t - 1, 5)
        mean, guess = model.step(xt, index, torch.zeros_like(xt))
        torch.testing.assert_close(mean, condition(cov, t - 1, [t])[0] * xt)
        torch.testing.assert_close(guess, condition(cov, 0, [t])[0] * xt)
        beta, alpha_bar = betas[t - 1], model.diffusion.alpha_bar[t - 1]
        eps = model.network(xt, index)
        torch.testing.assert_close(mean, (xt - beta / (1 - alpha_bar).sqrt() * eps) / (1 - beta).sqrt())


# --- sampling ------------------------------------------------------------------------------------------------------------


@pytest.mark.equation("ddpm-oracle-law")
def test_output_variance_of_a_gaussian_is_the_known_one():
    cov = torch.tensor([[0.25]]).double()
    for variance, expected in {"beta": 0.25075, "posterior": 0.24613}.items():
        model = exact_model(linear_betas(1000), torch.zeros(1).double(), cov, variance=variance)
        got = ancestral_law(model.diffusion, variances(model), torch.zeros(1), cov)[1]
        assert got.item() == pytest.approx(expected, abs=5e-6)


def by_hand(model: DDPM) -> tuple[Tensor, Tensor]:
    """Law of the output from the model's own steps, which are affine here: what they do to 0, to the axes, and to noise."""
    d = model.shape[0]
    mean, cov = torch.zeros(d).double(), torch.eye(d).double()
    points, zero = torch.cat([torch.zeros(1, d), torch.eye(d)]).double(), torch.zeros(d + 1, d).double()
    for t in reversed(range(model.diffusion.T)):
        index = at(t, d + 1)
        images = model.step(points, index, zero)[0]
        shaken = model.step(points, index, points)[0] - images
        slope, spread = (images[1:] - images[0]).T, shaken[1:].T
        mean, cov = slope @ mean + images[0], slope @ cov @ slope.T + spread @ spread.T
    return mean, cov


@pytest.mark.equation("ddpm-oracle-law", "ddpm-step")
@pytest.mark.parametrize("variance", ["beta", "posterior"])
@pytest.mark.parametrize(("T", "schedule"), [(4, cosine_betas), (50, cosine_betas), (1000, linear_betas)])
def test_sampler_has_the_law_of_the_closed_form(T, schedule, variance):
    model = exact_model(schedule(T), variance=variance)
    mean, cov = ancestral_law(model.diffusion, variances(model), MEAN, COV)
    for got, expected in zip(by_hand(model), (mean, cov), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    if T == 1000:
        torch.testing.assert_close(mean, MEAN, rtol=0, atol=0.01)
        torch.testing.assert_close(cov, COV, rtol=0, atol=0.01)
    n = 1_000 if T == 1000 else 10_000
    x = model.sample(n, generator=rng(T))
    assert ((x.mean(0) - mean).abs() < 4 * (cov.diagonal() / n).sqrt()).all()
    bars = (
        (cov.diagonal()[:, None] * cov.diagonal() + cov**2) / n
    ).sqrt()  # of a Gaussian's sample covariance
    assert ((x.T.cov() - cov).abs() < 4 * bars).all()


@pytest.mark.equation("ddpm-step")
def test_last_step_adds_no_noise_and_is_not_skipped():
    model = exact_model(cosine_betas(8))
    x = draw(6, 2)
    quiet, guess = model.step(x, at(0, 6), torch.zeros_like(x))
    torch.testing.assert_close(model.step(x, at(0, 6), draw(6, 2, seed=1))[0], quiet, rtol=0, atol=0)
    torch.testing.assert_close(quiet, guess, rtol=0, atol=0)
    moved = model.step(x, at(1, 6), draw(6, 2, seed=1))[0] - model.step(x, at(1, 6), torch.zeros_like(x))[0]
    torch.testing.assert_close(
        moved,
        model.diffusion.posterior_variance.new_tensor(model.log_large[1].exp() ** 0.5) * draw(6, 2, seed=1),
    )
    walked = list(model.trajectory(6, generator=rng(3)))
    assert [t for t, _, _ in walked] == list(reversed(range(8)))
    torch.testing.assert_close(walked[-1][1], model.sample(6, generator=rng(3)), rtol=0, atol=0)
    torch.testing.assert_close(walked[-1][1], walked[-1][2], rtol=0, atol=0)


def test_strided_sampling_asks_the_network_at_the_original_times():
    network = Fixed(torch.zeros(1, 2))
    model = DDPM(network, linear_betas(100), (2,), variance="posterior", sample_steps=7)
    assert model.n_evaluations == 7
    model.sample(3, generator=rng())
    times = [int(t[0]) for t, _ in network.seen]
    assert times == [99, 82, 66, 50, 33, 16, 0]
    shorter = model.strided(7)
    torch.testing.assert_close(shorter.diffusion.alpha_bar, model.diffusion.alpha_bar[times[::-1]])
    assert shorter.network is network
    assert network.answer.dtype == torch.float32
    network.seen.clear()
    model.sample(3, generator=rng(), steps=100)
    assert len(network.seen) == 100
    with pytest.raises(ValueError, match="steps"):
        model.sample(3, steps=101)


# --- the bound -----------------------------------------------------------------------------------------------------------


@pytest.mark.equation("ddpm-bound-posterior", "ddpm-bound-marginal")
@pytest.mark.parametrize("variance", ["beta", "posterior"])
def test_both_forms_of_the_bound_are_equal_and_above_the_entropy(variance):
    entropy = 0.5 * torch.logdet(2 * math.pi * math.e * COV).item()
    costs = []
    for T in (4, 50, 400):
        model = exact_model(cosine_betas(T), variance=variance)
        first, second = exact_bounds(model.diffusion, variances(model), MEAN, COV)
        assert first.item() == pytest.approx(second.item(), rel=1e-10)
        costs.append(first.item())
    assert min(costs) > entropy
    if variance == "beta":
        assert costs == sorted(costs, reverse=True)


@pytest.mark.equation("ddpm-elbo", "ddpm-terms", "ddpm-prior", "ddpm-bound-posterior")
@pytest.mark.parametrize("variance", ["beta", "posterior"])
def test_bound_agrees_with_its_definition_and_its_closed_form(variance):
    """-E log p(x_0 ... x_T) / q(x_1 ... x_T given x_0) over walks through the forward process, and the model's elbo."""
    n, model = 20_000, exact_model(cosine_betas(6), variance=variance)
    diffusion = model.diffusion
    exact = exact_bounds(diffusion, variances(model), MEAN, COV)[0].item()
    x0 = MEAN + draw(n, 2) @ torch.linalg.cholesky(COV).T
    before, cost = x0, torch.zeros(n).double()
    for t in range(6):
        beta = diffusion.betas[t]
        x = (1 - beta).sqrt() * before + beta.sqrt() * draw(n, 2, seed=t + 1)
        cost += gaussian_log_prob(x, (1 - beta).sqrt() * before, beta.log())
        mean = model.step(x, at(t, n), torch.zeros_like(x))[0]
        cost -= gaussian_log_prob(before, mean, variances(model)[t].log())
        before = x
    cost -= gaussian_log_prob(before, torch.zeros(2), torch.zeros(2))
    for values in (cost, -model.elbo(x0, None, generator=rng(9)), -model.elbo(x0, 2, generator=rng(9))):
        assert values.mean().item() == pytest.approx(exact, abs=4 * values.std().item() / n**0.5)


@pytest.mark.equation("ddpm-bound-marginal", "ddpm-terms")
def test_bound_is_tight_where_the_reverse_process_is_gaussian_with_variance_beta():
    """For data from N(0, I) the true reverse variance is beta, so nothing is lost at any step: the bound is the log-density."""
    zero, one = torch.zeros(2).double(), torch.eye(2).double()
    model = exact_model(linear_betas(50), zero, one, variance="beta")
    first, _ = exact_bounds(model.diffusion, variances(model), zero, one)
    assert first.item() == pytest.approx(math.log(2 * math.pi * math.e), abs=1e-12)
    x = draw(4_000, 2)
    loss = -model.elbo(x, None, generator=rng(1)) + gaussian_log_prob(x, zero, zero)
    assert loss.mean().item() == pytest.approx(0, abs=4 * loss.std().item() / 4_000**0.5)


@pytest.mark.equation("ddpm-drawn-bound")
@pytest.mark.parametrize("times", [1, 5])
def test_drawn_steps_estimate_the_sum_of_all(times):
    n, T = 40_000, 60
    terms = 1 / (1 + torch.arange(T, dtype=torch.float64)) + 0.1

    def cost(t):
        return terms[t]

    exact = sum_of_steps(cost, T, 3, None, torch.device("cpu"))
    torch.testing.assert_close(exact, terms.sum().expand(3))
    drawn = sum_of_steps(cost, T, n, times, torch.device("cpu"), rng(times))
    assert drawn.mean().item() == pytest.approx(terms.sum().item(), abs=4 * drawn.std().item() / n**0.5)


@pytest.mark.equation("ddpm-decoder")
def test_masses_of_all_levels_sum_to_one():
    levels = torch.arange(256, dtype=torch.float64) / 255
    for mean, std in ((0.5, 0.2), (0.0, 0.01), (1.3, 0.5), (0.5, 0.001)):
        log_var = torch.tensor(2 * math.log(std)).double()
        masses = discretized_gaussian_log_prob(levels[:, None], torch.tensor([mean]).double(), log_var).exp()
        assert masses.sum().item() == pytest.approx(1, abs=1e-12)
    normal = torch.distributions.Normal(torch.tensor(0.4, dtype=torch.float64), 0.02)
    inner = normal.cdf(levels[100] + 0.5 / 255) - normal.cdf(levels[100] - 0.5 / 255)
    got = discretized_gaussian_log_prob(
        levels[100:101],
        torch.tensor(0.4, dtype=torch.float64),
        torch.tensor(2 * math.log(0.02), dtype=torch.float64),
    )
    assert got.exp().item() == pytest.approx(inner.item(), rel=1e-10)


@pytest.mark.equation("ddpm-decoder")
def test_decoder_is_finite_and_has_a_gradient_far_from_the_mean():
    mean = torch.tensor([[-1.0], [0.0], [1.0], [2.0]], requires_grad=True)
    value = discretized_gaussian_log_prob(
        torch.full((4, 1), 100 / 255), mean, torch.tensor(2 * math.log(0.004))
    )
    value.sum().backward()
    assert value.isfinite().all()
    assert mean.grad.isfinite().all()
    assert (mean.grad.sign().flatten() == torch.tensor([1.0, 1.0, -1.0, -1.0])).all()
    # log of the density times the width of a bin, within the slope's change over that bin
    far = -0.5 * (1.0 - 100 / 255) ** 2 / 0.004**2
    assert value[2].item() == pytest.approx(far, rel=0.02)


# --- losses --------------------------------------------------------------------------------------------------------------


@pytest.mark.equation("ddpm-simple")
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_loss_is_the_mean_squared_error_of_what_is_predicted(prediction):
    answer = draw(1, 1, 8, 8, seed=4).float()
    model = DDPM(Fixed(answer), linear_betas(20), (1, 8, 8), prediction)
    x = torch.rand(6, 1, 8, 8, generator=rng(2))
    loss = model.loss(x, generator=rng(7))
    noise_source = rng(7)
    t = torch.randint(20, (6,), generator=noise_source)
    noise = torch.randn(x.shape, generator=noise_source)
    signal, sigma = (v[t].float().view(-1, 1, 1, 1) for v in (model.diffusion.signal, model.diffusion.sigma))
    target = {"eps": noise, "x0": 2 * x - 1, "v": signal * noise - sigma * (2 * x - 1)}[prediction]
    assert loss.item() == pytest.approx(((answer - target) ** 2).mean().item(), rel=1e-5)


@pytest.mark.equation("ddpm-weighted", "ddpm-terms")
@pytest.mark.parametrize("variance", ["beta", "posterior"])
def test_terms_of_the_bound_are_weighted_errors(variance):
    """Between two predictions a term changes by beta^2 / (2 sigma^2 alpha (1 - abar)) times the change of the error."""
    betas = linear_betas(30)
    diffusion, x0, noise = GaussianDiffusion(betas), draw(8, 3, seed=1), draw(8, 3, seed=2)
    t = torch.arange(1, 9) * 3
    xt, costs, errors = diffusion.q_sample(x0, t, noise), [], []
    for seed in (3, 4):
        guess = draw(8, 3, seed=seed)
        mean = diffusion.posterior(diffusion.x0_from_eps(xt, t, guess), xt, t)[0]
        log_variance = (betas if variance == "beta" else diffusion.posterior_variance)[t].log()[:, None]
        costs.append(step_cost(diffusion, x0, xt, t, mean, log_variance, images=False))
        errors.append((noise - guess).square().sum(1))
    sigma2 = (betas if variance == "beta" else diffusion.posterior_variance)[t]
    weight = betas[t] ** 2 / (2 * sigma2 * (1 - betas[t]) * (1 - diffusion.alpha_bar[t]))
    torch.testing.assert_close(costs[1] - costs[0], weight * (errors[1] - errors[0]))
    if variance == "posterior":  # no constant is left where the variances are equal
        torch.testing.assert_close(costs[0], weight * errors[0])


@pytest.mark.equation("ddpm-learned-variance")
def test_learned_variance_runs_from_the_small_to_the_large():
    for share, name in ((-1.0, "log_small"), (1.0, "log_large"), (0.0, None)):
        answer = torch.cat([torch.zeros(1, 2), torch.full((1, 2), share)], 1).double()
        model = DDPM(Fixed(answer), linear_betas(10), (2,), variance="learned")
        t = torch.arange(10)
        _, log_variance = model.outputs(draw(10, 2), t)
        middle = (model.log_small + model.log_large) / 2
        expected = middle if name is None else getattr(model, name)
        torch.testing.assert_close(log_variance, expected[:, None].expand(10, 2))


@pytest.mark.equation("ddpm-hybrid")
def test_bound_teaches_the_variance_and_leaves_the_mean_alone():
    x = torch.rand(16, 1, 6, 6, generator=rng(3))
    answer = 0.1 * draw(1, 2, 6, 6).float()
    learned, plain = (
        DDPM(Fixed(value), linear_betas(20), (1, 6, 6), variance=variance)
        for value, variance in ((answer, "learned"), (answer[:, :1].clone(), "beta"))
    )
    losses = [model.loss(x, generator=rng(5)) for model in (learned, plain)]
    for loss in losses:
        loss.backward()
    gradient = learned.network.answer.grad
    torch.testing.assert_close(gradient[:, :1], plain.network.answer.grad)
    assert gradient[:, 1:].abs().sum() > 0
    # the rest is 0.001 times the sum over steps, in bits per dimension
    source = rng(5)
    t = torch.randint(20, (16,), generator=source)
    noise = torch.randn(x.shape, generator=source)
    xt = learned.diffusion.q_sample(2 * x - 1, t, noise)
    predicted, log_variance = learned.outputs(xt, t)
    mean, _ = learned.mean(predicted, xt, t)
    nats = step_cost(learned.diffusion, 2 * x - 1, xt, t, mean, log_variance, images=True)
    bits = 20 * nats.mean() / (36 * math.log(2))
    assert (losses[0] - losses[1]).item() == pytest.approx(0.001 * bits.item(), rel=1e-3)


# --- labels --------------------------------------------------------------------------------------------------------------


class ExactLabels(nn.Module):
    """The best prediction for a mixture with labels: of one component, or of all where the label is K."""

    def __init__(self, alpha_bar, weights, means, covs):
        super().__init__()
        whole = ExactEps(alpha_bar, weights, means, covs)
        single = (
            ExactEps(alpha_bar, torch.ones(1), m[None], c[None]) for m, c in zip(means, covs, strict=True)
        )
        self.parts = nn.ModuleList([*single, whole])

    def forward(self, x, t, y):
        answers = torch.stack([part(x, t) for part in self.parts], 1)
        return answers[torch.arange(len(x)), y]


@pytest.mark.equation("ddpm-guidance")
@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.5])
def test_guidance_raises_the_power_of_the_label(guidance):
    """The guided eps is -sigma times the gradient of log q_t(x) + w log q_t(y given x)."""
    weights, means, covs = mixture()
    betas = cosine_betas(10)
    diffusion = GaussianDiffusion(betas)
    model = DDPM(ExactLabels(diffusion.alpha_bar, weights, means, covs), betas, (2,), classes=3)
    x, y, t = draw(12, 2).requires_grad_(), torch.arange(12) % 3, at(4, 12)
    signal, sigma = diffusion.signal[4], diffusion.sigma[4]
    noised = signal**2 * covs + sigma**2 * torch.eye(2).double()
    log_joint = (
        torch.distributions.MultivariateNormal(signal * means, noised).log_prob(x[:, None]) + weights.log()
    )
    log_x = log_joint.logsumexp(1)
    log_y = log_joint[torch.arange(12), y] - log_x
    (gradient,) = torch.autograd.grad((log_x + guidance * log_y).sum(), x)
    torch.testing.assert_close(model.predict(x.detach(), t, y, guidance)[1], -sigma * gradient)
    if guidance == 0:
        torch.testing.assert_close(model.predict(x.detach(), t)[1], -sigma * gradient)


def test_labels_are_withheld_at_the_given_rate():
    network = Fixed(torch.zeros(1, 2))
    model = DDPM(network, linear_betas(10), (2,), classes=4, label_dropout=0.3)
    y = torch.randint(4, (20_000,), generator=rng())
    model.loss(torch.zeros(20_000, 2), y, generator=rng(1))
    seen = network.seen[-1][1]
    withheld = (seen == 4).float().mean().item()
    assert withheld == pytest.approx(0.3, abs=4 * (0.21 / 20_000) ** 0.5)
    assert (seen[seen < 4] == y[seen < 4]).all()
    model.sample(5, torch.full((5,), 4), generator=rng())
    assert (network.seen[-1][1] == 4).all()
    model.sample(500, generator=rng())
    assert set(network.seen[-1][1].tolist()) == {0, 1, 2, 3}  # left out: drawn


# --- diffusers -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def diffusers():
    return pytest.importorskip("diffusers")


def test_schedules_of_diffusers(diffusers):
    linear = diffusers.DDPMScheduler(1000)
    torch.testing.assert_close(linear.betas.double(), linear_betas(1000), rtol=1e-6, atol=1e-7)
    mine = GaussianDiffusion(linear_betas(1000)).alpha_bar
    torch.testing.assert_close(linear.alphas_cumprod.double(), mine, rtol=0, atol=1e-6)
    for T in (10, 200):
        cosine = diffusers.DDPMScheduler(T, beta_schedule="squaredcos_cap_v2")
        torch.testing.assert_close(cosine.betas.double(), cosine_betas(T), rtol=0, atol=1e-6)


def precise(scheduler, betas):
    """A peer's scheduler with our float64 betas in the place of its float32 ones."""
    scheduler.betas, scheduler.alphas = betas, 1 - betas
    scheduler.alphas_cumprod = torch.cumprod(1 - betas, 0)
    scheduler.one = torch.ones((), dtype=torch.float64)
    return scheduler


def test_noising_and_v_of_diffusers(diffusers):
    betas = linear_betas(1000)
    peer, mine = precise(diffusers.DDPMScheduler(1000), betas), GaussianDiffusion(betas)
    x0, noise, t = draw(7, 3, 4, 4), draw(7, 3, 4, 4, seed=1), torch.tensor([0, 1, 10, 300, 500, 998, 999])
    torch.testing.assert_close(mine.q_sample(x0, t, noise), peer.add_noise(x0, noise, t), rtol=0, atol=1e-6)
    torch.testing.assert_close(mine.v_from(x0, noise, t), peer.get_velocity(x0, noise, t), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kept", [None, [0, 11, 400, 999]])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize(
    ("variance", "theirs"),
    [("beta", "fixed_large"), ("posterior", "fixed_small"), ("learned", "learned_range")],
)
def test_a_step_back_of_diffusers(diffusers, monkeypatch, variance, theirs, prediction, kept):
    """Same network, same noise; single steps of all kinds, and steps that are several in one."""
    betas = linear_betas(1000)
    names = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
    scheduler = diffusers.DDPMScheduler(
        1000, variance_type=theirs, prediction_type=names[prediction], clip_sample=True
    )
    peer = precise(scheduler, betas)
    channels = 2 if variance == "learned" else 1
    answer, x, noise = draw(2, channels, 4, 4), draw(2, 1, 4, 4, seed=1), draw(2, 1, 4, 4, seed=2)
    network = Fixed(answer)
    mine = DDPM(network, betas, (1, 4, 4), prediction, variance)
    if kept is None:
        indices = times = [0, 1, 37, 999]
    else:
        peer.set_timesteps(timesteps=kept[::-1])
        mine = DDPM(
            network,
            mine.diffusion.merged(kept).betas,
            (1, 4, 4),
            prediction,
            variance,
            times=torch.tensor(kept),
        )
        indices, times = range(len(kept)), kept
    module = __import__(type(peer).__module__, fromlist=["randn_tensor"])
    monkeypatch.setattr(module, "randn_tensor", lambda *arguments, **options: noise)
    monkeypatch.setattr(Fixed, "forward", lambda self, *arguments: answer)
    for index, time in zip(indices, times, strict=True):
        expected = peer.step(answer, time, x)
        got, guess = mine.step(x, at(index, 2), noise)
        torch.testing.assert_close(guess, expected.pred_original_sample, rtol=0, atol=1e-6)
        if variance == "learned" and (index == 0 or time < 2):
            continue  # they floor log(0) at 1e-20, we take the next entry of the table
        torch.testing.assert_close(got, expected.prev_sample, rtol=0, atol=1e-6)


# --- the contract --------------------------------------------------------------------------------------------------------


def small(**options) -> DDPM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return models.build("ddpm", **{"T": 12, **SMALL, **options})


def test_every_parameter_learns_and_half_precision_is_close():
    model = small(classes=3, variance="learned")
    with torch.no_grad():  # the last layers start at 0 and let nothing through
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=rng()))
    x, y = torch.rand(8, 1, 28, 28, generator=rng()), torch.arange(8) % 3
    loss = model.loss(x, y, generator=rng(1))
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        half = model.loss(x, y, generator=rng(1))
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(loss.item(), rel=0.03)


def test_same_generator_same_samples_and_the_global_one_stays():
    model = small(classes=3, variance="posterior", sample_steps=5)
    before = torch.random.get_rng_state()
    y = torch.tensor([0, 2, 1])
    first = model.sample(3, y, generator=rng(4), guidance=2.0)
    assert torch.equal(first, model.sample(3, y, generator=rng(4), guidance=2.0))
    assert first.shape == (3, 1, 28, 28)
    assert first.min() >= 0
    assert first.max() <= 1
    assert not torch.equal(first, model.sample(3, y, generator=rng(5), guidance=2.0))
    assert torch.equal(before, torch.random.get_rng_state())


def test_points_are_sampled_and_bounded():
    model = models.build("ddpm", image_shape=None, dim=3, width=16, depth=2, T=8, schedule="cosine")
    assert model.sample(5, generator=rng()).shape == (5, 3)
    assert model.elbo(draw(5, 3).float(), generator=rng()).shape == (5,)


def test_saved_and_loaded_model_is_the_same(tmp_path):
    plan = recipe("ddpm", "glyphs", "smoke", steps=2)
    data = TensorData(torch.rand(64, 1, 28, 28, generator=rng()), torch.arange(64) % 10)
    run = fit(build(plan), data, plan, progress=False)
    save_run(run, plan, tmp_path / "ddpm_glyphs.safetensors", "commit")
    model = models.load("ddpm_glyphs", tmp_path)
    state, _ = checkpoints.load(tmp_path / "ddpm_glyphs.safetensors")
    assert all(name.startswith("network.") for name in state)  # tables follow from the betas
    assert model.diffusion.alpha_bar.dtype == torch.float64
    y = torch.arange(4)
    got, kept = (m.sample(4, y, generator=rng(), steps=4) for m in (model, run.model))
    torch.testing.assert_close(got, kept, rtol=0, atol=0.02)  # weights were rounded to half precision


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prediction": "noise"}, "prediction"),
        ({"variance": "fixed"}, "variance"),
        ({"schedule": "sigmoid"}, "schedule"),
        ({"T": 1}, "T starts at 2"),
        ({"sample_steps": 13}, "sample_steps"),
        ({"label_dropout": 1.5}, "label_dropout"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_wrong_data_and_labels_are_refused():
    model = small(classes=3)
    x = torch.rand(2, 1, 28, 28)
    for wrong in (x[:, :, :8], x.mul(255).to(torch.uint8), 3 * x + 1, x[0]):
        with pytest.raises(ValueError, match="images"):
            model.loss(wrong)
    for y in (torch.tensor([0.0, 1.0]), torch.tensor([0]), torch.tensor([0, 4]), torch.tensor([-1, 0])):
        with pytest.raises(ValueError, match="labels"):
            model.loss(x, y)
    points = models.build("ddpm", image_shape=None, dim=2, width=8, T=4)
    with pytest.raises(ValueError, match="points"):
        points.loss(torch.zeros(4, 3))


@pytest.mark.equation("ddpm-simple", "ddpm-eps-score")
def test_training_approaches_the_loss_of_the_exact_score():
    toy = toy2d.GaussianModes("four", torch.tensor([[1.5, 0.0], [0.0, 1.5], [-1.5, 0.0], [0.0, -1.5]]), 0.3)
    plan = recipe("ddpm", "two_moons", "smoke", steps=500)
    data = toy(20_000, rng())
    run = fit(build(plan), data, plan, progress=False)
    covs = (0.09 * torch.eye(2)).expand(4, 2, 2)
    network = ExactEps(run.model.diffusion.alpha_bar, torch.full((4,), 0.25), toy.modes, covs)
    exact = DDPM(network, run.model.diffusion.betas, (2,), variance="posterior")
    best, reached = (model.loss(data, generator=rng(1)).item() for model in (exact, run.model))
    assert best - 0.01 < reached < 1.1 * best
    x = run.model.sample(1_000, generator=rng(), steps=25)
    share = torch.bincount(torch.cdist(x, toy.modes).argmin(1), minlength=4) / 1_000
    assert (share > 0.15).all()
    exact.variance = run.model.variance = "beta"
    log_density = toy.log_prob(data[:2_000]).mean().item()
    assert exact.elbo(data[:2_000].double(), generator=rng()).mean().item() == pytest.approx(
        log_density, abs=0.15
    )
    for t in (0, 1, 5, 20, 60):
        ours, best = (
            model.bound_terms(data[:4_000].to(dtype), at(t, 4_000), generator=rng(2)).mean().item()
            for model, dtype in ((run.model, torch.float32), (exact, torch.float32))
        )
        assert best - 0.01 < ours < best + 0.1


@pytest.mark.parametrize("chosen", RECIPES, ids=lambda plan: f"{plan.data}-{plan.tier}")
def test_every_recipe_builds(chosen):
    model = models.build("ddpm", **{**chosen.model, "T": 2, "sample_steps": None})
    size = sum(p.numel() for p in model.parameters())
    if (chosen.data, chosen.tier) == ("cifar10", "lab"):
        assert size == 35_746_307  # Ho et al. 2020: 35.7 million


@pytest.mark.parametrize("name", ["ddpm_choices", "ddpm_guidance", "ddpm_images"])
def test_experiments_run_in_smoke(name):
    arrays = importlib.import_module(f"course_lib.training.experiments.{name}").run("smoke")
    assert all(
        np.isfinite(values).all() for values in map(np.asarray, arrays.values()) if values.dtype.kind == "f"
    )


def test_evaluation_says_how_the_numbers_came_about():
    plan = recipe("ddpm", "glyphs", "smoke")
    model = small(classes=10, sample_steps=2, variance="posterior").eval()
    card = {"data": "glyphs", "recipe": {"data_options": {"n": 400}}}
    assert plan.data == card["data"]
    metrics = evaluate(model, card, n=200)
    assert metrics["evaluations"].value == 2
    assert metrics["elbo"].card["drawn_steps"] == 10
    assert metrics["elbo"].card["n"] == 200
    bits = -metrics["elbo"].value / (784 * math.log(2))
    assert metrics["bits_per_dim"].value == pytest.approx(bits)
    assert metrics["bits_per_dim"].unit == "bits/dim"


def test_a_model_trained_without_averaging_draws():
    plan = recipe("ddpm", "two_moons", "smoke", steps=2, ema_decay=None)
    model = fit(build(plan), toy2d.two_moons(600, rng()), plan, progress=False).model
    assert model.sample(3, generator=rng(), steps=4).shape == (3, 2)

"""Denoising diffusion GANs against quadrature, Gaussian conditioning, automatic differentiation and closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_lib import checkpoints, models
from course_lib.data import dataset
from course_lib.metrics import wasserstein1
from course_lib.models import ddgan
from course_lib.models.ddgan import DDGAN, true_denoising, vp_betas
from course_lib.models.gan import discriminator_loss, generator_loss
from course_lib.training import Recipe, build, fit, recipe, save_run
from course_lib.training.experiments import ddgan_ablations, ddgan_grid, ddgan_stacked
from course_lib.training.recipes.ddgan import RECIPES

WEIGHTS = torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64)
MEANS = torch.tensor([-2.0, 0.3, 2.0], dtype=torch.float64)
STDS = torch.tensor([0.25, 0.4, 0.1], dtype=torch.float64)
TINY = {
    "width": 8,
    "latent_dim": 4,
    "unet": {"multipliers": [1, 2], "blocks": 1, "attention": [], "style_dim": 8},
    "critic": {"multipliers": [1, 2], "time_dim": 8},
}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed))


def seeded(make, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def points(seed=0, **config):
    options = {"image_shape": None, "latent_dim": 3, "width": 16, "depth": 2, **config}
    return seeded(lambda: models.build("ddgan", **options), seed)


def shaken(model):
    """Some layers start at zero, and what lies behind them then has no effect."""
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=rng(parameter.numel()))
    return model


def normal(x, mean, variance):
    return torch.exp(-0.5 * (x - mean) ** 2 / variance) / (2 * math.pi * variance).sqrt()


def mixture(n, seed=0):
    which = torch.multinomial(WEIGHTS, n, replacement=True, generator=rng(seed))
    return MEANS[which] + STDS[which] * draw(n, seed=seed + 1).double()


class Known(nn.Module):
    """A discriminator in closed form: a quadratic of x_prev, a steep linear term of x_next, an offset for each t."""

    def __init__(self, dim=2):
        super().__init__()
        self.matrix = nn.Parameter(0.3 * draw(dim, dim, seed=5).double())
        self.offset = nn.Parameter(torch.arange(8.0, dtype=torch.float64))

    def forward(self, x_prev, x_next, t):
        quadratic = 0.5 * (x_prev @ self.matrix * x_prev).sum(1)
        return quadratic + 100 * x_next.sum(1) + self.offset[t]


class Constant(nn.Module):
    """A generator that always gives the same point."""

    def __init__(self, point):
        super().__init__()
        self.point = nn.Parameter(point)

    def forward(self, x, t, y=None, z=None):
        return self.point.expand(len(x), -1)


def constant(point, T=4, **options):
    point = torch.as_tensor(point, dtype=torch.float64)
    return DDGAN(Constant(point), Known(len(point)), vp_betas(T), 0, (len(point),), **options)


# --- the schedule ----------------------------------------------------------------------------------------------------------


@pytest.mark.equation("ddgan-vp-variance")
@pytest.mark.parametrize("T", [1, 2, 4, 8, 1000])
def test_every_schedule_is_cut_out_of_the_same_diffusion(T):
    """abar at t/T is exp of minus the integral of the rate beta(s) = 0.1 + 19.9 s, here by the midpoint rule."""
    cells = 20_000
    s = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    integral = torch.cumsum((0.1 + 19.9 * s) / cells, 0)
    index = (torch.arange(1, T + 1) * cells) // T - 1
    alpha_bar = torch.cumprod(1 - vp_betas(T), 0)
    torch.testing.assert_close(alpha_bar, torch.exp(-integral[index]), rtol=2e-9, atol=0)


@pytest.mark.equation("ddgan-vp-betas")
def test_betas_of_both_conventions():
    t = torch.arange(1, 5, dtype=torch.float64)
    printed = 1 - torch.exp(-0.1 / 4 - 0.5 * 19.9 * (2 * t - 1) / 16)
    torch.testing.assert_close(vp_betas(4), printed, rtol=1e-12, atol=0)
    released = torch.tensor([0.4782553, 0.8492060, 0.9564177, 0.9874039], dtype=torch.float64)
    torch.testing.assert_close(vp_betas(4, convention="released"), released, rtol=0, atol=5e-8)
    assert (vp_betas(4) - released).abs().max() > 1e-3
    assert vp_betas(4).dtype == torch.float64


def test_schedules_that_make_no_sense_are_refused():
    for bad in ({"T": 0}, {"T": 4, "beta_min": 3.0, "beta_max": 1.0}, {"T": 4, "convention": "mine"}):
        with pytest.raises(ValueError, match="expected"):
            vp_betas(**bad)


# --- the oracle: the true denoising law ----------------------------------------------------------------------------------------


@pytest.mark.equation("ddgan-true-denoising", "ddgan-merged-step")
@pytest.mark.parametrize(("start", "end"), [(1, 0), (2, 1), (3, 0), (3, 1), (4, 3), (4, 0)])
def test_true_denoising_law_by_quadrature(start, end):
    """q(x_s | x_t) = integral of q(x_s | x_t, x_0) q(x_0 | x_t), and q(x_0 | x_t) itself by Bayes' rule."""
    levels = F.pad(torch.cumprod(1 - vp_betas(4), 0), (1, 0), value=1.0)
    x_t = torch.tensor([-1.1, 0.2, 0.9], dtype=torch.float64)
    x_s = torch.linspace(-4, 4, 401, dtype=torch.float64)
    law = true_denoising(x_t, levels[start], levels[end], WEIGHTS, MEANS, STDS)
    found = law.log_prob(x_s.unsqueeze(1)).exp()  # (401, 3)
    x0 = torch.linspace(-4, 4, 8001, dtype=torch.float64)
    prior = (WEIGHTS[:, None] * normal(x0, MEANS[:, None], STDS[:, None] ** 2)).sum(0)
    noise = 1 - levels[start] / levels[end]  # of the merged step from s to t
    for i, x in enumerate(x_t):
        posterior = prior * normal(x, levels[start].sqrt() * x0, 1 - levels[start])
        posterior /= torch.trapezoid(posterior, x0)
        if end == 0:
            expected = posterior[::20]  # the points of x_s among those of x_0
        else:
            forward = normal(x, (levels[start] / levels[end]).sqrt() * x_s[:, None], noise)
            joint = forward * normal(x_s[:, None], levels[end].sqrt() * x0, 1 - levels[end]) * prior
            expected = torch.trapezoid(joint, x0)
            expected = expected / torch.trapezoid(expected, x_s)
        torch.testing.assert_close(found[:, i], expected, rtol=0, atol=2e-4)
        torch.testing.assert_close(torch.trapezoid(found[:, i], x_s).item(), 1.0, rtol=0, atol=2e-4)


@pytest.mark.equation("ddgan-true-denoising")
def test_one_gaussian_has_a_gaussian_denoising_law():
    """The general formula against the two-dimensional Gaussian of (x_s, x_t), conditioned by hand."""
    high, low, mean, std = 0.3, 0.7, 0.4, 0.6
    x = torch.tensor([-1.0, 2.0], dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    law = true_denoising(x, high, low, one, mean * one, std * one)
    variance_s = low * std**2 + 1 - low
    covariance = math.sqrt(high / low) * variance_s
    variance_t = high * std**2 + 1 - high
    expected = math.sqrt(low) * mean + covariance / variance_t * (x - math.sqrt(high) * mean)
    torch.testing.assert_close(law.mean, expected)
    torch.testing.assert_close(law.variance, torch.full_like(x, variance_s - covariance**2 / variance_t))


@pytest.mark.equation("ddgan-chain")
def test_true_steps_lead_from_noise_to_the_data():
    """Sampling the exact laws one after the other ends in the data's law, however large the steps are."""
    n, levels = 20_000, F.pad(torch.cumprod(1 - vp_betas(4), 0), (1, 0), value=1.0)
    x = draw(n, seed=3).double()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for t in range(4, 0, -1):
            x = true_denoising(x, levels[t], levels[t - 1], WEIGHTS, MEANS, STDS).sample()
    floor = wasserstein1(mixture(n, 7), mixture(n, 11))
    assert wasserstein1(x, mixture(n, 7)) < 3 * floor + 0.01


@pytest.mark.equation("ddgan-best-gaussian")
def test_best_gaussian_has_the_moments_of_the_law():
    """No Gaussian has a smaller KL from the true law than that with its mean and variance: by quadrature."""
    levels = F.pad(torch.cumprod(1 - vp_betas(2), 0), (1, 0), value=1.0)
    law = true_denoising(torch.tensor([0.5]).double(), levels[2], levels[1], WEIGHTS, MEANS, STDS)
    x = torch.linspace(-5, 5, 4001, dtype=torch.float64)
    log_p = law.log_prob(x)

    def kl(mean, variance):
        return torch.trapezoid(log_p.exp() * (log_p - normal(x, mean, variance).log()), x)

    best = kl(law.mean, law.variance)
    for dm, dv in ((0.05, 1), (-0.05, 1), (0, 1.1), (0, 0.9), (0.1, 1.3)):
        assert kl(law.mean + dm, law.variance * dv) > best


def test_levels_out_of_order_are_refused():
    with pytest.raises(ValueError, match="levels must rise"):
        true_denoising(torch.zeros(1), 0.5, 0.5, WEIGHTS, MEANS, STDS)


# --- the forward process and a step back ------------------------------------------------------------------------------------


@pytest.mark.equation("ddgan-forward", "ddgan-pairs")
def test_pairs_have_the_joint_law_of_neighbours():
    """Means and covariance of (x_t, x_{t+1}) given x_0, from the definition x_{t+1} = sqrt(1 - beta) x_t + sqrt(beta) eps."""
    model, n = points(dim=1), 200_000
    betas = vp_betas(4)
    alpha_bar = F.pad(torch.cumprod(1 - betas, 0), (1, 0), value=1.0)
    for t in range(4):
        x0 = torch.full((n, 1), 0.7, dtype=torch.float64)
        x_prev, x_next = model.pair(x0, torch.full((n,), t), rng(t))
        both = torch.cat([x_prev, x_next], 1)
        signal = alpha_bar[t : t + 2].sqrt() * 0.7
        error = 5 / n**0.5  # five standard errors of a mean or variance of order 1
        torch.testing.assert_close(both.mean(0), signal, rtol=0, atol=error)
        noise = 1 - alpha_bar[t]
        covariance = (1 - betas[t]).sqrt() * noise
        expected = torch.tensor([[noise, covariance], [covariance, 1 - alpha_bar[t + 1]]]).double()
        torch.testing.assert_close(both.T.cov(), expected, rtol=0, atol=2 * error)
    torch.testing.assert_close(model.noised(x0, 0, rng()), x0)


@pytest.mark.equation("ddgan-implicit")
@pytest.mark.parametrize("t", [1, 2, 3])
def test_step_draws_from_the_posterior_of_the_guess(t):
    """With the guess held fixed, x_prev follows the Gaussian that brute-force conditioning of (x_t, x_{t+1}) gives."""
    n, guess, seen = 200_000, 0.8, -0.6
    model = constant([guess])
    x_next = torch.full((n, 1), seen, dtype=torch.float64)
    x_prev, x0 = model.denoise(x_next, torch.full((n,), t), rng(t))
    assert (x0 == guess).all()
    betas = vp_betas(4)
    before = torch.cumprod(1 - betas, 0)[t - 1]
    prior = 1 - before  # variance of x_t given x_0
    root = (1 - betas[t]).sqrt()
    total = root**2 * prior + betas[t]
    mean = before.sqrt() * guess + root * prior / total * (seen - root * before.sqrt() * guess)
    variance = prior - (root * prior) ** 2 / total
    error = 5 * variance.sqrt() / n**0.5
    torch.testing.assert_close(x_prev.mean(), mean, rtol=0, atol=error.item())
    torch.testing.assert_close(x_prev.var(), variance, rtol=5 * (2 / n) ** 0.5, atol=0)


@pytest.mark.equation("ddgan-sampler")
def test_last_step_returns_the_guess_and_adds_no_noise():
    model = constant([0.3, -0.2])
    path = model.reverse(draw(6, 2).double(), 4, rng())
    assert len(path) == 4
    torch.testing.assert_close(path[-1][0], path[-1][1], rtol=0, atol=0)
    assert (path[-2][0] - path[-2][1]).abs().min() > 0
    torch.testing.assert_close(model.sample(3, generator=rng()), torch.tensor([[0.3, -0.2]] * 3).double())


def test_reverse_starts_at_any_level_and_only_there():
    model = points()
    assert len(model.reverse(draw(3, 2), 2, rng())) == 2
    for level in (0, 5):
        with pytest.raises(ValueError, match=r"level must lie in 1 \.\. 4"):
            model.reverse(draw(3, 2), level)


class Noise(nn.Module):
    """Knows x_0 = 0.4 and gives the noise in x_t, or x_{t-1} itself: a number."""

    def __init__(self, diffusion=None):
        super().__init__()
        self.diffusion, self.weight = diffusion, nn.Parameter(torch.zeros(()).double())

    def forward(self, x, t, y=None, z=None):
        return self.diffusion.eps_from_x0(x, t, torch.full_like(x, 0.4)) if self.diffusion else 2 * x


def test_noise_and_direct_predictions():
    model = DDGAN(Noise(), Known(1), vp_betas(4), 0, (1,), prediction="noise")
    model.generator.diffusion = model.diffusion
    x, t = draw(8, 1).double(), torch.arange(4).repeat(2)
    torch.testing.assert_close(model.denoise(x, t, rng())[1], torch.full_like(x, 0.4))
    direct = DDGAN(Noise(), Known(1), vp_betas(4), 0, (1,), prediction="direct")
    torch.testing.assert_close(direct.denoise(x, t, rng())[0], 2 * x)
    with pytest.raises(ValueError, match="expected one of x0, direct, noise"):
        DDGAN(Noise(), Known(1), vp_betas(4), 0, (1,), prediction="v")


# --- the game ----------------------------------------------------------------------------------------------------------------


@pytest.mark.equation("ddgan-discriminator", "ddgan-generator")
def test_losses_by_algorithm_1():
    """The same t, x_next and fake in both phases; the generator meets the discriminator as its own step has left it."""
    model = constant([0.3, -0.2], gamma=0.0)
    x = draw(64, 2, seed=2).double()
    steps = model.training_step(x, generator=rng(4))
    group, loss = next(steps)
    assert group == "discriminator"

    random = rng(4)  # the same draws in the same order
    t = torch.randint(4, (64,), generator=random)
    real, x_next = model.pair(x, t, random)
    fake, _ = model.denoise(x_next, t, random)
    D_real, D_fake = (torch.sigmoid(model.discriminator(v, x_next, t)) for v in (real, fake))
    # logits of order 100: the logarithms of sigmoids lose digits, so compare where D is neither 0 nor 1 to rounding
    expected = F.softplus(-model.discriminator(real, x_next, t)) + F.softplus(
        model.discriminator(fake, x_next, t)
    )
    inner = ((D_real > 1e-9) & (1 - D_real > 1e-9) & (D_fake > 1e-9) & (1 - D_fake > 1e-9)).nonzero()
    assert len(inner) > 3
    by_hand = -D_real.log() - (1 - D_fake).log()  # equation 6.3
    torch.testing.assert_close(expected[inner], by_hand[inner])
    torch.testing.assert_close(loss, expected.mean())
    gradients = torch.autograd.grad(loss, list(model.generator.parameters()), allow_unused=True)
    assert gradients == (None,)  # the fake is detached

    with torch.no_grad():
        model.discriminator.offset += 0.7
    group, loss = next(steps)
    assert group == "generator"
    after = torch.sigmoid(model.discriminator(fake, x_next, t))
    by_hand = F.softplus(-model.discriminator(fake, x_next, t))
    torch.testing.assert_close(by_hand[inner], -after.log()[inner])  # equation 6.5
    torch.testing.assert_close(loss, by_hand.mean())
    assert torch.autograd.grad(loss, model.generator.point)[0].abs().min() > 0
    assert next(steps, None) is None


@pytest.mark.equation("ddgan-softened")
def test_non_saturating_generator_descends_a_softened_reverse_kl():
    """Gradient of E_p[-log D*] with D* held fixed = gradient of 2 KL((p + q)/2 || q), on a family on the line."""
    x = torch.linspace(-9, 9, 4001, dtype=torch.float64)
    q = 0.6 * normal(x, torch.tensor(-1.0), torch.tensor(0.5)) + 0.4 * normal(
        x, torch.tensor(1.5), torch.tensor(0.3)
    )
    theta = torch.tensor([0.2, 0.4], dtype=torch.float64, requires_grad=True)
    p = normal(x, theta[0], theta[1].exp())
    D = (q / (q + p)).detach()
    game = torch.trapezoid(-p * D.log(), x)
    m = (p + q) / 2
    divergence = 2 * torch.trapezoid(m * (m / q).log(), x)
    first, second = (torch.autograd.grad(v, theta, retain_graph=True)[0] for v in (game, divergence))
    torch.testing.assert_close(first, second, rtol=1e-8, atol=1e-10)


@pytest.mark.equation("ddgan-r1")
def test_r1_is_the_slope_in_x_prev_at_real_pairs():
    """||grad||^2 of a quadratic is known, and the discriminator's steep dependence on x_next must not enter."""
    x = draw(64, 2, seed=2).double()
    plain, penalised = (constant([0.0, 0.0], gamma=gamma, r1_every=15) for gamma in (0.0, 0.4))
    without, with_ = (next(m.training_step(x, generator=rng(4)))[1] for m in (plain, penalised))
    random = rng(4)
    t = torch.randint(4, (64,), generator=random)
    real, _ = plain.pair(x, t, random)
    A = plain.discriminator.matrix
    gradient = real @ (A + A.T) / 2
    torch.testing.assert_close(with_ - without, 15 * 0.4 / 2 * gradient.square().sum(1).mean())
    penalised.step = 1
    torch.testing.assert_close(next(penalised.training_step(x, generator=rng(4)))[1], without)
    penalised.step = 30
    torch.testing.assert_close(next(penalised.training_step(x, generator=rng(4)))[1], with_)


def test_r1_keeps_full_precision_under_autocast():
    model = shaken(seeded(lambda: models.build("ddgan", **TINY, gamma=1.0, r1_every=1)))
    x = torch.rand(16, 1, 28, 28, generator=rng())

    def penalty():
        with_r1 = next(model.training_step(x, generator=rng(1)))[1]
        model.gamma = 0.0
        without = next(model.training_step(x, generator=rng(1)))[1]
        model.gamma = 1.0
        return (with_r1 - without).item()

    full = penalty()
    with torch.autocast("cpu", torch.bfloat16):
        half = penalty()
    assert full > 1e-3
    assert half == pytest.approx(full, rel=1e-3)


def test_one_step_is_a_plain_gan():
    """T = 1: x_1 is noise, the fake is the generator's output itself, and the losses are the plain game's."""
    model = points(T=1, gamma=0.0)
    assert model.diffusion.alpha_bar[0] < 5e-5
    x = draw(32, 2, seed=2)
    steps = model.training_step(x, generator=rng(4))
    loss = next(steps)[1]
    random = rng(4)
    t = torch.randint(1, (32,), generator=random)
    x_prev, x_next = model.pair(x, t, random)
    torch.testing.assert_close(x_prev, x)
    z = torch.randn(32, 3, generator=random)
    fake = model.generator(x_next, t, z=z)

    def judge(v):
        return model.discriminator(v, x_next, t)

    torch.testing.assert_close(loss, discriminator_loss(judge(x), judge(fake)))
    torch.testing.assert_close(next(steps)[1], generator_loss(judge(fake)))
    assert model.n_evaluations == 1


def test_monitors_tell_the_steps_apart():
    model = constant([0.3, -0.2], T=8, gamma=0.0)
    x = draw(2_000, 2, seed=2).double()
    loss = next(model.training_step(x, generator=rng(4)))[1]
    losses = torch.stack([model.monitors[f"loss_{k}"] for k in range(1, 9)])
    t = torch.randint(8, (2_000,), generator=rng(4))
    share = torch.bincount(t, minlength=8) / 2_000
    torch.testing.assert_close((share * losses).sum().double(), loss.detach(), rtol=1e-4, atol=0)
    next(model.training_step(x[:1], generator=rng(4)))
    assert sum(bool(model.monitors[f"loss_{k}"].isnan()) for k in range(1, 9)) == 7


# --- the model as a whole ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_learned_denoising_law_is_near_the_true_one():
    """Two modes, T = 4: from x_2 between them both are drawn, and W_1 is below 0.6 of what the best Gaussian leaves."""
    weights, means, stds = (
        torch.tensor(v, dtype=torch.float64) for v in ([0.4, 0.6], [-4.0, 4.0], [0.8, 0.8])
    )
    which = torch.multinomial(weights, 20_000, replacement=True, generator=rng())
    data = (means[which] + stds[which] * draw(20_000, seed=1).double()).float().unsqueeze(1)
    config = {"image_shape": None, "dim": 1, "T": 4, "latent_dim": 2, "width": 64, "discriminator_width": 128}
    plan = Recipe(
        "ddgan", "line", "smoke", steps=900, batch_size=128, lr=2e-3, groups={"generator": {"lr": 1e-3}},
        model={**config, "gamma": 0.03, "r1_every": 1}, optimizer_options={"betas": [0.5, 0.99]},
        schedule="cosine", ema_decay=0.99,
    )  # fmt: skip
    model = fit(build(plan), data, plan, progress=False).model
    n, noisy = 2_000, torch.tensor([0.0, 0.2], dtype=torch.float64)
    levels = model.diffusion.alpha_bar
    law = true_denoising(noisy, levels[1], levels[0], weights, means, stds)
    grid = torch.linspace(-10, 10, 4001, dtype=torch.float64)
    cdf = law.cdf(grid.unsqueeze(1))  # (4001, 2)
    gaussian = 0.5 * (1 + torch.erf((grid.unsqueeze(1) - law.mean) / (2 * law.variance).sqrt()))
    for i, x in enumerate(noisy):
        drawn, _ = model.denoise(torch.full((n, 1), x.item()), torch.ones(n, dtype=torch.int64), rng(i))
        drawn = drawn.detach()[:, 0].double().sort().values
        empirical = torch.searchsorted(drawn, grid) / n
        learned, best = (torch.trapezoid((v - cdf[:, i]).abs(), grid) for v in (empirical, gaussian[:, i]))
        assert learned < 0.6 * best
        assert min((drawn < 0).double().mean(), (drawn > 0).double().mean()) > 0.1


def test_a_guess_without_a_code_is_a_function_of_the_noisy_point():
    with_code, without = points(), points(latent_dim=0)
    x = draw(1, 2).expand(50, 2)
    t = torch.zeros(50, dtype=torch.int64)
    assert with_code.denoise(x, t, rng())[1].std(0).min() > 1e-3
    assert without.denoise(x, t, rng())[1].std(0).max() < 1e-6


@pytest.mark.parametrize("config", [TINY, {"image_shape": None, "width": 16, "latent_dim": 3}])
def test_shapes_ranges_and_repetition(config):
    model = shaken(seeded(lambda: models.build("ddgan", **config))).eval()
    samples = model.sample(5, generator=rng())
    shape = (1, 28, 28) if config is TINY else (2,)
    assert samples.shape == (5, *shape)
    torch.testing.assert_close(model.sample(5, generator=rng()), samples, rtol=0, atol=0)
    assert not torch.equal(model.sample(5, generator=rng(1)), samples)
    if config is TINY:
        assert 0 <= samples.min() <= samples.max() <= 1
    before = torch.random.get_rng_state()
    model.sample(2, generator=rng())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert model.n_evaluations == 4


def test_edit_starts_from_the_given_image():
    """At the lowest level the noisy image keeps most of the given one; a generator that returns its input shows it."""
    model = seeded(lambda: models.build("ddgan", **TINY))
    model.generator = Same()
    x = torch.rand(50, 1, 28, 28, generator=rng())
    near = model.edit(x, 1, generator=rng(1))
    expected = torch.tanh(model.noised(2 * x - 1, 1, rng(1))) / 2 + 0.5
    torch.testing.assert_close(near, expected)


class Same(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x, t, y=None, z=None):
        return self.weight * x


@pytest.mark.parametrize("config", [TINY, {"image_shape": None, "width": 16, "latent_dim": 3}])
def test_gradient_reaches_every_weight(config):
    model = shaken(seeded(lambda: models.build("ddgan", **config)))
    x = torch.rand(16, 1, 28, 28, generator=rng()) if config is TINY else draw(16, 2)
    groups = {name: list(parameters) for name, parameters in model.parameter_groups().items()}
    for name, loss in model.training_step(x, generator=rng()):
        for gradient in torch.autograd.grad(loss, groups[name]):
            assert gradient.abs().max() > 0
    assert sum(len(g) for g in groups.values()) == len(list(model.parameters()))


def test_wrong_data_are_refused():
    model = models.build("ddgan", **TINY)
    for bad, why in (
        (torch.zeros(4, 1, 28, 28, dtype=torch.uint8), "divide integers"),
        (torch.full((4, 1, 28, 28), 2.0), "must lie in"),
        (torch.rand(4, 784), "expected images"),
        (torch.rand(4, 1, 14, 14), "expected images"),
    ):
        with pytest.raises(ValueError, match=why):
            next(model.training_step(bad))
    with pytest.raises(ValueError, match="expected float points"):
        next(points().training_step(torch.zeros(4, 3)))
    with pytest.raises(ValueError, match="cannot be built"):
        models.build("ddgan", steps=4)


def test_who_lost_is_named():
    model = models.build("ddgan", image_shape=None, width=8)
    assert "raise gamma" in model.likely_cause({"discriminator_accuracy": 0.99})


def test_a_saved_model_draws_the_same_samples(tmp_path):
    plan = recipe("ddgan", "glyphs", "smoke", steps=3, batch_size=16, model=TINY)
    run = fit(build(plan), dataset("glyphs", n=100), plan, progress=False)
    assert {f"loss_{k}" for k in range(1, 5)} <= set(run.monitors)
    save_run(run, plan, tmp_path / "ddgan_glyphs.safetensors", checkpoints.commit())
    again = models.load("ddgan_glyphs", tmp_path)
    ours, theirs = (m.sample(5, generator=rng()) for m in (run.model, again))
    torch.testing.assert_close(theirs, ours, rtol=0, atol=5e-3)  # half precision on disk


def test_recipes_name_networks_that_can_be_built():
    assert {(r.data, r.tier) for r in RECIPES} >= {
        ("glyphs", "smoke"), ("grid25", "lab"), ("glyphs", "laptop"), ("mnist", "laptop"),
        ("fashion_mnist", "laptop"), ("mnist", "lab"), ("fashion_mnist", "lab"), ("cifar10", "lab"),
    }  # fmt: skip
    for plan in RECIPES:
        ddgan.build(**plan.model)
    thesis = recipe("ddgan", "cifar10", "lab")
    assert thesis.model["unet"]["mapping_layers"] == 3
    assert (thesis.steps, thesis.batch_size, thesis.ema_decay) == (400_000, 128, 0.9999)  # table 6.8


@pytest.mark.slow
def test_experiments_run_in_smoke():
    grid = ddgan_grid.run("smoke")
    assert list(grid["evaluations"]) == [4, 4, 1, 1, 100, 500]
    assert grid["samples"].shape == (6, 2_500, 2)
    assert (grid["w1"] > grid["floor"][2]).all()
    ablations = ddgan_ablations.run("smoke")
    assert ablations["modes"].shape == ablations["w1"].shape == (8, 1)
    assert len({tuple(row[0]) for row in ablations["samples"]}) == 8  # every variant is another sampler
    stacked = ddgan_stacked.run("smoke")
    assert stacked["loss"].shape == stacked["accuracy"].shape == (4, 1)
    assert 0 < stacked["modes"] <= 100
    assert stacked["kl"] > stacked["data_kl"] > 0


def test_augmented_game_hides_how_clean_a_point_is():
    """The ablation's discriminator sees data at the levels 0..3 of the diffusion, and nothing of their level."""
    plain = points(T=1, width=8)
    model = ddgan_ablations.Augmented(plain.generator, Seen(), vp_betas(1), 3, (2,))
    steps = model.training_step(torch.full((40_000, 2), 2.0), generator=rng())
    next(steps)
    real = model.discriminator.first.double()
    alpha_bar = F.pad(torch.cumprod(1 - vp_betas(4), 0), (1, 0), value=1.0)[:-1]
    second_moment = (4 * alpha_bar + 1 - alpha_bar).mean()
    assert real.square().mean().item() == pytest.approx(second_moment.item(), abs=5 * 2 / 80_000**0.5)
    assert (real == 2).all(1).double().mean().item() == pytest.approx(0.25, abs=5 * 0.43 / 40_000**0.5)


class Seen(nn.Module):
    """A discriminator that remembers what it was shown first."""

    def __init__(self):
        super().__init__()
        self.weight, self.first = nn.Parameter(torch.ones(())), None

    def forward(self, x_prev, x_next, t):
        assert (x_next == 0).all()
        self.first = x_prev if self.first is None else self.first
        return self.weight * x_prev.sum(1)

"""The variational autoencoder against closed forms, quadrature, torch.distributions and pythae."""

import math

import pytest
import torch
import torch.distributions as D
import torch.nn.functional as F
from torch import nn

from course_lib.data import dataset
from course_lib.distributions import gaussian_kl
from course_lib.models.gradient_estimators import path_gradient, score_gradient
from course_lib.models.likelihoods import LIKELIHOODS, build_likelihood
from course_lib.models.linear_vae import LinearVAE
from course_lib.models.ppca import ProbabilisticPCA
from course_lib.models.vae import VAE, Autoencoder, build, code_plane, importance_bound, reparametrise
from course_lib.training.experiments import vae_bound

SHAPE = (1, 8, 8)
LIKELIHOOD_OPTIONS = {
    "gaussian": {"s": 0.3, "learn_s": True},
    "bernoulli": {},
    "categorical": {"levels": 17},
    "discretized_logistic": {"levels": 17},
}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def small_vae(likelihood="bernoulli", seed=0, **config):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = {"image_shape": SHAPE, "latent_dim": 3, "hidden": (16,), **config}
        return build(likelihood=likelihood, **config, **LIKELIHOOD_OPTIONS[likelihood])


def levels(n=6, k=17, seed=1):
    """Random images on k grey levels; a binary likelihood reads them as probabilities."""
    return torch.randint(0, k, (n, *SHAPE), generator=rng(seed)) / (k - 1)


def within(estimates, exact, sigmas=4.5):
    """The mean over the first dimension is `exact` up to its own Monte Carlo error."""
    error = estimates.mean(0) - exact
    bar = sigmas * estimates.std(0) / math.sqrt(len(estimates)) + 1e-9
    assert (error.abs() < bar).all(), f"off by {error.abs().max():.3g}, allowed {bar.max():.3g}"


@pytest.fixture(scope="module")
def digits():
    return dataset("digits").x.double()


@pytest.fixture(scope="module")
def oracle(digits):
    """A linear VAE with pPCA's maximum-likelihood decoder turned away from its axes, encoders solved."""

    def make(covariance):
        model = LinearVAE(SHAPE, 4, covariance).double()
        model.model.initialise(digits)
        model.rotate(torch.linalg.qr(torch.randn(4, 4, generator=rng(), dtype=torch.float64))[0])
        return model.solve_encoder()

    return make


# --- the objective ---------------------------------------------------------------------------------------------------


@pytest.mark.equation("vae-reparametrisation")
def test_reparametrised_codes_have_the_encoder_s_law():
    mu, log_var = torch.tensor([[1.0, -2.0]]).double(), torch.tensor([[-1.0, 0.7]]).double()
    z = reparametrise(mu, log_var, torch.randn(200_000, 1, 2, generator=rng(), dtype=torch.float64))[:, 0]
    within(z, mu[0])
    within((z - mu[0]).square(), log_var[0].exp())


@pytest.mark.equation("vae-marginal", "vae-posterior", "vae-jensen", "vae-identity", "vae-elbo")
def test_gap_is_the_kl_to_the_posterior_on_a_non_linear_decoder():
    """One latent dimension: log p(x), the posterior and both sides of the identity by quadrature."""
    model = small_vae(latent_dim=1).double()
    x = levels(4, 2).double()
    z = torch.linspace(-12, 12, 8001, dtype=torch.float64)
    codes = z.view(-1, 1, 1).expand(-1, len(x), 1)
    with torch.no_grad():
        log_joint = model.log_px(x, codes) + D.Normal(0, 1).log_prob(z)[:, None]  # (Z, B)
        mu, log_var = model.encode(x)
    log_px = torch.log(torch.trapezoid(log_joint.exp(), z, dim=0))
    q = D.Normal(mu.T, (0.5 * log_var.T).exp())
    log_q = q.log_prob(z[:, None])
    elbo = torch.trapezoid(log_q.exp() * (log_joint - log_q), z, dim=0)
    kl_to_posterior = torch.trapezoid(log_q.exp() * (log_q - (log_joint - log_px)), z, dim=0)
    torch.testing.assert_close(elbo + kl_to_posterior, log_px, rtol=1e-9, atol=0)
    assert (elbo < log_px).all()
    with torch.no_grad():
        estimates = torch.stack([model.elbo(x, generator=rng(i)) for i in range(2000)])
    within(estimates, elbo)


@pytest.mark.equation("vae-elbo", "vae-elbo-kl", "vae-kl-estimator", "vae-loss")
def test_elbo_and_loss_estimate_the_exact_elbo_of_the_linear_model(digits, oracle):
    """The same affine networks in the deep class: its Monte Carlo estimates average to the closed form."""
    linear = oracle("diagonal")
    with torch.no_grad():  # away from the optimum, so that the estimates have a spread
        linear.encoder[1].weight.mul_(0.8)
        linear.log_scale.add_(0.1)
    s = linear.model.noise_var.sqrt().item()
    deep = VAE(SHAPE, 4, hidden=(), likelihood="gaussian", s=s).double()
    state = {
        "encoder.1.0.weight": torch.cat([linear.encoder[1].weight, torch.zeros(4, 64)]),
        "encoder.1.0.bias": torch.cat([linear.encoder[1].bias, 2 * linear.log_scale]),
        "decoder.0.0.weight": linear.model.weight,
        "decoder.0.0.bias": linear.model.mean,
        "likelihood.log_s": 0.5 * linear.model.log_noise_var,
    }
    deep.load_state_dict(state)
    x = digits[:8]
    with torch.no_grad():
        exact = linear.elbo(x)
        for closed_form in (True, False):
            estimates = [deep.elbo(x, closed_form_kl=closed_form, generator=rng(i)) for i in range(3000)]
            within(torch.stack(estimates), exact)
        within(torch.stack([-deep.loss(x, generator=rng(i)) for i in range(3000)]), exact.mean())
        within(torch.stack([-linear.loss(x, generator=rng(i)) for i in range(3000)]), exact.mean())


def test_kl_weight_multiplies_the_kl_alone():
    x = levels(8, 2)
    losses = []
    for beta in (0.0, 1.0, 3.0):
        model = small_vae(beta=beta)
        losses.append(model.loss(x, generator=rng()).item())
    kl = gaussian_kl(*small_vae().encode(x)).mean().item()
    assert losses[1] - losses[0] == pytest.approx(kl, rel=1e-4)
    assert losses[2] - losses[0] == pytest.approx(3 * kl, rel=1e-4)


def test_autoencoder_loss_has_no_noise_and_no_kl():
    config = {"image_shape": SHAPE, "latent_dim": 2, "hidden": (16,), "likelihood": "gaussian", "s": 1.0}
    model = Autoencoder(**config)
    x = levels()
    squared = (model.reconstruct(x) - x).square().sum((1, 2, 3))
    expected = (0.5 * squared + 32 * math.log(2 * math.pi)).mean()
    assert model.loss(x).item() == pytest.approx(expected.item(), rel=1e-5)


# --- the importance-weighted bound -------------------------------------------------------------------------------------


@pytest.mark.equation("vae-iwae")
def test_importance_bound_is_the_log_of_the_mean_weight():
    log_w = torch.randn(7, 5, generator=rng(), dtype=torch.float64)
    torch.testing.assert_close(importance_bound(log_w), log_w.exp().mean(0).log(), rtol=1e-12, atol=1e-12)
    assert torch.isfinite(importance_bound(log_w - 5000)).all()


@pytest.mark.equation("vae-iwae", "vae-iwae-order")
def test_iwae_rises_with_k_to_the_exact_log_likelihood(digits, oracle):
    linear = oracle("diagonal")
    with torch.no_grad():
        linear.log_scale.sub_(0.2)
    x = digits[:50]
    log_w = linear.log_weights(x, 4000, generator=rng())
    exact = linear.log_prob(x).detach()
    bounds = [importance_bound(log_w.view(k, -1, 50)).mean(0) for k in (1, 4, 20, 100, 4000)]
    gaps = torch.stack([(exact - b).mean() for b in bounds])
    assert (gaps.diff() < 0).all()
    within(log_w, linear.elbo(x).detach())  # k = 1 is the ELBO
    assert abs(gaps[-1]) < 0.02 < gaps[0]


def test_iwae_reaches_the_quadrature_on_a_non_linear_decoder():
    model = small_vae(latent_dim=1).double()
    x = levels(4, 2).double()
    z = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    with torch.no_grad():
        log_joint = model.log_px(x, z.view(-1, 1, 1).expand(-1, 4, 1)) + D.Normal(0, 1).log_prob(z)[:, None]
    exact = torch.trapezoid(log_joint.exp(), z, dim=0).log()
    torch.testing.assert_close(model.iwae(x, 20_000, generator=rng(), chunk=5000), exact, rtol=0, atol=0.02)


def test_iwae_chunks_only_save_memory():
    model, x = small_vae(), levels(3, 2)
    whole, pieces = (model.iwae(x, 5000, generator=rng(3), chunk=chunk) for chunk in (5000, 77))
    torch.testing.assert_close(whole, pieces, rtol=0, atol=0.1)
    torch.testing.assert_close(
        model.iwae(x, 1, generator=rng(3)),
        model.elbo(x, closed_form_kl=False, generator=rng(3)).detach(),
        rtol=0,
        atol=1e-4,
    )


def test_iwae_objective_is_the_bound_of_its_own_codes():
    model, x = small_vae(importance_samples=5), levels(6, 2)
    mu, log_var = model.encode(x)
    z = reparametrise(mu, log_var, torch.randn(5, 6, 3, generator=rng(4)))
    expected = -model.log_weights(x, z, mu, log_var).exp().mean(0).log().mean()
    torch.testing.assert_close(model.loss(x, generator=rng(4)), expected, rtol=1e-5, atol=0)


# --- the two gradients ---------------------------------------------------------------------------------------------------


@pytest.mark.equation("vae-path-gradient", "vae-score-gradient")
def test_both_gradient_estimators_average_to_the_exact_gradient():
    """f = log p(x, z) - log q(z) with p(x|z) = N(x; a z, s^2): the ELBO is a polynomial of mu and sigma^2."""
    a, s, x = 1.5, 0.7, 2.0
    mu, log_var = torch.tensor([[0.3]]).double(), torch.tensor([[-0.5]]).double()

    def f(z, mu, log_var):
        log_p = D.Normal(a * z, s).log_prob(torch.tensor(x)) + D.Normal(0.0, 1.0).log_prob(z)
        return (log_p - D.Normal(mu, (0.5 * log_var).exp()).log_prob(z))[..., 0]

    var = log_var.exp()
    exact_mu = a * (x - a * mu) / s**2 - mu
    exact_log_var = 0.5 - 0.5 * var * (1 + a**2 / s**2)
    noise = torch.randn(200_000, 1, 1, generator=rng(), dtype=torch.float64)
    spread = {}
    for name, (g_mu, g_log_var) in {
        "path": path_gradient(f, mu, log_var, noise),
        "score": score_gradient(f, mu, log_var, noise),
        "baseline": score_gradient(f, mu, log_var, noise, baseline=True),
    }.items():
        within(g_mu, exact_mu)
        within(g_log_var, exact_log_var)
        spread[name] = g_mu.var().item()
    assert spread["path"] < spread["baseline"] < spread["score"]


# --- the oracle: probabilistic PCA ----------------------------------------------------------------------------------------


@pytest.mark.equation("vae-identity", "vae-linear-elbo")
@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_linear_gap_is_the_kl_to_the_posterior_for_any_encoder(digits, covariance):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LinearVAE(SHAPE, 4, covariance).double()
        nn.init.normal_(model.model.weight, std=0.3)
        nn.init.normal_(model.log_scale, std=0.3)
        nn.init.normal_(model.lower, std=0.3 if covariance == "full" else 0.0)
    x = digits[:20]
    mu, cov = model.encode(x)
    posterior_mean, posterior_cov = model.model.encode(x)
    kl = D.kl_divergence(
        D.MultivariateNormal(mu, cov.expand(20, 4, 4)),
        D.MultivariateNormal(posterior_mean, posterior_cov.expand(20, 4, 4)),
    )
    torch.testing.assert_close(model.log_prob(x) - model.elbo(x), kl, rtol=1e-8, atol=1e-8)
    reference = D.kl_divergence(
        D.MultivariateNormal(mu, cov.expand(20, 4, 4)),
        D.MultivariateNormal(torch.zeros(4).double(), torch.eye(4).double()),
    )
    torch.testing.assert_close(model.kl(mu), reference, rtol=1e-10, atol=1e-10)


@pytest.mark.equation("vae-linear-gap", "vae-linear-encoder")
def test_elbo_is_tight_with_full_covariance_and_with_diagonal_only_on_the_axes(digits, oracle):
    full, diagonal = oracle("full"), oracle("diagonal")
    torch.testing.assert_close(full.elbo(digits), full.log_prob(digits), rtol=0, atol=1e-9)
    gap = diagonal.log_prob(digits) - diagonal.elbo(digits)
    torch.testing.assert_close(gap, diagonal.gap().expand_as(gap), rtol=0, atol=1e-9)
    assert diagonal.gap() > 0.02  # the turned axes cost something
    before = diagonal.log_prob(digits)
    diagonal.rotate().solve_encoder()
    torch.testing.assert_close(diagonal.log_prob(digits), before, rtol=0, atol=1e-9)
    torch.testing.assert_close(diagonal.elbo(digits), before, rtol=0, atol=1e-9)


@pytest.mark.equation("vae-linear-encoder")
@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_solved_encoder_is_a_stationary_point_of_the_elbo(digits, oracle, covariance):
    model = oracle(covariance)
    model.elbo(digits).mean().backward()
    encoder = [*model.encoder.parameters(), model.log_scale]
    assert all(p.grad.abs().max() < 1e-8 for p in encoder)
    if covariance == "full":
        assert model.lower.grad.tril(-1).abs().max() < 1e-8


@pytest.mark.slow
@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_trained_linear_vae_reaches_ppca(covariance):
    """By stochastic gradients on the ELBO alone: within 0.05 nats of the maximum of the exact likelihood."""
    from course_lib.training import fit, recipe

    data = dataset("digits")
    best = ProbabilisticPCA(SHAPE, 10).initialise(data.x)
    plan = recipe("linear_vae", "digits", "smoke")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LinearVAE(**{**plan.model, "covariance": covariance})
    fit(model, data, plan)
    gap = (best.log_prob(data.x) - model.log_prob(data.x)).mean().item()
    assert -1e-3 < gap < 0.05
    assert 0 <= (model.log_prob(data.x) - model.elbo(data.x)).mean().item() < 0.05


@pytest.mark.equation("vae-linear-posterior")
def test_posterior_is_the_conditional_of_the_joint_gaussian(digits, oracle):
    model = oracle("full")
    weight, noise_var = model.model.weight.detach(), model.model.noise_var.detach()
    covariance = weight @ weight.T + noise_var * torch.eye(64, dtype=torch.float64)
    marginal = D.MultivariateNormal(model.model.mean.detach(), covariance)
    torch.testing.assert_close(
        model.log_prob(digits), marginal.log_prob(digits.flatten(1)), rtol=1e-9, atol=1e-7
    )
    gain = weight.T @ torch.linalg.inv(covariance)
    mean, cov = model.encode(digits[:5])
    torch.testing.assert_close(mean, (digits[:5].flatten(1) - marginal.loc) @ gain.T, rtol=0, atol=1e-9)
    torch.testing.assert_close(cov, torch.eye(4).double() - gain @ weight, rtol=0, atol=1e-9)


# --- pixel laws -----------------------------------------------------------------------------------------------------------


@pytest.mark.equation("vae-bernoulli-decoder", "vae-categorical-decoder", "vae-logistic-decoder")
@pytest.mark.parametrize(
    ("name", "count"),
    [("bernoulli", 2), ("categorical", 2), ("categorical", 256), ("discretized_logistic", 256)],
)
def test_masses_of_all_levels_sum_to_one(name, count):
    likelihood = build_likelihood(name, **({} if name == "bernoulli" else {"levels": count}))
    params = 3 * torch.randn(40, likelihood.numbers, 1, 1, generator=rng(), dtype=torch.float64)
    x = (torch.arange(count, dtype=torch.float64) / (count - 1)).view(-1, 1, 1, 1)
    total = sum(likelihood.log_prob(level.expand(40, 1, 1, 1), params).exp() for level in x)
    torch.testing.assert_close(total, torch.ones(40, dtype=torch.float64), rtol=0, atol=1e-10)


@pytest.mark.equation("vae-gaussian-decoder")
def test_gaussian_pixel_law_integrates_to_one_and_equals_torch():
    likelihood = build_likelihood("gaussian", s=0.2).double()
    grid = torch.linspace(-3, 4, 20001, dtype=torch.float64)
    density = likelihood.log_prob(grid.view(-1, 1, 1, 1), torch.full((20001, 1, 1, 1), 0.4)).exp()
    assert torch.trapezoid(density, grid).item() == pytest.approx(1, abs=1e-9)
    x, mean = levels().double(), torch.randn(6, *SHAPE, generator=rng(), dtype=torch.float64)
    expected = D.Normal(mean, 0.2).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(likelihood.log_prob(x, mean), expected, rtol=1e-6, atol=0)


@pytest.mark.equation("vae-noise-optimum")
def test_learned_noise_is_stationary_at_the_root_mean_squared_error():
    x, mean = levels().double(), torch.rand(6, *SHAPE, generator=rng(), dtype=torch.float64)
    rmse = (x - mean).square().mean().sqrt().item()
    likelihood = build_likelihood("gaussian", s=rmse, learn_s=True).double()
    likelihood.log_prob(x, mean).mean().backward()
    assert likelihood.log_s.grad.abs() < 1e-4 * x[0].numel()


@pytest.mark.equation("vae-bernoulli-decoder", "vae-categorical-decoder")
def test_discrete_log_masses_equal_torch():
    x = levels(k=2)
    logits = torch.randn(6, *SHAPE, generator=rng())
    expected = D.Bernoulli(logits=logits).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(build_likelihood("bernoulli").log_prob(x, logits), expected)
    x, params = levels(), torch.randn(6, 17, 8, 8, generator=rng())
    expected = D.Categorical(logits=params.movedim(1, -1)).log_prob((x[:, 0] * 16).round()).sum((1, 2))
    torch.testing.assert_close(build_likelihood("categorical", levels=17).log_prob(x, params), expected)


def test_categorical_channels_keep_their_own_levels():
    """Colour: the K numbers of a channel stand together in `params`."""
    likelihood = build_likelihood("categorical", levels=4)
    x = torch.tensor([0.0, 1 / 3, 1.0]).view(1, 3, 1, 1)
    params = torch.zeros(1, 12, 1, 1)
    params[0, [0, 5, 11]] = 50.0  # level 0 of red, level 1 of green, level 3 of blue
    assert likelihood.log_prob(x, params).item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(likelihood.mean(params), x)
    torch.testing.assert_close(likelihood.sample(params, rng()), x)


@pytest.mark.parametrize("name", list(LIKELIHOODS))
def test_mean_is_the_average_of_samples(name):
    likelihood = build_likelihood(name, **LIKELIHOOD_OPTIONS[name])
    params = torch.randn(1, likelihood.numbers, 4, 4, generator=rng())
    samples = likelihood.sample(params.expand(20_000, -1, -1, -1), rng(1)).double()
    error = samples.mean(0) - likelihood.mean(params)[0]
    bar = 4.5 * samples.std(0) / math.sqrt(20_000) + (1e-3 if name == "discretized_logistic" else 0)
    assert (error.abs() < bar).all()


def test_samples_of_discrete_laws_lie_on_the_levels():
    for name in ("categorical", "discretized_logistic"):
        x = small_vae(name).sample(5, pixels=True, generator=rng())
        torch.testing.assert_close((x * 16).round() / 16, x)
        assert x.min() >= 0
        assert x.max() <= 1


@pytest.mark.equation("vae-bce-mass")
def test_bce_on_grey_values_is_no_log_density():
    p = torch.tensor([0.02, 0.3, 0.5 + 1e-4, 0.97], dtype=torch.float64)
    grid = torch.linspace(0, 1, 20001, dtype=torch.float64)
    mass = torch.trapezoid(p[:, None] ** grid * (1 - p[:, None]) ** (1 - grid), grid)
    closed = (2 * p - 1) / (p.log() - (1 - p).log())
    torch.testing.assert_close(mass, closed, rtol=1e-7, atol=0)
    assert (mass < 0.6).all()


@pytest.mark.equation("vae-manifold")
def test_plane_of_codes_has_equal_prior_mass_between_neighbours():
    codes = code_plane(4)
    assert codes.shape == (16, 2)
    expected = (torch.arange(4) + 0.5) / 4
    torch.testing.assert_close(D.Normal(0.0, 1.0).cdf(codes[:4, 0]), expected)  # left to right
    torch.testing.assert_close(D.Normal(0.0, 1.0).cdf(codes[::4, 1]), expected.flip(0))  # top to bottom


# --- a peer library -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_loss_equals_pythae_on_the_same_codes(loss):
    from pythae import models as pythae

    peer = pythae.VAE(pythae.VAEConfig(input_dim=SHAPE, latent_dim=3, reconstruction_loss=loss))
    model = (
        small_vae("bernoulli") if loss == "bce" else VAE(SHAPE, 3, hidden=(16,), likelihood="gaussian", s=1.0)
    )
    x = levels(6, 2)
    mu, log_var = model.encode(x)
    z = reparametrise(mu, log_var, torch.randn(1, 6, 3, generator=rng(4)))[0]
    expected, *_ = peer.loss_function(model.decode(z).flatten(1), x.flatten(1), mu, log_var, z)
    constant = 0 if loss == "bce" else 32 * math.log(2 * math.pi)  # pythae leaves the Gaussian's constant out
    torch.testing.assert_close(model.loss(x, generator=rng(4)), expected + constant, rtol=1e-5, atol=0)


# --- the contract -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(LIKELIHOODS))
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_shapes_and_gradients(name, network):
    model, x = small_vae(name, network=network), levels()
    model.loss(x, generator=rng()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert [t.shape for t in model.encode(x)] == [(6, 3), (6, 3)]
    assert model.elbo(x, generator=rng()).shape == model.iwae(x, 3, generator=rng()).shape == (6,)
    assert model.reconstruct(x).shape == x.shape == model.decode(torch.zeros(6, 3)).shape
    assert model.sample(4, generator=rng()).shape == (4, *SHAPE)


@pytest.mark.parametrize("make", [small_vae, lambda: LinearVAE(SHAPE, 3)])
def test_generator_alone_decides_the_noise(make):
    model, x = make(), levels()
    state = torch.get_rng_state()
    assert torch.equal(model.sample(4, generator=rng(1)), model.sample(4, generator=rng(1)))
    assert not torch.equal(model.sample(4, generator=rng(1)), model.sample(4, generator=rng(2)))
    assert torch.equal(model.loss(x, generator=rng(1)), model.loss(x, generator=rng(1)))
    assert torch.equal(state, torch.get_rng_state())


def test_state_dict_round_trip():
    first, second = small_vae("gaussian", seed=0), small_vae("gaussian", seed=1)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.sample(3, generator=rng()), second.sample(3, generator=rng()))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.zeros(2, 64), "expected images"),
        (torch.zeros(2, 1, 9, 9), "expected images"),
        (torch.zeros(2, *SHAPE, dtype=torch.uint8), "divide integers"),
        (255 * torch.ones(2, *SHAPE), r"lie in \[0, 1\]"),
    ],
)
@pytest.mark.parametrize("make", [small_vae, lambda: LinearVAE(SHAPE, 3)])
def test_wrong_images_are_named(make, bad, message):
    with pytest.raises(ValueError, match=message):
        make().loss(bad)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"likelihood": "poisson"}, "unknown likelihood"),
        ({"likelihood": "bernoulli", "s": 0.1}, "does not take"),
        ({"likelihood": "gaussian", "s": -1.0}, "standard deviation"),
        ({"likelihood": "categorical", "levels": 1}, "at least 2 levels"),
        ({"network": "transformer"}, "unknown network"),
        ({"network": "conv", "hidden": (8, 8)}, "one hidden width"),
        ({"network": "conv", "hidden": (8,), "image_shape": (1, 30, 30)}, "multiple of 4"),
        ({"activation": "gelu"}, "unknown activation"),
        ({"latent_dim": 0}, "start at 1"),
        ({"beta": 2.0, "importance_samples": 5}, "no separate KL"),
    ],
)
def test_wrong_configurations_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        build(**{"image_shape": SHAPE, **config})


def test_wrong_covariance_and_wrong_k_are_named():
    with pytest.raises(ValueError, match="'diagonal' or 'full'"):
        LinearVAE(SHAPE, 3, "banded")
    with pytest.raises(ValueError, match="start at 1"):
        small_vae().iwae(levels(2, 2), 0)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_networks_compile_in_one_piece(network):
    model, x = small_vae(network=network), levels()
    encoder = torch.compile(model.encoder, fullgraph=True, backend="eager")
    decoder = torch.compile(model.decoder, fullgraph=True, backend="eager")
    torch.testing.assert_close(encoder(x), model.encoder(x))
    torch.testing.assert_close(decoder(torch.ones(2, 3)), model.decoder(torch.ones(2, 3)))


def test_bfloat16_networks_leave_the_sums_in_float32():
    model, x = small_vae(network="conv"), levels(6, 2)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.loss(x, generator=rng())
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, model.loss(x, generator=rng()), rtol=0.01, atol=0)


def test_bernoulli_loss_is_the_summed_cross_entropy():
    """Sum over pixels, mean over the batch: the trap of a reduction='mean' over everything."""
    model, x = small_vae(beta=0.0), levels(6, 2)
    mu, log_var = model.encode(x)
    z = reparametrise(mu, log_var, torch.randn(1, 6, 3, generator=rng(4)))[0]
    expected = F.binary_cross_entropy_with_logits(model.decoder(z), x, reduction="sum") / 6
    torch.testing.assert_close(model.loss(x, generator=rng(4)), expected, rtol=1e-5, atol=0)


def test_watched_training_notes_its_bound_and_draws_the_same_noise():
    """The recorded curve comes from a model that trains exactly like the one it stands for."""
    plain, watched = small_vae(), vae_bound.Watched(SHAPE, 3, hidden=(16,))
    watched.load_state_dict(plain.state_dict())
    watched.watch(2, test=levels(4, 2))
    x = levels(6, 2)
    losses = [
        (plain.loss(x, generator=rng(i)).item(), watched.loss(x, generator=rng(i)).item()) for i in range(5)
    ]
    assert all(a == b for a, b in losses)
    assert len(watched.curve["test"]) == 3

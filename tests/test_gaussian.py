"""Chapter 01's Gaussians against scipy, scikit-learn, autograd and brute force."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import course_lib
from course_lib.models.gaussian import (
    DiagonalGaussian,
    FullGaussian,
    build,
    eigen,
    expected_excess,
    moments,
)
from course_lib.models.generative_classifier import GenerativeClassifier
from course_lib.models.ppca import ProbabilisticPCA

SHAPE = (1, 3, 4)


@pytest.fixture
def images():
    """300 correlated images of 12 pixels, float64."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(12, 12, generator=generator, dtype=torch.float64)
    return (torch.randn(300, 12, generator=generator, dtype=torch.float64) @ mixing + 1).reshape(-1, *SHAPE)


@pytest.fixture(scope="module")
def digits():
    """scikit-learn's 8x8 digits with a little white noise, so that no pixel is constant; float64."""
    x = torch.tensor(load_digits().images / 16).reshape(-1, 1, 8, 8)
    return x + 0.05 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)


def models(images):
    return [
        FullGaussian(SHAPE).double().initialise(images),
        DiagonalGaussian(SHAPE).double().initialise(images),
        ProbabilisticPCA(SHAPE, 3).double().initialise(images),
    ]


@pytest.mark.equation("gaussian-log-density")
def test_full_log_prob_is_scipys(images):
    model = FullGaussian(SHAPE).double().initialise(images)
    expected = multivariate_normal(model.mean.tolist(), model.covariance.detach().numpy()).logpdf(
        images.reshape(300, 12)
    )
    np.testing.assert_allclose(model.log_prob(images).detach(), expected, rtol=0, atol=1e-9)


@pytest.mark.equation("gaussian-density")
def test_density_integrates_to_one_and_without_the_half_to_a_quarter():
    """The slides' exponent lacks the 1/2: in 2 dimensions the integral is then 2^(-2/2) = 1/2."""
    model = FullGaussian((2,)).double()
    model.covariance.data = torch.tensor([[1.0, 0.6], [0.6, 0.8]], dtype=torch.float64)
    axis = torch.linspace(-9, 9, 601, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    cell = (axis[1] - axis[0]) ** 2
    log_prob = model.log_prob(grid).detach()
    assert (log_prob.exp().sum() * cell).item() == pytest.approx(1, abs=1e-9)
    constant = model.log_prob(torch.zeros(1, 2, dtype=torch.float64)).detach()
    misprint = constant + 2 * (log_prob - constant)
    assert (misprint.exp().sum() * cell).item() == pytest.approx(0.5, abs=1e-9)


def test_diagonal_log_prob_is_scipys(images):
    model = DiagonalGaussian(SHAPE).double().initialise(images)
    rows = images.reshape(300, 12)
    expected = norm(rows.mean(0), rows.std(0, correction=0)).logpdf(rows).sum(1)
    np.testing.assert_allclose(model.log_prob(images).detach(), expected, rtol=0, atol=1e-9)


@pytest.mark.equation("gaussian-mle-mean", "gaussian-mle-covariance")
def test_moments_are_numpys(images):
    rows = images.reshape(300, 12)
    mean, covariance = moments(rows)
    np.testing.assert_allclose(mean, rows.numpy().mean(0), atol=1e-13)
    np.testing.assert_allclose(covariance, np.cov(rows.numpy().T, ddof=0), atol=1e-12)


@pytest.mark.equation("gaussian-ml", "gaussian-gradient-mean", "gaussian-gradient-covariance")
def test_gradient_vanishes_at_the_closed_form_and_any_step_away_is_worse(images):
    model = FullGaussian(SHAPE).double().initialise(images)
    best = model.loss(images)
    best.backward()
    assert model.mean.grad.abs().max() < 1e-12
    assert model.covariance.grad.abs().max() < 1e-12
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        other = FullGaussian(SHAPE).double().initialise(images)
        step = 0.1 * torch.randn(12, 12, generator=generator, dtype=torch.float64)
        other.covariance.data += step @ step.T
        other.mean.data += step[0]
        assert other.loss(images) > best


@pytest.mark.equation("gaussian-gradient-covariance")
def test_matrix_gradient_is_autograds(images):
    mean, scatter = moments(images.reshape(300, 12))
    model = FullGaussian(SHAPE).double()
    model.mean.data = mean
    model.covariance.data = 2 * scatter + torch.eye(12)
    (-model.loss(images)).backward()
    precision = torch.linalg.inv(model.covariance.detach())
    formula = -0.5 * (precision - precision @ scatter @ precision)
    torch.testing.assert_close(model.covariance.grad, formula, rtol=0, atol=1e-12)


@pytest.mark.equation("gaussian-nll", "gaussian-kl")
def test_loss_is_a_trace_and_is_entropy_plus_kl_of_the_gaussian_with_the_samples_moments(images):
    model = FullGaussian(SHAPE).double().initialise(images[:100])
    rows = images.reshape(300, 12)
    deviation = rows - model.mean.detach()
    trace = (torch.linalg.inv(model.covariance.detach()) * (deviation.T @ deviation / 300)).sum()
    nll = 0.5 * (12 * math.log(2 * math.pi) + torch.logdet(model.covariance.detach()) + trace)
    assert model.loss(images).item() == pytest.approx(nll.item(), abs=1e-9)
    # The loss depends on the sample through its moments only, so a Gaussian with these moments may stand for it.
    law = torch.distributions.MultivariateNormal(*moments(rows))
    other = torch.distributions.MultivariateNormal(model.mean.detach(), model.covariance.detach())
    kl = torch.distributions.kl_divergence(law, other)
    assert model.loss(images).item() == pytest.approx((law.entropy() + kl).item(), abs=1e-9)


@pytest.mark.equation("gaussian-typical")
def test_log_density_of_draws_lies_half_a_nat_per_dimension_below_the_peak(images):
    model = FullGaussian(SHAPE).double().initialise(images)
    n = 100_000
    below = model.log_prob(model.mean.reshape(1, *SHAPE)) - model.log_prob(
        model.sample(n, generator=torch.Generator().manual_seed(0))
    )
    assert abs(below.mean() - 6) < 4 * math.sqrt(6 / n)
    assert abs(below.var() - 6) < 4 * math.sqrt((3 * 6**2 + 6 * 6) / n)  # fourth moment of a gamma law


@pytest.mark.equation("gaussian-dequantisation")
def test_dequantised_log_density_bounds_the_mass_of_a_level():
    """One pixel, a Gaussian density, levels of width 1/16: mass by the error function, bound by quadrature."""
    delta, law = 1 / 16, norm(0.4, 0.1)
    for level in np.arange(17) / 16:
        mass = law.cdf(level + delta / 2) - law.cdf(level - delta / 2)
        bound = law.logpdf(level + delta * (np.arange(1000) + 0.5) / 1000 - delta / 2).mean() + math.log(
            delta
        )
        assert bound <= math.log(mass)
        assert math.log(mass) - bound < 1


@pytest.mark.equation("gaussian-eigen")
def test_eigen_rebuilds_the_covariance(images):
    covariance = moments(images.reshape(300, 12))[1]
    values, vectors = eigen(covariance)
    assert (values.diff() <= 0).all()
    torch.testing.assert_close(vectors @ values.diag() @ vectors.T, covariance, rtol=0, atol=1e-12)
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(12).double(), rtol=0, atol=1e-12)


@pytest.mark.equation("gaussian-sample")
def test_sample_moments_are_the_models(images):
    model = FullGaussian(SHAPE).double().initialise(images)
    n = 200_000
    rows = model.sample(n, generator=torch.Generator().manual_seed(0)).reshape(n, 12)
    variances = model.covariance.detach().diagonal()
    z = (rows.mean(0) - model.mean.detach()) / (variances / n).sqrt()
    assert z.abs().max() < 4.5
    # The variance of a sample covariance of Gaussians: (C_ij^2 + C_ii C_jj) / n.
    deviation = ((model.covariance.detach() ** 2 + variances[:, None] * variances) / n).sqrt()
    assert ((moments(rows)[1] - model.covariance.detach()) / deviation).abs().max() < 4.5


@pytest.mark.equation("gaussian-sample")
def test_a_sample_of_rank_k_lives_on_k_eigenvectors(images):
    model = FullGaussian(SHAPE).double().initialise(images)
    rows = model.sample(50, generator=torch.Generator().manual_seed(0), rank=3).reshape(50, 12)
    assert torch.linalg.matrix_rank(rows - model.mean.detach(), atol=1e-9) == 3
    full = model.sample(50, generator=torch.Generator().manual_seed(0)).reshape(50, 12)
    leading = eigen(model.covariance.detach())[1][:, :3]
    torch.testing.assert_close((full - rows) @ leading, torch.zeros(50, 3).double(), rtol=0, atol=1e-10)


@pytest.mark.equation("gaussian-excess")
def test_expected_excess_against_monte_carlo():
    n, dim, draws = 20, 4, 4000
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(draws, n, dim, generator=generator, dtype=torch.float64)
    mean = x.mean(1, keepdim=True)
    covariance = (x - mean).mT @ (x - mean) / n
    precision = torch.linalg.inv(covariance)
    trace = precision.diagonal(dim1=1, dim2=2).sum(1)
    shift = (mean @ precision @ mean.mT).squeeze()
    kl = 0.5 * (trace + shift - dim + torch.logdet(covariance))
    error = kl.std() / math.sqrt(draws)
    assert abs(kl.mean() - expected_excess(n, dim)) < 4 * error
    assert expected_excess(dim + 2, dim) == math.inf
    # Many samples: half a nat per 1/n for each of the d + d (d + 1) / 2 parameters.
    assert expected_excess(10**6, dim) * 10**6 == pytest.approx((dim + dim * (dim + 1) / 2) / 2, rel=1e-3)


@pytest.mark.equation("gaussian-ppca-marginal", "gaussian-ppca-determinant", "gaussian-ppca-quadratic")
@pytest.mark.parametrize("k", [1, 10, 40])
def test_ppca_log_prob_is_scikit_learns_and_scipys(digits, k):
    rows = digits.reshape(-1, 64).numpy()
    pca = PCA(k, svd_solver="full").fit(rows)
    model = ProbabilisticPCA((1, 8, 8), k).double().initialise(digits)
    # scikit-learn divides by N - 1: the same model with a covariance N / (N - 1) times ours.
    ratio = len(rows) / (len(rows) - 1)
    np.testing.assert_allclose(model.covariance.detach() * ratio, pca.get_covariance(), atol=1e-12)
    expected = multivariate_normal(rows.mean(0), model.covariance.detach().numpy()).logpdf(rows)
    np.testing.assert_allclose(model.log_prob(digits).detach(), expected, rtol=0, atol=1e-8)
    with torch.no_grad():
        model.weight *= math.sqrt(ratio)
        model.log_noise_var += math.log(ratio)
    np.testing.assert_allclose(model.log_prob(digits).detach(), pca.score_samples(rows), rtol=0, atol=1e-8)


@pytest.mark.equation("gaussian-ppca-ml", "gaussian-ppca-ml-value")
def test_ppca_closed_form_is_a_maximum(digits):
    model = ProbabilisticPCA((1, 8, 8), 5).double().initialise(digits)
    best = model.loss(digits)
    best.backward()
    assert max(p.grad.abs().max() for p in model.parameters()) < 1e-9
    values = eigen(moments(digits.reshape(-1, 64))[1])[0]
    value = -0.5 * (values[:5].log().sum() + 59 * values[5:].mean().log() + 64 * (1 + math.log(2 * math.pi)))
    assert best.item() == pytest.approx(-value.item(), abs=1e-9)
    # 200 Adam steps from elsewhere never get past it.
    other = ProbabilisticPCA((1, 8, 8), 5).double()
    optimiser = torch.optim.Adam(other.parameters(), lr=0.05)
    for _ in range(200):
        optimiser.zero_grad()
        loss = other.loss(digits)
        loss.backward()
        optimiser.step()
    assert 0 < loss.item() - best.item() < 5


@pytest.mark.equation("gaussian-ppca-posterior")
def test_ppca_posterior_by_conditioning_the_joint(images):
    """Schur complement of the joint covariance of (z, x), no Woodbury."""
    model = ProbabilisticPCA(SHAPE, 3).double().initialise(images)
    weight, covariance = model.weight.detach(), model.covariance.detach()
    gain = weight.T @ torch.linalg.inv(covariance)
    mean, posterior = model.encode(images)
    centred = images.reshape(300, 12) - model.mean.detach()
    torch.testing.assert_close(mean.detach(), centred @ gain.T, rtol=0, atol=1e-10)
    torch.testing.assert_close(posterior.detach(), torch.eye(3).double() - gain @ weight, rtol=0, atol=1e-10)


@pytest.mark.equation("gaussian-ppca-model")
def test_ppca_samples_have_the_marginal_covariance(images):
    model = ProbabilisticPCA(SHAPE, 3).double().initialise(images)
    n = 200_000
    rows = model.sample(n, generator=torch.Generator().manual_seed(0)).reshape(n, 12)
    c = model.covariance.detach()
    deviation = ((c**2 + c.diagonal()[:, None] * c.diagonal()) / n).sqrt()
    assert ((moments(rows)[1] - c) / deviation).abs().max() < 4.5


def test_ppca_reconstruction_gets_better_with_k(digits):
    errors = [
        (ProbabilisticPCA((1, 8, 8), k).double().initialise(digits).reconstruct(digits) - digits)
        .square()
        .mean()
        for k in (1, 5, 20, 50)
    ]
    assert np.diff([error.item() for error in errors]).max() < 0


@pytest.mark.equation("gaussian-bayes", "gaussian-evidence")
def test_classifier_is_bayes_rule_by_hand():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(600, 2, generator=generator, dtype=torch.float64)
    y = (torch.rand(600, generator=generator) < 0.25).long()
    x[y == 1] += 2
    classifier = GenerativeClassifier(FullGaussian((2,)) for _ in range(2)).double().initialise(x, y)
    joint = torch.zeros(600, 2, dtype=torch.float64)
    for label in (0, 1):
        rows = x[y == label].numpy()
        density = multivariate_normal(rows.mean(0), np.cov(rows.T, ddof=0)).pdf(x.numpy())
        joint[:, label] = torch.tensor(density) * (y == label).double().mean()
    evidence = joint.sum(1)
    torch.testing.assert_close(classifier.log_prob(x).detach().exp(), evidence, rtol=1e-6, atol=0)
    posterior = classifier.log_posterior(x).detach().exp()
    torch.testing.assert_close(posterior, joint / evidence[:, None], rtol=1e-5, atol=1e-12)
    classifier.loss(x, y).backward()
    assert all(p.grad is not None for p in classifier.parameters())
    assert classifier.loss(x, y) > classifier.loss(x)  # p(x, y) < p(x)


def test_classifier_samples_the_classes_asked_for():
    x = torch.tensor([[0.0], [0.1], [10.0], [10.1]]).double()
    classifier = GenerativeClassifier(FullGaussian((1,)) for _ in range(2)).double()
    classifier.initialise(x, torch.tensor([0, 0, 1, 1]))
    y = torch.tensor([1, 0, 0, 1, 0])
    samples = classifier.sample(5, y, generator=torch.Generator().manual_seed(0))
    assert ((samples[:, 0] > 5).long() == y).all()
    assert classifier.sample(7).shape == (7, 1)
    with pytest.raises(ValueError, match="each at least once"):
        classifier.initialise(x, torch.zeros(4, dtype=torch.long))


def test_contract_of_every_gaussian(images):
    for model in models(images):
        assert model.log_prob(images).shape == (300,)
        samples = model.sample(5, generator=torch.Generator().manual_seed(3))
        assert samples.shape == (5, *SHAPE)
        assert not samples.requires_grad
        assert torch.equal(samples, model.sample(5, generator=torch.Generator().manual_seed(3)))
        state = torch.get_rng_state()
        model.sample(5, generator=torch.Generator().manual_seed(3))
        assert torch.equal(state, torch.get_rng_state())
        model.loss(images + 0.1).backward()
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_state_dict_roundtrip(images):
    for model in models(images):
        fresh = ProbabilisticPCA(SHAPE, 3) if isinstance(model, ProbabilisticPCA) else type(model)(SHAPE)
        fresh.double().load_state_dict(model.state_dict())
        assert torch.equal(fresh.log_prob(images), model.log_prob(images))


def test_float32_is_close_to_float64(digits):
    for model in (FullGaussian((1, 8, 8)), ProbabilisticPCA((1, 8, 8), 20)):
        single = model.initialise(digits.float()).log_prob(digits.float()).detach()
        double = model.double().initialise(digits).log_prob(digits).detach()
        assert (single - double).abs().max() < 2e-2


def test_wrong_inputs_are_named(images):
    bytes_ = torch.zeros(4, *SHAPE, dtype=torch.uint8)
    for model in models(images):
        for call in (model.log_prob, model.initialise):
            with pytest.raises(ValueError, match="divide by 255"):
                call(bytes_)
            with pytest.raises(ValueError, match=r"expected shape \(B, 1, 3, 4\)"):
                call(torch.zeros(4, 1, 5, 5))
        with pytest.raises(ValueError, match="NaN"):
            model.initialise(images * torch.nan)
        with pytest.raises(ValueError, match="no data"):
            model.initialise(images[:0])
    with pytest.raises(ValueError, match="latent_dim"):
        ProbabilisticPCA(SHAPE, 12)


def test_degenerate_data_have_no_density_until_noise_is_added(images):
    flat = images.clone()
    flat[:, 0, 0, 0] = 0.5  # one constant pixel
    with pytest.raises(ValueError, match="singular"):
        FullGaussian(SHAPE).double().initialise(flat).log_prob(flat)
    with pytest.raises(ValueError, match="1 pixels are constant"):
        DiagonalGaussian(SHAPE).double().initialise(flat)
    with pytest.raises(ValueError, match="sigma\\^2 would be 0"):
        ProbabilisticPCA(SHAPE, 5).double().initialise(images[:4])
    for kind in (FullGaussian, DiagonalGaussian):
        model = kind(SHAPE, noise_var=0.01).double().initialise(flat)
        assert model.log_prob(flat).isfinite().all()


def test_build_gives_the_kinds():
    assert isinstance(build("full", SHAPE), FullGaussian)
    assert isinstance(build("diagonal", SHAPE, noise_var=0.1), DiagonalGaussian)
    with pytest.raises(ValueError, match="full"):
        build("round", SHAPE)


def test_recipe_without_steps_is_the_closed_form():
    from course_lib.training import load_data, recipe, train

    plan = recipe("ppca", "glyphs", "smoke", batch_size=300, data_options={"n": 300})
    images = load_data("glyphs", n=300).x
    trained = train(plan, progress=False).model
    closed = ProbabilisticPCA(**plan.model).initialise(images)
    torch.testing.assert_close(trained.log_prob(images), closed.log_prob(images), rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("name", ["ppca_glyphs", "ppca_mnist"])
def test_checkpoint_samples_and_scores(name):
    model = course_lib.load(name)
    samples = model.sample(3, generator=torch.Generator().manual_seed(0))
    assert samples.shape == (3, 1, 28, 28)
    assert model.log_prob(samples).isfinite().all()
    assert {"fid", "log_likelihood"} <= set(model.card["metrics"])


@pytest.mark.slow
def test_experiment_on_embedded_data():
    from course_lib.training.experiments.gaussian_real import CHANGES, run

    arrays = run("smoke")
    assert arrays["train"].shape == arrays["test"].shape == (len(arrays["n"]), len(arrays["k"]))
    assert (np.diff(arrays["train"], axis=1) > 0).all()  # the maximum can only grow with the rank
    assert arrays["auroc"].shape == (2, len(CHANGES))
    assert arrays["auroc"][0, CHANGES.index("black")] < 0.05
    assert 0.75 < arrays["accuracy"][0] <= 1

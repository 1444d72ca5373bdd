"""The mixture and its EM against scikit-learn, numerical gradients and brute force."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture as Peer

from course_lib.models.gaussian_mixture import GaussianMixture, build, kmeans_plus_plus


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def points():
    """400 points around three centres, float64."""
    generator = seeded()
    centres = torch.tensor([[0.0, 0.0], [4.0, 1.0], [1.0, 5.0]]).double()
    label = torch.randint(3, (400,), generator=generator)
    scale = torch.tensor([[1.0, 0.3], [0.5, 0.5], [0.3, 1.2]]).double()
    return centres[label] + scale[label] * torch.randn(400, 2, generator=generator, dtype=torch.float64)


def started(points, k=3, reg_covar=1e-6, seed=1):
    model = GaussianMixture((points.shape[1],), k, reg_covar).double()
    return model.initialise(points, generator=seeded(seed))


def peer_history(model, x, steps):
    """scikit-learn's log-likelihood before each of its EM steps, from the parameters of `model`."""
    peer = Peer(
        model.n_components,
        reg_covar=model.reg_covar,
        tol=0,
        max_iter=steps,
        weights_init=model.weights.detach().numpy(),
        means_init=model.means.detach().numpy(),
        precisions_init=torch.linalg.inv(model.covariances.detach()).numpy(),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "did not converge" is what we ask for
        peer.fit(x.numpy())
    return peer


@pytest.mark.equation("gaussian-m-step", "gaussian-mixture", "gaussian-responsibilities")
@pytest.mark.parametrize("data", ["points", "digits"])
def test_em_is_scikit_learns_step_by_step(points, data):
    x = points
    if data == "digits":
        x = torch.tensor(load_digits().data / 16)
        x = x + 0.05 * torch.randn(x.shape, generator=seeded(), dtype=x.dtype)
    model = started(x, k=5 if data == "digits" else 3)
    peer = peer_history(model, x, 30)
    history = model.fit_em(x, 30)
    np.testing.assert_allclose(history[:-1], peer.lower_bounds_, rtol=0, atol=1e-6)
    np.testing.assert_allclose(model.log_prob(x).detach(), peer.score_samples(x.numpy()), rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        model.log_responsibilities(x).detach().exp(), peer.predict_proba(x.numpy()), rtol=0, atol=1e-6
    )


@pytest.mark.equation("gaussian-mixture")
def test_density_integrates_to_one(points):
    model = started(points)
    model.fit_em(points, 10)
    axis = torch.linspace(-8, 12, 501, dtype=torch.float64)
    density = model.log_prob(torch.cartesian_prod(axis, axis)).detach().exp()
    assert (density.sum() * (axis[1] - axis[0]) ** 2).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.equation("gaussian-elbo", "gaussian-elbo-gap")
def test_elbo_is_tight_at_the_responsibilities_and_short_by_the_kl_elsewhere(points):
    model = started(points)
    model.fit_em(points, 5)
    log_prob = model.log_prob(points)
    torch.testing.assert_close(model.elbo(points), log_prob, rtol=0, atol=1e-12)
    exact = model.log_responsibilities(points)
    r = torch.rand(400, 3, generator=seeded(2), dtype=torch.float64)
    r = r / r.sum(1, keepdim=True)
    kl = (r * (r.log() - exact)).sum(1)
    torch.testing.assert_close(model.elbo(points, r), log_prob - kl, rtol=0, atol=1e-10)
    hard = torch.nn.functional.one_hot(exact.argmax(1), 3).double()
    assert (model.elbo(points, hard) <= log_prob + 1e-12).all()


@pytest.mark.equation("gaussian-m-step")
def test_m_step_makes_the_gradient_of_the_elbo_vanish(points):
    model = started(points, reg_covar=0.0)
    r = torch.rand(400, 3, generator=seeded(2), dtype=torch.float64)
    r = r / r.sum(1, keepdim=True)
    model.m_step(points, r)
    model.elbo(points, r).sum().backward()
    assert model.means.grad.abs().max() < 1e-9
    assert model.covariances.grad.abs().max() < 1e-9
    # On the simplex the gradient is constant: the Lagrange multiplier, one per point.
    np.testing.assert_allclose(model.weights.grad, 400.0, rtol=1e-10)


def test_em_never_falls_without_regularisation(points):
    for seed in range(5):
        history = started(points, reg_covar=0.0, seed=seed).fit_em(points, 100)
        assert np.diff(history).min() > -1e-12


def test_early_stop(points):
    history = started(points).fit_em(points, 500, tolerance=1e-6)
    assert len(history) < 500
    assert history[-2] - history[-3] < 1e-6


def test_responsibilities_far_away_do_not_underflow(points):
    model = started(points)
    r = model.log_responsibilities(torch.full((1, 2), 1e4, dtype=torch.float64)).exp()
    assert r.sum().item() == pytest.approx(1)


def test_collapse_happens_and_reg_covar_mends_it(points):
    def collapsed(reg_covar):
        model = started(points, reg_covar=reg_covar)
        with torch.no_grad():
            model.means[0] = points[0]
            model.covariances[0] = 1e-4 * torch.eye(2)
            model.weights.copy_(torch.tensor([0.01, 0.49, 0.50]))
        return model

    with pytest.raises(ValueError, match="singular"):
        collapsed(0.0).fit_em(points, 50)
    assert np.isfinite(collapsed(1e-2).fit_em(points, 50)).all()


def test_sample_moments_are_the_mixtures(points):
    model = started(points)
    model.fit_em(points, 30)
    n = 200_000
    samples = model.sample(n, generator=seeded())
    weights, means = model.weights.detach(), model.means.detach()
    mean = weights @ means
    covariance = torch.einsum(
        "k,kij->ij", weights, model.covariances.detach() + means[:, :, None] * means[:, None]
    )
    covariance = covariance - torch.outer(mean, mean)
    assert ((samples.mean(0) - mean) / (covariance.diagonal() / n).sqrt()).abs().max() < 4.5
    one = model.sample(50_000, torch.full((50_000,), 2), generator=seeded())
    assert ((one.mean(0) - means[2]).abs() < 0.05).all()


def test_contract(points):
    model = started(points.reshape(-1, 2))
    images = GaussianMixture((1, 1, 2), 3)
    assert images.sample(4).shape == (4, 1, 1, 2)
    assert images.log_prob(points.float().reshape(-1, 1, 1, 2)).shape == (400,)
    assert torch.equal(model.sample(5, generator=seeded(3)), model.sample(5, generator=seeded(3)))
    model.loss(points).backward()
    assert all(p.grad.abs().max() > 0 for p in model.parameters())
    fresh = build((2,), 3).double()
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh.log_prob(points), model.log_prob(points))


def test_same_generator_same_start(points):
    assert torch.equal(started(points, seed=5).means, started(points, seed=5).means)
    assert not torch.equal(started(points, seed=5).means, started(points, seed=6).means)


def test_kmeans_plus_plus_finds_separate_clusters():
    rows = torch.cat([torch.zeros(50, 1), torch.full((50, 1), 10.0), torch.full((50, 1), 20.0)])
    for seed in range(10):
        assert sorted(kmeans_plus_plus(rows, 3, generator=seeded(seed)).flatten().tolist()) == [0, 10, 20]


def test_wrong_inputs_are_named(points):
    model = started(points)
    with pytest.raises(ValueError, match="divide by 255"):
        model.log_prob(torch.zeros(4, 2, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"expected shape \(B, 2\)"):
        model.log_prob(torch.zeros(4, 3))
    with pytest.raises(ValueError, match="NaN"):
        model.initialise(points * torch.nan)
    with pytest.raises(ValueError, match="different points"):
        model.initialise(torch.ones(100, 2))
    with pytest.raises(ValueError, match="take fewer components"):
        model.initialise(points[:2])
    r = torch.zeros(400, 3).double()
    r[:, 0] = 1
    with pytest.raises(ValueError, match="empty"):
        model.m_step(points, r)
    with pytest.raises(ValueError, match="responsibilities"):
        model.m_step(points, r[:10])

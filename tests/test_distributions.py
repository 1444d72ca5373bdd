"""Closed forms against torch.distributions, quadrature, sums, and a peer's matrix square root."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import distributions as D

from course_lib import distributions as ours


def test_gaussian_log_prob_is_torchs(generator):
    x, mean, log_var = torch.randn(3, 7, 5, generator=generator, dtype=torch.float64)
    peer = D.Normal(mean, torch.exp(0.5 * log_var)).log_prob(x).sum(-1)
    torch.testing.assert_close(ours.gaussian_log_prob(x, mean, log_var), peer)


def test_bernoulli_log_prob_is_torchs_and_sums_to_one(generator):
    logits = torch.randn(3, generator=generator, dtype=torch.float64)
    every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3)
    log_mass = ours.bernoulli_log_prob(every, logits)
    torch.testing.assert_close(log_mass, D.Bernoulli(logits=logits).log_prob(every).sum(-1))
    assert log_mass.exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_categorical_log_prob_is_torchs(generator):
    logits = torch.randn(4, 6, 17, generator=generator, dtype=torch.float64)
    levels = torch.randint(17, (4, 6), generator=generator)
    peer = D.Categorical(logits=logits).log_prob(levels).sum(-1)
    torch.testing.assert_close(ours.categorical_log_prob(levels / 16, logits), peer)


@pytest.mark.parametrize("log_scale", [-6.0, -3.0, 0.0])
@pytest.mark.parametrize("mean", [-0.2, 0.0, 0.31, 1.0, 1.7])
def test_discretized_logistic_masses_sum_to_one(mean, log_scale):
    levels = torch.arange(256, dtype=torch.float64).unsqueeze(1) / 255
    log_mass = ours.discretized_logistic_log_prob(levels, torch.tensor([mean]), torch.tensor(log_scale))
    assert log_mass.isfinite().all()
    assert log_mass.exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_discretized_logistic_is_the_difference_of_sigmoids():
    x = torch.tensor([[100 / 255]], dtype=torch.float64)
    mean, scale = torch.tensor([0.4], dtype=torch.float64), torch.tensor(0.05, dtype=torch.float64)
    edges = [(x + sign * 0.5 / 255 - mean) / scale for sign in (1, -1)]
    direct = (torch.sigmoid(edges[0]) - torch.sigmoid(edges[1])).log().sum(-1)
    torch.testing.assert_close(ours.discretized_logistic_log_prob(x, mean, scale.log()), direct)


def test_discretized_logistic_has_gradients_far_out_in_the_tail():
    mean = torch.tensor([30.0], requires_grad=True)
    value = ours.discretized_logistic_log_prob(torch.tensor([[0.5]]), mean, torch.tensor(-4.0))
    value.sum().backward()
    assert value.isfinite().all()
    assert mean.grad.isfinite().all()


@pytest.mark.equation("vae-kl")
def test_gaussian_kl_is_torchs_and_quadratures(generator):
    mu, log_var, mu_0, log_var_0 = torch.randn(4, 6, 3, generator=generator, dtype=torch.float64)
    q, p = D.Normal(mu, (0.5 * log_var).exp()), D.Normal(mu_0, (0.5 * log_var_0).exp())
    torch.testing.assert_close(ours.gaussian_kl(mu, log_var, mu_0, log_var_0), D.kl_divergence(q, p).sum(-1))
    standard = D.kl_divergence(q, D.Normal(torch.zeros_like(mu), 1.0)).sum(-1)
    torch.testing.assert_close(ours.gaussian_kl(mu, log_var), standard)
    z = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
    one = D.Normal(mu[0, 0], (0.5 * log_var[0, 0]).exp())
    log_ratio = one.log_prob(z) - D.Normal(0.0, 1.0).log_prob(z)
    quadrature = torch.trapezoid(one.log_prob(z).exp() * log_ratio, z)
    torch.testing.assert_close(ours.gaussian_kl(mu[0, :1], log_var[0, :1]), quadrature)


@pytest.mark.equation("distances-gaussian-w2")
@pytest.mark.parametrize("rank", [6, 3])
def test_gaussian_w2_is_the_formula_with_a_matrix_square_root(rank, generator):
    a, b = (torch.randn(6, rank, generator=generator, dtype=torch.float64) for _ in range(2))
    ridge = (rank == 6) * 0.1 * torch.eye(6).double()
    a, b = a @ a.T + ridge, b @ b.T + ridge
    mu_a, mu_b = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    root_a = np.real(scipy.linalg.sqrtm(a.numpy())) if rank == 6 else _psd_root(a.numpy())
    cross = _psd_root(root_a @ b.numpy() @ root_a)
    peer = float(((mu_a - mu_b) ** 2).sum()) + np.trace(a.numpy() + b.numpy() - 2 * cross)
    assert ours.gaussian_w2(mu_a, a, mu_b, b).item() == pytest.approx(peer, rel=1e-7)
    assert ours.gaussian_w2(mu_a, a, mu_a, a).item() == pytest.approx(0, abs=1e-6)


def _psd_root(matrix):
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return vectors @ np.diag(np.sqrt(np.clip(values, 0, None))) @ vectors.T


@pytest.mark.equation("distances-gaussian-w2")
def test_gaussian_w2_of_commuting_covariances_is_the_sum_over_axes():
    a, b = torch.tensor([1.0, 4.0]).double(), torch.tensor([9.0, 0.25]).double()
    mean = torch.zeros(2).double()
    value = ours.gaussian_w2(mean, a.diag(), mean + 1, b.diag())
    assert value.item() == pytest.approx(2 + ((a.sqrt() - b.sqrt()) ** 2).sum().item(), rel=1e-12)
    with pytest.raises(ValueError, match="two covariances"):
        ours.gaussian_w2(mean, a, mean, b)


def gaussians(d=3, seed=0):
    """Mean and covariance of two Gaussians, float64."""
    generator = torch.Generator().manual_seed(seed)
    mu_a, mu_b = torch.randn(2, d, generator=generator, dtype=torch.float64)
    a, b = torch.randn(2, d, d, generator=generator, dtype=torch.float64)
    return mu_a, a @ a.T + 0.1 * torch.eye(d), mu_b, b @ b.T + 0.1 * torch.eye(d)


@pytest.mark.equation("distances-gaussian-kl")
def test_full_gaussian_kl_is_torchs():
    mu_a, cov_a, mu_b, cov_b = gaussians()
    peer = D.kl_divergence(D.MultivariateNormal(mu_a, cov_a), D.MultivariateNormal(mu_b, cov_b))
    torch.testing.assert_close(ours.gaussian_kl_full(mu_a, cov_a, mu_b, cov_b), peer, rtol=1e-12, atol=0)
    assert ours.gaussian_kl_full(mu_a, cov_a, mu_a, cov_a).item() == pytest.approx(0, abs=1e-12)
    variances = cov_a.diagonal(), cov_b.diagonal()
    diagonal = ours.gaussian_kl(mu_a, variances[0].log(), mu_b, variances[1].log())
    torch.testing.assert_close(
        ours.gaussian_kl_full(mu_a, variances[0].diag(), mu_b, variances[1].diag()), diagonal
    )
    with pytest.raises(ValueError, match="not positive definite"):
        ours.gaussian_kl_full(mu_a, cov_a, mu_b, torch.zeros_like(cov_b))
    with pytest.raises(ValueError, match="two covariances"):
        ours.gaussian_kl_full(mu_a, cov_a, mu_b[:2], cov_b)


@pytest.mark.equation("distances-gaussian-w1")
@pytest.mark.parametrize(("m", "s"), [(0.7, 1.5), (0.0, 0.5), (2.0, 0.0), (-3.0, 1e-3), (0.0, 0.0)])
def test_gaussian_w1_is_the_area_between_the_cdfs(m, s):
    mu_a, sigma_a, mu_b, sigma_b = (torch.tensor(v, dtype=torch.float64) for v in (m, 0.4 + s, 0.0, 0.4))
    x = torch.linspace(-20, 20, 400_001, dtype=torch.float64)
    area = torch.trapezoid((D.Normal(mu_a, sigma_a).cdf(x) - D.Normal(mu_b, sigma_b).cdf(x)).abs(), x)
    value = ours.gaussian_w1(mu_a, sigma_a, mu_b, sigma_b)
    assert value.item() == pytest.approx(area.item(), abs=1e-7)
    swapped = ours.gaussian_w1(mu_b, sigma_b, mu_a, sigma_a)
    torch.testing.assert_close(swapped, value)


def test_gaussian_w1_is_elementwise_and_checks_its_deviations():
    mu, sigma = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 1.0])
    values = ours.gaussian_w1(mu, sigma.requires_grad_(), torch.zeros(2), torch.tensor(1.0))
    torch.testing.assert_close(values, torch.tensor([0.0, 1.0]))
    values.sum().backward()
    assert sigma.grad.isfinite().all()
    with pytest.raises(ValueError, match="at least 0"):
        ours.gaussian_w1(mu, -sigma, mu, sigma)


@pytest.mark.equation("distances-mmd-gaussian")
def test_gaussian_mmd_is_quadrature_in_the_plane():
    """Kernel means as sums over a grid of the density of x - y, itself a Gaussian by torch.distributions."""
    mu_a, cov_a, mu_b, cov_b = gaussians(d=2)
    axis = torch.linspace(-16, 16, 801, dtype=torch.float64)
    difference = torch.cartesian_prod(axis, axis)
    cell = (axis[1] - axis[0]) ** 2

    def kernel_mean(mean, cov, scale):
        density = D.MultivariateNormal(mean, cov).log_prob(difference).exp()
        return (density * torch.exp(-difference.square().sum(1) / scale)).sum() * cell

    scales = torch.tensor([0.5, 4.0]).double()
    quadrature = torch.stack(
        [
            kernel_mean(0 * mu_a, 2 * cov_a, c)
            + kernel_mean(0 * mu_a, 2 * cov_b, c)
            - 2 * kernel_mean(mu_a - mu_b, cov_a + cov_b, c)
            for c in scales
        ]
    )
    values = ours.gaussian_mmd2(mu_a, cov_a, mu_b, cov_b, scales)
    torch.testing.assert_close(values, quadrature, rtol=1e-9, atol=1e-12)
    assert ours.gaussian_mmd2(mu_a, cov_a, mu_b, cov_b, 4.0).item() == pytest.approx(values[1].item())
    assert ours.gaussian_mmd2(mu_a, cov_a, mu_a, cov_a, 1.0).item() == pytest.approx(0, abs=1e-14)


@pytest.mark.equation("distances-mmd-gaussian")
def test_gaussian_mmd_is_monte_carlos_within_its_error(generator):
    mu_a, cov_a, mu_b, cov_b = gaussians()
    n, scale = 200_000, 3.0

    def kernels(moments, others):
        points = [
            mean + torch.randn(n, 3, generator=generator, dtype=torch.float64) @ torch.linalg.cholesky(cov).T
            for mean, cov in (moments, others)
        ]
        return torch.exp(-(points[0] - points[1]).square().sum(1) / scale)

    a, b = (mu_a, cov_a), (mu_b, cov_b)
    values = kernels(a, a) + kernels(b, b) - 2 * kernels(a, b)
    error = values.std() / n**0.5
    assert abs(values.mean() - ours.gaussian_mmd2(*a, *b, scale)) < 3 * error
    with pytest.raises(ValueError, match="must be positive"):
        ours.gaussian_mmd2(*a, *b, 0.0)

"""Importance weights: exact small cases, Gaussians with known moments, and the sample size that is left."""

import math

import pytest
import torch

from course_lib.distributions import gaussian_log_prob
from course_lib.sampling import effective_sample_size, resample


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def log_ratio(x, mean):
    """log N(x; 0, 1) / N(x; mean, 1) for x `(n, 1)`."""
    zero = torch.zeros(1)
    return gaussian_log_prob(x, zero, zero) - gaussian_log_prob(x, zero + mean, zero)


@pytest.mark.equation("distances-sir")
def test_resampling_follows_the_weights():
    log_weights = torch.tensor([0.0, math.log(2), -math.inf, math.log(5)]) + 1000  # only ratios matter
    drawn = resample(torch.arange(4), log_weights, 80_000, seeded())
    shares = torch.bincount(drawn, minlength=4) / 80_000
    exact = torch.tensor([1, 2, 0, 5]) / 8
    error = (exact * (1 - exact) / 80_000).sqrt()
    assert ((shares - exact).abs() <= 3 * error).all()


@pytest.mark.equation("distances-sir")
def test_resampled_noise_has_the_targets_moments():
    noise = 0.5 + torch.randn(200_000, 1, generator=seeded())
    drawn = resample(noise, log_ratio(noise, 0.5), 20_000, seeded(1)).squeeze(1)
    assert abs(drawn.mean()) < 3 / 20_000**0.5
    assert abs(drawn.square().mean() - 1) < 3 * (2 / 20_000) ** 0.5
    assert torch.equal(drawn, resample(noise, log_ratio(noise, 0.5), 20_000, seeded(1)).squeeze(1))


@pytest.mark.equation("distances-ess")
def test_effective_sample_size_by_hand():
    assert effective_sample_size(torch.full((50,), -3000.0)).item() == pytest.approx(50)
    one = torch.full((50,), -math.inf)
    one[7] = 2.0
    assert effective_sample_size(one).item() == pytest.approx(1)
    w = torch.tensor([0.1, 0.2, 0.7]).double()
    assert effective_sample_size(w.log()).item() == pytest.approx(1 / (0.01 + 0.04 + 0.49))


@pytest.mark.equation("distances-ess")
def test_effective_sample_size_is_n_over_one_plus_chi_square():
    """Gaussians a distance d apart: 1 + chi^2(p || q) = exp(d^2). It falls as the noise moves away."""
    shares = []
    for distance in (0.0, 0.5, 1.0, 1.5):
        x = distance + torch.randn(1_000_000, 1, generator=seeded())
        shares.append(effective_sample_size(log_ratio(x, distance)).item() / len(x))
        assert shares[-1] == pytest.approx(math.exp(-(distance**2)), rel=0.05)
    assert shares == sorted(shares, reverse=True)


def test_wrong_inputs_are_named():
    x, log_weights = torch.zeros(3, 2), torch.zeros(3)
    with pytest.raises(ValueError, match="one weight a draw"):
        resample(x, log_weights[:2], 5)
    with pytest.raises(ValueError, match="NaN"):
        resample(x, log_weights * torch.nan, 5)
    with pytest.raises(ValueError, match="infinity"):
        effective_sample_size(log_weights + math.inf)
    with pytest.raises(ValueError, match="every weight is 0"):
        resample(x, log_weights - math.inf, 5)
    with pytest.raises(ValueError, match=r"log-weights \(N,\)"):
        effective_sample_size(x)

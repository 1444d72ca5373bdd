"""Texture models: exact moments, Rayleigh moduli, and the periodic component from its definition."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from course_lib.models.texture import ADSN, RPN, build, smooth_component, uniform_phase


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def texture(channels=1, m=9, n=8):
    """A correlated random picture in [0, 1], float64, with different borders."""
    x = torch.randn(channels, m, n, generator=seeded(4), dtype=torch.float64)
    x = x + x.roll(1, 1) + 0.5 * x.roll(1, 2) + torch.linspace(0, 2, n).double()
    return (x - x.min()) / (x.max() - x.min())


def fitted(kind, image, periodic=True):
    return build(kind, image.shape, periodic).double().initialise(image)


@pytest.mark.equation("gaussian-periodic", "gaussian-periodic-energy")
@pytest.mark.parametrize("size", [(6, 5), (4, 7), (5, 5)])
def test_smooth_component_minimises_its_energy(size):
    """Least squares over all images s: jumps of h - s across the border, differences of s inside; mean of s is 0."""
    m, n = size
    h = torch.rand(1, m, n, generator=seeded(), dtype=torch.float64)
    rows, targets = [], []
    for i in range(m):
        for j in range(n):
            for a, b in (((i + 1) % m, j), (i, (j + 1) % n)):
                row = torch.zeros(m, n, dtype=torch.float64)
                row[i, j] += 1
                row[a, b] -= 1
                across = a < i or b < j
                rows.append(row.flatten())
                targets.append((h[0, i, j] - h[0, a, b]) if across else h.new_zeros(()))
    rows.append(torch.ones(m * n, dtype=torch.float64))
    targets.append(h.new_zeros(()))
    best = torch.linalg.lstsq(torch.stack(rows), torch.stack(targets)[:, None], driver="gelsd").solution
    torch.testing.assert_close(smooth_component(h)[0], best.reshape(m, n), rtol=0, atol=1e-12)


@pytest.mark.equation("gaussian-periodic")
def test_smooth_component_of_a_periodic_image_is_small_and_of_a_ramp_takes_the_jump():
    assert smooth_component(torch.full((1, 8, 8), 0.3).double()).abs().max() < 1e-15
    ramp = torch.linspace(0, 1, 32).double().expand(1, 32, 32)
    periodic = ramp - smooth_component(ramp)
    jump = (periodic[:, :, -1] - periodic[:, :, 0]).abs().max()
    assert jump < 0.1  # it was 1
    torch.testing.assert_close(periodic.mean(), ramp.mean())


@pytest.mark.equation("gaussian-autocovariance")
@pytest.mark.parametrize("channels", [1, 3])
def test_autocovariance_by_brute_force(channels):
    h = texture(channels)
    model = fitted("adsn", h, periodic=False)
    exact = model.autocovariance()
    centred = h - h.mean((1, 2), keepdim=True)
    for di, dj in [(0, 0), (1, 0), (0, 3), (4, 5)]:
        shifted = centred.roll((-di, -dj), (1, 2))
        brute = torch.einsum("aij,bij->ab", centred, shifted) / (9 * 8)
        torch.testing.assert_close(exact[:, :, di, dj], brute, rtol=0, atol=1e-14)


@pytest.mark.equation("gaussian-autocovariance", "gaussian-adsn", "gaussian-rpn")
@pytest.mark.parametrize("kind", ["adsn", "rpn"])
@pytest.mark.parametrize("size", [None, (14, 12)])
def test_sample_moments_are_the_exact_ones(kind, size):
    model = fitted(kind, texture(3))
    n = 40_000
    samples = model.sample(n, generator=seeded(), size=size)
    assert samples.shape == (n, 3, *(size or (9, 8)))
    pixel = samples[:, :, 2, 3]
    error = samples.std(0) / math.sqrt(n)
    assert ((samples.mean(0) - model.mean[:, None, None]) / error).abs().max() < 4.5
    product = (pixel - model.mean)[:, :, None, None, None] * (samples - model.mean[:, None, None])[:, None]
    shifted = product.mean(0).roll((-2, -3), (2, 3))  # covariance of x and x + tau
    error = (product.std(0) / math.sqrt(n)).roll((-2, -3), (2, 3))
    assert ((shifted - model.autocovariance(size)) / error).abs().max() < 4.8  # about 1,500 comparisons


@pytest.mark.equation("gaussian-rpn")
def test_every_rpn_sample_has_the_exact_mean_and_autocovariance():
    model = fitted("rpn", texture(3))
    sample = model.sample(1, generator=seeded())[0]
    torch.testing.assert_close(sample.mean((1, 2)), model.mean, rtol=0, atol=1e-13)
    again = fitted("rpn", sample, periodic=False)
    torch.testing.assert_close(again.autocovariance(), model.autocovariance(), rtol=0, atol=1e-13)


@pytest.mark.equation("gaussian-rayleigh")
def test_adsn_moduli_are_rayleigh_and_rpn_moduli_constant():
    h = texture()
    frequency = (2, 3)  # not its own opposite
    scale = torch.fft.fft2(fitted("adsn", h).spot).abs()[0][frequency] * math.sqrt(72)
    moduli = torch.fft.fft2(fitted("adsn", h).sample(5000, generator=seeded())).abs()[:, 0, 2, 3]
    assert kstest(moduli.numpy(), "rayleigh", args=(0, (scale / math.sqrt(2)).item())).pvalue > 0.01
    fixed = torch.fft.fft2(fitted("rpn", h).sample(50, generator=seeded())).abs()[:, 0, 2, 3]
    torch.testing.assert_close(fixed, scale.expand(50), rtol=1e-12, atol=0)


@pytest.mark.equation("gaussian-phase")
def test_phases_are_uniform_odd_and_1_at_dc():
    phase = uniform_phase((6, 8), 4000, seeded(), torch.zeros(1).double())
    torch.testing.assert_close(phase.abs(), torch.ones(4000, 6, 8).double())
    opposite = phase.flip(1, 2).roll((1, 1), (1, 2))
    torch.testing.assert_close(opposite, phase.conj(), rtol=0, atol=1e-10)
    assert (phase[:, 0, 0] == 1).all()
    assert kstest(phase[:, 1, 2].angle().numpy(), "uniform", args=(-math.pi, 2 * math.pi)).pvalue > 0.01
    np.testing.assert_allclose(phase[:, 3, 4].imag, 0, atol=1e-12)  # its own opposite: +1 or -1
    assert 0.45 < (phase[:, 3, 4].real > 0).double().mean() < 0.55


def test_colours_share_the_noise():
    grey = texture()
    model = fitted("rpn", grey.expand(3, -1, -1))
    sample = model.sample(1, generator=seeded())[0]
    torch.testing.assert_close(sample[0], sample[1], rtol=0, atol=1e-14)
    for kind in ("adsn", "rpn"):  # inverted second channel: samples stay exactly inverted
        model = fitted(kind, torch.cat([grey, 1 - grey, grey]))
        sample = model.sample(1, generator=seeded())[0]
        torch.testing.assert_close(sample[0] + sample[1], torch.ones(9, 8).double(), rtol=0, atol=1e-12)


def test_larger_spot_keeps_its_energy_and_sum():
    model = fitted("adsn", texture(3))
    for size in [(20, 30), (9, 30), (20, 8)]:
        spot = model.spot_on(size)
        assert spot.norm().item() == pytest.approx(model.spot.norm().item())
        assert spot.sum((1, 2)).abs().max() < 1e-12
    assert torch.equal(model.spot_on((9, 8)), model.spot)


def test_contract():
    h = texture(3)
    for kind, cls in (("adsn", ADSN), ("rpn", RPN)):
        model = fitted(kind, h)
        assert isinstance(model, cls)
        first = model.sample(2, generator=seeded(1))
        assert torch.equal(first, model.sample(2, generator=seeded(1)))
        fresh = build(kind, h.shape).double()
        fresh.load_state_dict(model.state_dict())
        assert torch.equal(fresh.sample(2, generator=seeded(1)), first)
        single = build(kind, h.shape).initialise(h.float()).sample(2)
        assert single.dtype == torch.float32


def test_wrong_inputs_are_named():
    h = texture()
    with pytest.raises(ValueError, match="divide by 255"):
        ADSN(h.shape).initialise((255 * h).to(torch.uint8))
    with pytest.raises(ValueError, match="expected shape"):
        ADSN(h.shape).initialise(h[:, 1:])
    with pytest.raises(ValueError, match="NaN"):
        RPN(h.shape).initialise(h * torch.nan)
    with pytest.raises(ValueError, match="at least its size"):
        fitted("rpn", h).sample(1, size=(4, 20))
    with pytest.raises(ValueError, match="adsn"):
        build("perlin", h.shape)

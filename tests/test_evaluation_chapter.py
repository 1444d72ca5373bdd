"""What chapter 03 proves beyond the metrics' own tests, and the experiments behind its figures."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.linalg import sqrtm
from torch import Tensor

from course_lib.distributions import gaussian_w2
from course_lib.metrics import (
    bits_per_dim,
    dequantize,
    evaluate_samples,
    feature_space,
    fid,
    inception_score,
    kid,
    mmd2,
    mode_statistics,
    prd,
)
from course_lib.models.gaussian import FullGaussian
from course_lib.training import recorded
from course_lib.training.experiments import evaluation_bias, evaluation_modes, evaluation_table


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def covariance(d, generator):
    root = torch.randn(d, d + 2, generator=generator, dtype=torch.float64)
    return root @ root.T / d


@pytest.mark.equation("evaluation-dequantisation", "evaluation-dequantisation-gap", "evaluation-bits-per-dim")
def test_what_dequantisation_loses_is_the_kl_from_noise_to_the_density_in_the_cell(generator):
    """One pixel of five levels under a logistic density: cells by its distribution function, KL by quadrature, the bound
    by the library's noise."""
    levels, centre, scale, n = 5, 0.37, 0.08, 200_000

    def log_density(x):
        t = (x - centre) / scale
        return -t - math.log(scale) - 2 * F.softplus(-t)

    edges = torch.arange(levels + 1, dtype=torch.float64) / levels
    mass = torch.sigmoid((edges - centre) / scale).diff()
    for k in range(levels):
        x = torch.linspace(edges[k], edges[k + 1], 20_001, dtype=torch.float64)
        inside = log_density(x).exp() / torch.trapezoid(log_density(x).exp(), x)
        kl = torch.trapezoid(levels * (levels / inside).log(), x).item()
        pixels = torch.full((n,), k / (levels - 1), dtype=torch.float64)
        values = log_density(dequantize(pixels, levels, generator))
        error = values.std().item() / n**0.5
        bound = -math.log(2) * bits_per_dim(values, 1, levels).mean().item()
        assert kl > 0
        assert mass[k].log().item() - bound == pytest.approx(kl, abs=4 * error + 1e-6)


@pytest.mark.equation("evaluation-noise-mixture")
@pytest.mark.parametrize("place", [0.0, 2.0, 40.0])
def test_dilution_costs_at_most_log_one_over_the_share(place):
    """One good Gaussian, one bad one at another place; the price is highest where they do not meet."""
    share = 0.01
    x = torch.linspace(-60, 100, 400_001, dtype=torch.float64)
    good = -0.5 * x**2 - 0.5 * math.log(2 * math.pi)
    bad = -0.5 * ((x - place) / 2) ** 2 - math.log(2) - 0.5 * math.log(2 * math.pi)
    diluted = torch.logaddexp(good + math.log(share), bad + math.log(1 - share))
    assert torch.trapezoid(diluted.exp(), x).item() == pytest.approx(1, abs=1e-9)
    price = torch.trapezoid(good.exp() * (good - diluted), x).item() / math.log(2)  # bits of an average image
    assert 0 < price <= math.log2(1 / share) + 1e-9
    if place == 40:
        assert price == pytest.approx(math.log2(1 / share))


@pytest.mark.equation("evaluation-inception-entropies")
def test_log_inception_score_is_entropy_of_the_mean_minus_mean_entropy(generator):
    p = torch.randn(500, 10, generator=generator, dtype=torch.float64).mul(3).softmax(1)
    categorical = torch.distributions.Categorical
    expected = categorical(p.mean(0)).entropy() - categorical(p).entropy().mean()
    assert math.log(inception_score(p, splits=1).value) == pytest.approx(expected.item(), rel=1e-10)


@pytest.mark.equation("evaluation-fid-coupling", "evaluation-fid-root")
def test_no_coupling_is_cheaper_than_the_sum_of_roots_of_eigenvalues(generator):
    a, b = covariance(5, generator), covariance(5, generator)
    root_a, root_b = (torch.from_numpy(np.real(sqrtm(m.numpy()))) for m in (a, b))
    best = torch.linalg.eigvals(a @ b).real.sqrt().sum().item()
    zero = torch.zeros(5, dtype=torch.float64)
    assert gaussian_w2(zero, a, zero, b).item() == pytest.approx((a.trace() + b.trace()).item() - 2 * best)
    for _ in range(200):
        o = torch.randn(5, 5, generator=generator, dtype=torch.float64)
        cross = root_a @ (o / torch.linalg.matrix_norm(o, 2)) @ root_b
        joint = torch.cat([torch.cat([a, cross], 1), torch.cat([cross.T, b], 1)])
        assert torch.linalg.eigvalsh(joint).min() > -1e-9
        assert cross.trace() <= best + 1e-9
    u, _, vh = torch.linalg.svd(root_b @ root_a)
    assert (root_a @ vh.T @ u.T @ root_b).trace().item() == pytest.approx(best)


def test_the_distance_is_convex_in_the_pair_of_covariances(generator):
    """The lemma behind the sign of the bias."""
    zero = torch.zeros(4, dtype=torch.float64)
    for _ in range(50):
        a1, a2, b1, b2 = (covariance(4, generator) for _ in range(4))
        middle = gaussian_w2(zero, (a1 + a2) / 2, zero, (b1 + b2) / 2)
        ends = (gaussian_w2(zero, a1, zero, b1) + gaussian_w2(zero, a2, zero, b2)) / 2
        assert middle <= ends + 1e-9


@pytest.mark.equation("evaluation-bures")
def test_second_order_of_the_distance_between_neighbours(generator):
    values = torch.tensor([0.3, 1.0, 2.5], dtype=torch.float64)
    zero, step = torch.zeros(3, dtype=torch.float64), 1e-3
    e1, e2 = (covariance(3, generator) - torch.eye(3) for _ in range(2))
    measured = gaussian_w2(zero, values.diag() + step * e1, zero, values.diag() + step * e2) / step**2
    expected = 0.5 * ((e1 - e2) ** 2 / (values + values.unsqueeze(1))).sum()
    assert measured.item() == pytest.approx(expected.item(), rel=0.01)


@pytest.mark.equation("evaluation-fid-interval")
def test_interval_is_the_influence_of_single_images(generator):
    """Influence by reweighting one point at a time and looking at what the distance does."""

    def distance(x: Tensor, weights: Tensor, y: Tensor) -> float:
        weights = weights / weights.sum()
        mean = weights @ x
        cov = (x - mean).T @ ((x - mean) * weights.unsqueeze(1))
        return gaussian_w2(mean, cov, y.mean(0), y.T.cov(correction=0)).item()

    x = torch.randn(150, 3, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 2.0, 0.5]) + 0.4
    y = torch.randn(120, 3, generator=generator, dtype=torch.float64)
    variance, step = 0.0, 1e-5
    for a, b in ((x, y), (y, x)):
        ones = torch.ones(len(a), dtype=torch.float64) / len(a)
        at_rest = distance(a, ones, b)
        moved = torch.eye(len(a), dtype=torch.float64) * step
        influence = torch.tensor([(distance(a, ones + row, b) - at_rest) / step for row in moved])
        variance += influence.var().item() / len(a)
    low, high = fid(x, y, features=None).interval
    assert (high - low) / 2 == pytest.approx(1.96 * variance**0.5, rel=0.02)


@pytest.mark.equation("evaluation-kid-moments")
def test_cubic_mmd_compares_three_moments(generator):
    x, y = (torch.randn(n, 4, generator=generator, dtype=torch.float64) + 0.3 for n in (30, 20))
    expected = 0.0
    for order, weight in ((1, 3), (2, 3), (3, 1)):
        first, second = (
            sum(torch.einsum(",".join("ijk"[:order]) + "->" + "ijk"[:order], *[row] * order) for row in z)
            / len(z)
            for z in (x, y)
        )
        expected += weight / 4**order * (first - second).square().sum().item()
    assert mmd2(x, y, kernel="cubic", unbiased=False).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.equation("evaluation-kid-error")
def test_error_of_the_kid_is_its_spread_over_new_images(generator):
    """The deviation between subsets over the root of their number, which many codes report, is far from it."""
    values, errors = [], []
    for _ in range(200):
        x, y = (torch.randn(160, 4, generator=generator, dtype=torch.float64) for _ in range(2))
        metric = kid(x + 0.7, y, features=None, subsets=40, subset_size=40)
        values.append(metric.value)
        errors.append((metric.interval[1] - metric.interval[0]) / 2 / 1.96)
    spread, error = np.std(values), np.mean(errors)
    assert error == pytest.approx(spread, rel=0.2)
    assert error * (1 / 40 / (40 / 120 + 1 / 40)) ** 0.5 < 0.4 * spread


@pytest.mark.equation("evaluation-prd-definition", "evaluation-prd")
def test_each_point_of_the_curve_splits_both_laws(generator):
    p, q = (torch.rand(8, generator=generator, dtype=torch.float64) for _ in range(2))
    p[0], q[1] = 0, 0
    p, q = p / p.sum(), q / q.sum()
    precision, recall = prd(p, q, 101)
    for alpha, rho in zip(precision[1:-1], recall[1:-1], strict=True):
        slope = alpha / rho
        shared = torch.minimum(slope * p, q) / alpha
        assert shared.sum().item() == pytest.approx(1)
        assert (q - alpha * shared > -1e-12).all()
        assert (p - rho * shared > -1e-12).all()
        more = 1.01 * torch.stack([alpha, rho])  # nothing on this ray beyond the curve fits under both laws
        assert torch.minimum(q / more[0], p / more[1]).sum() < 1
    assert precision.max().item() == pytest.approx(q[p > 0].sum().item())
    assert recall.max().item() == pytest.approx(p[q > 0].sum().item())
    middle = torch.minimum(p, q).sum().item()  # one minus the total variation distance
    assert precision[50].item() == pytest.approx(middle)


@pytest.mark.equation("evaluation-mode-floor")
def test_expected_number_of_modes_of_a_perfect_sampler(generator):
    modes, n = 50, 120
    draws = [mode_statistics(torch.randint(modes, (n,), generator=generator), modes)[0] for _ in range(2_000)]
    expected = modes * (1 - (1 - 1 / modes) ** n)
    assert np.mean(draws) == pytest.approx(expected, abs=4 * np.std(draws) / 2_000**0.5)


def test_samplers_are_what_their_names_say():
    fakes, densities, test, train = evaluation_table.samplers("glyphs", 300)
    assert all(x.shape == (300, 1, 28, 28) and x.min() >= 0 and x.max() <= 1 for x in fakes.values())
    assert len(test) == 300
    assert len(train) == 600
    few = fakes["few images, repeated"].flatten(1)
    assert len(few.unique(dim=0)) <= evaluation_table.MEMORY["glyphs"]
    assert (torch.cdist(few, train.flatten(1)).min(1).values < 1e-2).all()
    assert torch.cdist(fakes["real images"].flatten(1), train.flatten(1)).min() > 0.1
    assert set(densities) <= set(fakes)
    assert isinstance(densities["one Gaussian"], FullGaussian)


def test_remembered_features_are_the_same_and_drawn_once(generator):
    calls = []

    def network(images):
        calls.append(len(images))
        return images.flatten(1)[:, :3]

    x, y = (torch.rand(60, 1, 8, 8, generator=generator) for _ in range(2))
    space = evaluation_table.remembering(feature_space(network))
    direct = evaluate_samples(y, x, train=x, features=network)
    calls.clear()
    remembered = evaluate_samples(y, x, train=x, features=space)
    assert calls == [60, 60]
    assert {k: m.value for k, m in remembered.items()} == {k: m.value for k, m in direct.items()}


def test_bias_experiment_has_its_floor(monkeypatch):
    monkeypatch.setattr(evaluation_bias, "SMOKE", (300, (70, 300), 2))
    arrays = evaluation_bias.run("smoke")
    assert arrays["fid"].shape == arrays["kid"].shape == (4, 2, 2)
    assert np.nanmean(arrays["fid"][0, 0]) > np.nanmean(arrays["fid"][0, 1]), "the floor falls with N"


def test_stacks_without_a_nine():
    sheets = evaluation_modes.stacks("glyphs", 20)
    assert all(x.shape == (60, 1, 28, 28) for x in sheets.values())


@pytest.mark.parametrize("name", ["evaluation_table", "evaluation_bias", "evaluation_modes"])
def test_records_are_of_mnist_at_full_size(name):
    arrays, card = recorded(name)
    assert card["tier"] == "laptop"
    assert np.max(arrays["n"]) >= 10_000

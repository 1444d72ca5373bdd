"""Neighbours, precision and recall in three definitions, copies: against brute force, peers and closed forms."""

import numpy as np
import pytest
import torch
from torch import Tensor

from course_lib import data
from course_lib.metrics import (
    density_coverage,
    expected_coverage,
    f_beta,
    lenet_features,
    memorisation,
    nearest_neighbours,
    prd,
    prd_curve,
    prd_f8,
    precision_recall,
)
from course_lib.metrics import neighbours as neighbours_module

KINDS = ("gaussian", "ties", "copies", "collapsed", "near copies", "tight", "far", "double")


def case(kind: str, dim: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two sets of points, most with something that rounding could get wrong."""

    def normal(n):
        return torch.randn(n, dim, generator=generator)

    def chosen(points, n):
        return points[torch.randint(len(points), (n,), generator=generator)]

    real, fake = normal(150), 0.9 * normal(170)
    if kind == "ties":
        real, fake = real.round(), fake.round()
    elif kind == "copies":
        fake = torch.cat([chosen(real, 90), chosen(fake, 40), fake[:40]])
    elif kind == "collapsed":
        fake = real[:1].expand(170, -1)
    elif kind == "near copies":
        fake = real[0] + 1e-4 * normal(170)
    elif kind == "tight":
        real = real[0] + 1e-5 * real
        fake = chosen(real, 170) + 1e-6 * normal(170)
    elif kind == "far":
        real, fake = real + 1000, fake + 1000
    elif kind == "double":
        real, fake = real.double(), fake.double()
    return real, fake


def all_distances(x: Tensor, y: Tensor) -> Tensor:
    return torch.stack([torch.linalg.vector_norm(row - y.double(), dim=1) for row in x.double()])


def brute_radii(points: Tensor, k: int) -> Tensor:
    """Distance to the k-th nearest other point."""
    others = all_distances(points, points)
    others.fill_diagonal_(torch.inf)
    return others.sort(1).values[:, k - 1]


@pytest.mark.equation(
    "evaluation-precision", "evaluation-recall", "evaluation-density", "evaluation-coverage"
)
@pytest.mark.parametrize("dim", [2, 64])
@pytest.mark.parametrize("kind", KINDS)
def test_shares_are_those_of_all_pairs(kind, dim, generator, monkeypatch):
    monkeypatch.setattr(neighbours_module, "CHUNK", 2000)  # a dozen rows at a time
    real, fake = case(kind, dim, generator)
    distances = all_distances(fake, real)
    precision = (distances <= brute_radii(real, 3)).any(1).double().mean().item()
    recall = (distances <= brute_radii(fake, 3).unsqueeze(1)).any(0).double().mean().item()
    assert precision_recall(real, fake) == (precision, recall)
    inside = distances <= brute_radii(real, 5)
    density, coverage = inside.sum().item() / (5 * len(fake)), inside.any(0).double().mean().item()
    assert density_coverage(real, fake) == (density, coverage)


def test_precision_and_recall_are_the_peers(generator):
    from torch_fidelity.metric_prc import calculate_precision_recall_full

    real = torch.randn(400, 12, generator=generator)
    fake = 0.8 * torch.randn(400, 12, generator=generator) + 0.2
    peer = calculate_precision_recall_full(fake, real, neighborhood=3)
    assert precision_recall(real, fake) == pytest.approx(peer, abs=1e-6)
    assert peer[0] > peer[1] + 0.2


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_are_those_of_all_pairs(kind, generator):
    x, y = case(kind, 16, generator)
    distances, indices = nearest_neighbours(x, y, k=4)
    every = all_distances(x, y)
    torch.testing.assert_close(distances, every.sort(1).values[:, :4], rtol=1e-12, atol=0)
    torch.testing.assert_close(every.gather(1, indices), distances, rtol=1e-12, atol=0)
    assert all(len(set(row)) == 4 for row in indices.tolist())


@pytest.mark.parametrize("dim", [1, 64, 2048])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_screening_is_as_close_as_it_says(dim, offset, generator):
    x = 2 * torch.randn(60, dim, generator=generator).relu() + offset
    y = torch.randn(700, dim, generator=generator) + offset
    exact = all_distances(x, y).square()
    for rows, squared, slack in neighbours_module.screened(x, y):
        assert (squared - exact[rows]).abs().max() < 0.7 * slack


def test_no_chunk_is_larger_than_it_may_be(generator, monkeypatch):
    monkeypatch.setattr(neighbours_module, "CHUNK", 1000)
    x, y = torch.randn(45, 3, generator=generator), torch.randn(300, 3, generator=generator)
    chunks = [squared.shape for _, squared, _ in neighbours_module.screened(x, y)]
    assert chunks == [(3, 300)] * 15


def test_images_are_compared_by_pixels(generator):
    images = torch.rand(20, 1, 5, 5, generator=generator)
    distances, indices = nearest_neighbours(images, images.flip(0))
    assert distances.max() == 0
    assert indices.squeeze(1).tolist() == list(range(19, -1, -1))


def test_half_precision_points_are_compared_in_float32(generator):
    x = torch.randn(50, 8, generator=generator).to(torch.bfloat16)
    assert precision_recall(x, x[:30]) == precision_recall(x.float(), x[:30].float())


def test_what_cannot_be_measured_is_refused(generator):
    x = torch.randn(10, 4, generator=generator)
    for measure in (precision_recall, density_coverage):
        with pytest.raises(ValueError, match="different dimension: 4 against 5"):
            measure(x, torch.randn(10, 5))
        with pytest.raises(ValueError, match="n > 0"):
            measure(x[:0], x)
        with pytest.raises(ValueError, match="uint8"):
            measure(x, torch.zeros(10, 4, dtype=torch.uint8))
        with pytest.raises(ValueError, match="NaN"):
            measure(x, x.where(x < x.max(), torch.nan))
        with pytest.raises(ValueError, match="10 real points has 9 neighbours; asked for k=10"):
            measure(x, x, k=10)
    with pytest.raises(ValueError, match="3 generated points has 2"):
        precision_recall(x, x[:3], k=3)
    with pytest.raises(ValueError, match="between 1 and the 10"):
        nearest_neighbours(x, x, k=11)
    with pytest.raises(ValueError, match="do not fill 20 clusters"):
        prd_curve(x[:5], x[:5])


@pytest.mark.equation("evaluation-coverage-floor")
@pytest.mark.parametrize("law", [torch.randn, torch.rand])
def test_coverage_of_a_perfect_sampler_does_not_depend_on_the_law(law, generator):
    values = [
        density_coverage(law(100, 3, generator=generator), law(60, 3, generator=generator), k=4)[1]
        for _ in range(150)
    ]
    error = np.std(values) / len(values) ** 0.5
    assert abs(np.mean(values) - expected_coverage(100, 60, k=4)) < 4 * error


# Sajjadi --------------------------------------------------------------------------------------------------------------


@pytest.mark.equation("evaluation-prd")
def test_curve_is_the_best_common_part_of_two_laws():
    """By definition, p = r mu + (1 - r) nu and q = s mu + (1 - s) nu'. The largest r at s / r = lambda, as a linear
    programme for w = r mu: maximise sum w under w <= p, lambda w <= q."""
    from scipy.optimize import linprog

    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(7)), rng.dirichlet(0.4 * np.ones(7))
    precision, recall = prd(torch.from_numpy(p), torch.from_numpy(q), angles=9)
    for i in range(1, 8):
        slope = np.tan(i / 8 * np.pi / 2)
        both = {"A_ub": np.concatenate([np.eye(7), slope * np.eye(7)]), "b_ub": np.concatenate([p, q])}
        best = -linprog(-np.ones(7), **both).fun
        assert recall[i].item() == pytest.approx(best, abs=1e-9)
        assert precision[i].item() == pytest.approx(best * slope, abs=1e-9)


@pytest.mark.equation("evaluation-prd", "evaluation-f-beta")
def test_a_sampler_of_half_the_modes_has_full_precision_and_half_recall():
    """q uniform on 5 of the 10 modes of p: recall min(1/2, 1/lambda), precision min(lambda/2, 1), corner (1, 1/2)."""
    p, q = torch.full((10,), 0.1), torch.cat([torch.full((5,), 0.2), torch.zeros(5)])
    precision, recall = prd(p.double(), q.double())
    slope = torch.linspace(1e-10, np.pi / 2 - 1e-10, 1001, dtype=torch.float64).tan()
    torch.testing.assert_close(precision, (slope / 2).clamp(max=1), rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(recall, (1 / slope).clamp(max=0.5), rtol=1e-6, atol=1e-12)
    for beta in (8, 1 / 8):
        corner = (1 + beta**2) * 0.5 / (beta**2 + 0.5)
        assert f_beta(precision, recall, beta) == pytest.approx(corner, rel=2e-3)
    assert f_beta(precision, recall, 8) < 0.51 < 0.98 < f_beta(precision, recall, 1 / 8)
    swapped = prd(q.double(), p.double())  # junk in half of the samples: the two change places
    assert f_beta(*swapped, 1 / 8) == pytest.approx(f_beta(precision, recall, 8), rel=2e-3)


def test_identical_and_disjoint_sets_are_the_corners(generator):
    x = torch.randn(200, 3, generator=generator)
    assert prd_f8(x, x, runs=2) == pytest.approx((1, 1), abs=1e-6)
    assert prd_f8(x, x + 100, runs=2) == pytest.approx((0, 0), abs=1e-6)


def test_every_definition_tells_dropped_digits_from_junk():
    """Real glyphs of all digits; fakes of five digits only; fakes of all digits, a third of them noise."""
    test, train = data.dataset("glyphs", "test", n=900), data.dataset("glyphs", "train", n=1800)
    generator = torch.Generator().manual_seed(0)
    real, full = lenet_features(test.x), lenet_features(train.x[:900])
    dropped = lenet_features(train.x[train.y < 5][:900])
    noise = lenet_features(torch.rand(300, 1, 28, 28, generator=generator))
    junk = torch.cat([full[:600], noise])
    f8, f1_8 = prd_f8(real, full, runs=3)
    assert min(f8, f1_8) > 0.95
    assert prd_f8(real, dropped, runs=3)[0] < 0.7  # recall falls
    assert prd_f8(real, dropped, runs=3)[1] > 0.9
    assert prd_f8(real, junk, runs=3)[1] < 0.75  # precision falls
    assert prd_f8(real, junk, runs=3)[0] > 0.9
    precision, recall = precision_recall(real, full)
    assert precision_recall(real, dropped)[1] < recall - 0.3
    assert precision_recall(real, junk)[0] < precision - 0.25
    density, coverage = density_coverage(real, full)
    assert density_coverage(real, dropped)[1] < coverage - 0.3
    assert density_coverage(real, junk)[0] < density - 0.25


# Copies ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [lenet_features, lambda x: x])
def test_planted_copies_are_found(space):
    """Two copies, one of them with a little noise, among 300 fresh glyphs."""
    train, test = data.dataset("glyphs", "train", n=1000).x, data.dataset("glyphs", "test", n=600).x
    fake = test[300:].clone()
    generator = torch.Generator().manual_seed(0)
    fake[7] = train[123]
    fake[200] = (train[456] + 0.02 * torch.randn(1, 28, 28, generator=generator)).clamp(0, 1)
    found = memorisation(*map(space, (fake, train, test[:300])))
    assert found.copies[:2].tolist() == [7, 200]
    assert found.neighbours[[7, 200]].tolist() == [123, 456]
    assert found.distances[7] == 0
    assert len(found.copies) <= 5
    assert found.share == len(found.copies) / 300
    assert 0.4 < found.nearer < 0.6


def test_a_sampler_that_copies_everything_is_told(generator):
    train, test = torch.randn(300, 4, generator=generator), torch.randn(200, 4, generator=generator)
    found = memorisation(train[:100] + 1e-3 * torch.randn(100, 4, generator=generator), train, test)
    assert found.nearer > 0.99
    assert found.share > 0.9
    far = memorisation(torch.randn(100, 4, generator=generator) + 9, train, test)
    assert (far.nearer, far.share) == (0, 0)
    with pytest.raises(ValueError, match="different dimension"):
        memorisation(torch.randn(5, 3), train, test)

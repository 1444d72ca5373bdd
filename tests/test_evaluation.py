"""Single measurements (likelihood, Inception score, sharpness, AUROC), and the report and table that join all of them."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from course_lib import data
from course_lib.data import toy2d
from course_lib.metrics import (
    Metric,
    MetricTable,
    auroc,
    bits_per_dim,
    dequantize,
    evaluate_samples,
    fid,
    inception_score,
    lenet_features,
    precision_recall,
    sharpness,
)
from course_lib.training import load_data
from course_lib.training.evaluation import evaluate

# Likelihood -----------------------------------------------------------------------------------------------------------


@pytest.mark.equation("evaluation-dequantisation")
def test_noise_fills_each_cell_evenly(generator):
    levels = torch.arange(4).repeat_interleave(5000) / 3
    x = dequantize(levels, levels=4, generator=generator)
    for k, cell in enumerate(x.view(4, 5000)):
        assert k / 4 <= cell.min() < cell.max() < (k + 1) / 4
        assert cell.mean().item() == pytest.approx((k + 0.5) / 4, abs=4 * 0.25 / math.sqrt(12 * 5000))


@pytest.mark.equation("evaluation-dequantisation", "evaluation-bits-per-dim")
def test_a_density_bounds_the_mass_of_the_levels(generator):
    """Density 4 x1 x2 on the unit square, 4 levels. The mass of a cell is known, so is the mean log-density in it."""

    def log_prob(x):
        return (2 * x).log().sum(1)

    def mass(k):  # of the interval [k/4, (k+1)/4] under 2 x
        return ((k + 1) ** 2 - k**2) / 16

    def mean_log(k):  # E log 2x, x uniform on the same interval
        antiderivative = [t * math.log(2 * t) - t if t > 0 else 0 for t in (k / 4, (k + 1) / 4)]
        return 4 * (antiderivative[1] - antiderivative[0])

    n = 40_000
    for k1, k2 in itertools.product(range(4), repeat=2):
        x = torch.tensor([k1 / 3, k2 / 3], dtype=torch.float64).expand(n, 2)
        bits = bits_per_dim(log_prob(dequantize(x, 4, generator)), dim=2, levels=4)
        exact = -math.log2(mass(k1) * mass(k2)) / 2
        bound = -(mean_log(k1) + mean_log(k2)) / (2 * math.log(2)) + 2
        error = bits.std().item() / n**0.5
        assert abs(bits.mean().item() - bound) < 4 * error
        assert exact < bound
    # Where the density is flat in each cell the bound is the mass itself: a uniform law costs log2 K bits.
    assert bits_per_dim(torch.zeros(3), dim=5).tolist() == [8, 8, 8]
    # One level of width 1: nats of a discrete model become bits.
    assert bits_per_dim(torch.tensor(-10 * math.log(2)), dim=5, levels=1).item() == pytest.approx(2)


def test_pixels_off_the_grid_are_refused():
    with pytest.raises(ValueError, match="divide by 255"):
        dequantize(torch.zeros(3, dtype=torch.uint8))
    for wrong in (
        torch.tensor([0.3]),
        torch.tensor([-1 / 255]),
        torch.tensor([2.0]),
        torch.tensor([torch.nan]),
    ):
        with pytest.raises(ValueError, match="multiples of 1/255"):
            dequantize(wrong)


# Inception score, sharpness, AUROC ------------------------------------------------------------------------------------


@pytest.mark.equation("evaluation-inception-score")
def test_inception_score_is_the_peers(generator):
    from torch_fidelity.metric_isc import isc_features_to_metric

    logits = 3 * torch.randn(600, 10, generator=generator)
    ours = inception_score(logits.softmax(1), splits=6)
    in_turn = torch.cat([logits[s::6] for s in range(6)])
    peer = isc_features_to_metric(in_turn, splits=6, shuffle=False)
    assert ours.value == pytest.approx(peer["inception_score_mean"], rel=1e-5)
    half = 1.96 * peer["inception_score_std"] / 5**0.5
    assert ours.interval[1] - ours.value == pytest.approx(half, rel=1e-4)


@pytest.mark.equation("evaluation-inception-score")
def test_inception_score_of_known_labels():
    """Sure and even labels: K. All alike: 1. Right with probability 1/2 each of two: half."""
    assert inception_score(torch.eye(10).repeat(20, 1), splits=1).value == pytest.approx(10)
    assert inception_score(torch.full((40, 10), 0.1), splits=2).value == pytest.approx(1)
    pairs = torch.eye(5).repeat_interleave(2, 1) / 2
    assert inception_score(pairs.repeat(20, 1), splits=1).value == pytest.approx(5)
    # Sorted by label, contiguous parts would score 1.
    assert inception_score(torch.eye(10).repeat_interleave(20, 0), splits=10).value == pytest.approx(10)


def test_inception_score_refuses_logits_and_too_few():
    with pytest.raises(ValueError, match="apply softmax"):
        inception_score(torch.randn(50, 10))
    with pytest.raises(ValueError, match="sum to 1"):
        inception_score(torch.full((50, 10), torch.nan))
    with pytest.raises(ValueError, match="do not fill 10 splits"):
        inception_score(torch.full((19, 10), 0.1))
    with pytest.raises(ValueError, match=r"\(N, K\)"):
        inception_score(torch.ones(3))


@pytest.mark.equation("evaluation-sharpness")
def test_sharpness_is_the_variance_after_the_laplace_filter(generator):
    from scipy.signal import convolve2d

    images = torch.rand(4, 1, 9, 7, generator=generator)
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    expected = [convolve2d(image[0].numpy(), kernel, mode="valid").var() for image in images]
    np.testing.assert_allclose(sharpness(images), expected, rtol=1e-5)
    ramp = torch.arange(8.0).expand(1, 1, 8, 8) / 8
    board = (torch.arange(8)[:, None] + torch.arange(8)).remainder(2).float().expand(1, 1, 8, 8)
    assert sharpness(ramp).item() == pytest.approx(0, abs=1e-12)
    assert sharpness(board).item() == pytest.approx(16)
    assert sharpness(board.expand(1, 3, 8, 8)).item() == pytest.approx(16)  # grey in colours
    assert sharpness(torch.nn.functional.avg_pool2d(images, 3, 1, 1)).max() < 0.2 * sharpness(images).min()
    with pytest.raises(ValueError, match="uint8"):
        sharpness(torch.zeros(1, 1, 8, 8, dtype=torch.uint8))


@pytest.mark.equation("evaluation-auroc")
def test_auroc_is_the_share_of_pairs_in_order(generator):
    from sklearn.metrics import roc_auc_score

    inside = torch.randn(80, generator=generator).round(decimals=1) + 0.5
    outside = torch.randn(50, generator=generator).round(decimals=1)
    higher = (inside[:, None] > outside).double() + 0.5 * (inside[:, None] == outside).double()
    assert auroc(inside, outside) == pytest.approx(higher.mean().item(), abs=1e-12)
    labels = np.repeat([1, 0], [80, 50])
    assert auroc(inside, outside) == pytest.approx(roc_auc_score(labels, torch.cat([inside, outside])))
    assert auroc(inside, inside) == pytest.approx(0.5)
    assert auroc(torch.tensor([1.0, torch.inf]), torch.tensor([0.0, -torch.inf])) == 1
    for wrong in (torch.tensor([]), torch.tensor([torch.nan]), torch.zeros(2, 2)):
        with pytest.raises(ValueError, match="no NaN"):
            auroc(wrong, outside)


# The report and the table ---------------------------------------------------------------------------------------------

IMAGES = {"fid", "kid", "precision", "recall", "density", "coverage", "f8", "f1/8", "sharpness"}


@pytest.fixture(scope="module")
def glyphs() -> dict[str, Tensor]:
    return {split: data.dataset("glyphs", split, n=600).x for split in ("train", "test")}


def test_report_is_what_each_metric_says_alone(glyphs):
    real, fake = glyphs["test"], (0.8 * glyphs["train"] + 0.1).clamp(0, 1)
    values = torch.tensor([-80.0, -90.0, -100.0])
    report = evaluate_samples(
        fake, real, train=glyphs["train"], likelihood={"elbo": values, "bits_per_dim": values}, data="glyphs"
    )
    assert set(report) == IMAGES | {"copies", "elbo", "bits_per_dim"}
    assert report["fid"].value == pytest.approx(fid(real, fake).value)
    shares = precision_recall(lenet_features(real), lenet_features(fake))
    assert (report["precision"].value, report["recall"].value) == shares
    assert report["sharpness"].value == pytest.approx(sharpness(fake).mean().item())
    assert (report["elbo"].value, report["elbo"].unit) == (-90, "nats")
    assert report["bits_per_dim"].unit == "bits/dim"
    for name, metric in report.items():
        assert metric.name == name
        assert metric.card["data"] == "glyphs"
        assert (metric.card["n_real"], metric.card["n_fake"], metric.card["split"]) == (600, 600, "test")
        assert metric.card["weights"] == fid(real, fake).card["weights"]
        if metric.interval is not None:
            assert metric.interval[0] < metric.value < metric.interval[1]
    assert {name for name, m in report.items() if m.interval is None} <= {"f8", "f1/8", "copies"}


def test_interval_of_a_share_holds_the_spread_of_repeated_draws(generator):
    """Where counting independent trials would say a third of it."""

    def draw(shift):
        return torch.randn(400, 4, generator=generator) + shift

    reports = [evaluate_samples(draw(1.2), draw(0), features=None) for _ in range(12)]
    for name in ("precision", "recall"):
        values = np.array([report[name].value for report in reports])
        halves = [(m.interval[1] - m.interval[0]) / 2 for m in (report[name] for report in reports)]
        assert 0.6 < np.mean(halves) / (2 * values.std(ddof=1)) < 3
        assert values.std() > 1.5 * np.sqrt(values.mean() * (1 - values.mean()) / 400)


def test_report_measures_points_and_stacked_digits():
    generator = torch.Generator().manual_seed(0)
    toy = toy2d.grid9
    centres = toy.modes
    fake = toy(400, generator)
    fake = fake[fake[:, 0] > -1]  # a third of the modes is never reached
    report = evaluate_samples(
        fake, toy(400, generator), features=None, modes=(lambda x: torch.cdist(x, centres).argmin(1), 9)
    )
    assert report["modes"].value == 6
    assert report["mode_kl"].value == pytest.approx(math.log(1.5), abs=0.05)
    assert report["recall"].value == pytest.approx(2 / 3, abs=0.1)
    assert "sharpness" not in report

    stacked = data.stacked(data.dataset("glyphs", "test", n=1000), n=300)
    report = evaluate_samples(stacked.x, stacked.x.flip(0), modes="glyphs")
    assert set(report) == IMAGES | {"modes", "mode_kl"}
    assert report["modes"].value == pytest.approx(len(stacked.y.unique()), abs=2)
    assert report["modes"].card["classifier"] != report["fid"].card["weights"]
    assert report["fid"].value == pytest.approx(0, abs=1e-6)


def test_any_images_are_measured_with_a_function(generator):
    images = torch.rand(2, 60, 3, 8, 8, generator=generator)
    report = evaluate_samples(*images, features=colours)
    assert report["fid"].card["features"] == "colours"
    assert report["kid"].card["subset_size"] == 30


def colours(images: Tensor) -> Tensor:
    return images.mean((2, 3))


@pytest.mark.parametrize(
    ("fake", "message"),
    [
        (torch.zeros(100, 1, 28, 28, dtype=torch.uint8), "divide by 255"),
        (torch.full((100, 1, 28, 28), torch.nan), r"in \[0, 1\]"),
        (torch.rand(100, 3, 28, 28), "64 numbers, generated ones 192"),
        (torch.rand(100, 1, 32, 32), "28, 28"),
        (torch.rand(1, 1, 28, 28), "at least two samples"),
        (torch.rand(0, 1, 28, 28), "no images"),
        (torch.rand(3, 1, 28, 28), "subsets of 1 from"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*the covariance has rank")
def test_report_refuses_what_cannot_be_measured(fake, message, glyphs):
    with pytest.raises(ValueError, match=message):
        evaluate_samples(fake, glyphs["test"][:100])


def test_too_few_samples_warn_with_the_rank(generator):
    with pytest.warns(UserWarning, match="30 samples of 64 features: the covariance has rank at most 29"):
        evaluate_samples(torch.randn(30, 64, generator=generator), torch.randn(90, 64), features=None)


def metric(name="fid", value=3.0, **card) -> Metric:
    return Metric(name, value, {"features": "lenet", "weights": "0123456789abcdef", "n_fake": 100, **card})


def test_table_shows_rows_with_their_floor_and_protocol():
    table = MetricTable(floor={"fid": metric(value=0.5, seed=1)})
    table.add(
        "a <b>", {"fid": metric(value=12.0, seed=2), "elbo": Metric("elbo", -90.0, {}, (-91, -89), "nats")}
    )
    table.add("copies", {"fid": metric(value=2.0)})
    assert table.columns == ["fid", "elbo"]
    lines = str(table).splitlines()
    assert lines[0].split() == ["fid", "↓", "elbo", "↑", "(nats)"]
    assert lines[1].split() == ["real", "data", "0.500"]
    assert "-90.00 [-91.00, -89.00]" in lines[2]
    assert len({len(line) for line in lines[:4]}) == 1
    page = table._repr_html_()
    assert "<th>a &lt;b&gt;</th><td>12.00</td><td>-90.00<br><small>[-91.00, -89.00]</small></td>" in page
    assert page.count("<tr>") == 4


def test_table_names_what_its_rows_share():
    table = MetricTable({"fid": metric()}).add(
        "model", {"fid": metric(seed=4), "kid": metric("kid", subsets=5)}
    )
    assert table.protocol == {"features": "lenet", "weights": "0123456789abcdef", "n_fake": 100}
    assert str(table).splitlines()[-1] == "features lenet, weights 0123456789ab, n_fake 100"


def test_table_refuses_rows_of_another_protocol():
    table = MetricTable({"fid": metric()}).add("first", {"fid": metric()})
    with pytest.raises(ValueError, match=r"fid of 'second' against 'real data'.*n_fake: 5000 against 100"):
        table.add("second", {"fid": metric(n_fake=5000)})
    with pytest.raises(ValueError, match="weights: 'ff' against '0123456789abcdef'"):
        table.add("second", {"fid": metric(weights="ff")})
    assert list(table.rows) == ["real data", "first"]


# A stored model -------------------------------------------------------------------------------------------------------


class Sampler(nn.Module):
    """Draws from a data set: a model that has samples only."""

    def __init__(self, source):
        super().__init__()
        self.source = source

    def sample(self, n, y=None, *, generator=None):
        return self.source(n, generator)


def card(name, **options):
    return {"data": name, "recipe": {"data_options": options}}


def test_a_model_of_points_is_measured_with_its_modes():
    report = evaluate(Sampler(toy2d.ring8), card("ring8"), n=300)
    assert report["modes"].value == 8
    assert report["mode_kl"].value < 0.05
    assert report["precision"].value > 0.9
    assert report["fid"].card["features"] == "given"
    assert report["fid"].card["data"] == "ring8"


def test_a_model_of_stacked_digits_is_measured_with_its_modes():
    train = data.stacked(data.dataset("glyphs", "train", n=1000))
    model = Sampler(lambda n, generator: train.x[torch.randint(1000, (n,), generator=generator)])
    report = evaluate(model, card("glyphs", stack=True, n=1000), n=200)
    assert report["modes"].value > 150
    assert report["copies"].value == 1  # it draws from its training set


def test_a_model_of_pairs_is_given_the_outlines():
    """One that returns its outlines: its distance to the targets is that of the outlines."""

    class Tracer(nn.Module):
        def sample(self, n, y=None, *, generator=None):
            return y

    report = evaluate(Tracer(), card("glyphs", edges=True, n=300), n=200)
    outlines, targets = load_data("glyphs", "test", edges=True).x[:200].chunk(2, 1)
    assert report["l1"].value == pytest.approx((outlines - targets).abs().mean().item())
    assert report["fid"].card["data"] == "glyphs"


def test_a_density_is_measured_in_nats_and_bits():
    """A uniform law on the cube: 0 nats, 8 bits a dimension."""
    model = Sampler(lambda n, generator: torch.rand(n, 1, 28, 28, generator=generator))
    model.log_prob = lambda x: torch.where(((x >= 0) & (x <= 1)).flatten(1).all(1), 0.0, -torch.inf)
    report = evaluate(model, card("glyphs", n=500), n=100)
    assert (report["log_likelihood"].value, report["log_likelihood"].unit) == (0, "nats")
    assert (report["bits_per_dim"].value, report["bits_per_dim"].unit) == (8, "bits/dim")
    assert report["precision"].value < 0.2

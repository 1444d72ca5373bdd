"""FID, KID and their parts: closed forms, peers on the same inputs, bias, intervals, cards, bad input."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from course_lib import data
from course_lib.metrics import (
    FeatureStatistics,
    Metric,
    feature_space,
    fid,
    fid_bias,
    fid_curve,
    fid_infinity,
    frechet_distance,
    inception_features,
    kid,
    lenet_features,
    load_statistics,
    save_statistics,
)
from course_lib.metrics import frechet as frechet_module
from course_lib.metrics.inception import FIDInception


def moments(x):
    return x.mean(0).numpy(), np.cov(x.numpy(), rowvar=False)


def gaussian(n, d, generator, scale=1.0, shift=0.0):
    mix = torch.eye(d, dtype=torch.float64) + 0.1 * torch.randn(
        d, d, generator=generator, dtype=torch.float64
    )
    return scale * torch.randn(n, d, generator=generator, dtype=torch.float64) @ mix + shift


@pytest.mark.equation("evaluation-fid")
@pytest.mark.filterwarnings("ignore:The `disp` argument:DeprecationWarning")
def test_frechet_distance_is_the_peers(generator):
    from pytorch_fid.fid_score import calculate_frechet_distance
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric
    from torchmetrics.image.fid import _compute_fid

    a, b = gaussian(3000, 64, generator), gaussian(2000, 64, generator, scale=1.3, shift=0.2)
    (mu_a, cov_a), (mu_b, cov_b) = moments(a), moments(b)
    ours = frechet_distance(mu_a, cov_a, mu_b, cov_b)
    as_tensors = [torch.from_numpy(v) for v in (mu_a, cov_a, mu_b, cov_b)]
    assert ours == pytest.approx(float(_compute_fid(*as_tensors)), rel=1e-6)
    statistics = ({"mu": mu, "sigma": cov} for mu, cov in ((mu_a, cov_a), (mu_b, cov_b)))
    theirs = fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]
    assert ours == pytest.approx(theirs, rel=1e-6)
    try:
        peer = calculate_frechet_distance(mu_a, cov_a, mu_b, cov_b)
    except TypeError:  # its call of scipy.linalg.sqrtm(..., disp=False) is gone from new SciPy
        from scipy.linalg import sqrtm

        peer = ((mu_a - mu_b) ** 2).sum() + np.trace(cov_a + cov_b - 2 * np.real(sqrtm(cov_a @ cov_b)))
    assert ours == pytest.approx(peer, rel=1e-6)


def test_frechet_distance_of_known_gaussians():
    eye = np.eye(3)
    assert frechet_distance(np.zeros(3), eye, np.array([3.0, 0, 4]), eye) == pytest.approx(25)
    assert frechet_distance(np.zeros(3), eye, np.zeros(3), 4 * eye) == pytest.approx(3)
    assert frechet_distance(np.zeros(3), eye, np.zeros(3), eye) == 0


def test_statistics_in_chunks_are_numpys(generator):
    x = gaussian(1000, 16, generator, shift=1000.0)
    statistics = FeatureStatistics()
    for part in x.split([1, 10, 489, 500]):
        statistics.update(part)
    mean, cov = moments(x)
    assert statistics.n == 1000
    np.testing.assert_allclose(statistics.mean, mean, rtol=1e-13)
    np.testing.assert_allclose(statistics.cov, cov, rtol=1e-9, atol=1e-10)


def test_statistics_hold_no_more_than_the_rows_they_centre(generator, monkeypatch):
    """One large chunk and the smallest pieces give the same: what stands in memory is up to ROWS, not to the caller."""
    assert frechet_module.ROWS * 2048 * 8 < 20e6  # bytes
    x = gaussian(300, 8, generator)
    whole = FeatureStatistics().update(x)
    monkeypatch.setattr(frechet_module, "ROWS", 7)
    monkeypatch.setattr(frechet_module, "BLOCK", 3)
    pieces = FeatureStatistics().update(x)
    torch.testing.assert_close(pieces.cov, whole.cov, rtol=1e-12, atol=1e-14)
    assert torch.equal(whole.cov, whole.cov.T)


@pytest.mark.equation("evaluation-fid-bias")
def test_bias_is_the_one_known(generator):
    """Two samples of one Gaussian: 2.21 +- 0.07 at n = 1,000, and a tenth of that at 10,000; to first order d(d+5)/(2n)."""

    def value(n):
        return fid(*(torch.randn(n, 64, generator=generator) for _ in range(2)), features=None).value

    assert value(1000) == pytest.approx(2.21, abs=4 * 0.07)
    assert value(10_000) == pytest.approx(0.222, abs=4 * 0.006)
    assert fid_bias(torch.ones(64), 1000) == pytest.approx(64 * 69 / 2000, rel=1e-12)


@pytest.mark.equation("evaluation-fid-bias")
def test_bias_of_unequal_eigenvalues_is_the_mean_over_draws(generator):
    scale = torch.linspace(0.1, 3, 8, dtype=torch.float64)
    n = 4000

    def draw():
        return scale * torch.randn(n, 8, generator=generator, dtype=torch.float64)

    values = np.array([frechet_distance(*moments(draw()), *moments(draw())) for _ in range(300)])
    error = values.std() / len(values) ** 0.5
    expected = fid_bias(torch.cat([scale**2, torch.zeros(2)]), n)
    assert abs(values.mean() - expected) < 4 * error
    assert error < 0.05 * expected


@pytest.mark.equation("evaluation-fid-infinity")
def test_extrapolation_recovers_the_distance_of_the_laws(generator):
    """N(0, I) and N(0.3, 1.2^2 I) in 16 dimensions are 16 (0.3^2 + 0.2^2) apart."""
    truth, errors, biased = 16 * (0.3**2 + 0.2**2), [], []
    for _ in range(10):
        x = torch.randn(500, 16, generator=generator)
        y = 1.2 * torch.randn(600, 16, generator=generator) + 0.3
        metric = fid_infinity(x, y, features=None)
        assert metric.interval[0] < metric.value < metric.interval[1]
        errors.append((metric.value - truth) / ((metric.interval[1] - metric.value) / 1.96))
        biased.append(fid(x, y, features=None).value - truth)
    assert abs(np.mean(errors)) < 4 / 10**0.5  # standardised errors: mean 0, deviation about 1
    assert np.sqrt(np.mean(np.square(errors))) < 2
    assert min(biased) > 0
    assert metric.card["sizes"] == [125, 166, 250, 333, 500]


def test_curve_falls_towards_the_whole_sets(generator):
    x, y = torch.randn(400, 8, generator=generator), torch.randn(400, 8, generator=generator)
    sizes, values = fid_curve(x, y, features=None, sizes=(50, 100, 400), draws=4)
    assert sizes.tolist() == [50, 100, 400]
    assert values[0] > 1.5 * values[1] > 2 * values[2]
    assert values[2].item() == pytest.approx(fid(x, y, features=None).value, rel=1e-9)
    with pytest.raises(ValueError, match="from 2 to 400"):
        fid_curve(x, y, features=None, sizes=(500,))
    with pytest.raises(ValueError, match="two sizes that differ"):
        fid_infinity(x, y, features=None, sizes=(100, 100))


@pytest.mark.parametrize(("n", "dim", "shift"), [(2000, 8, 1.0), (300, 40, 0.3), (300, 40, 0.0)])
def test_interval_holds_the_spread_of_repeated_draws(generator, n, dim, shift):
    def draw(shift):
        return torch.randn(n, dim, generator=generator) * torch.linspace(0.2, 2, dim) + shift

    metrics = [fid(draw(0.0), draw(shift), features=None) for _ in range(40)]
    spread = np.std([m.value for m in metrics])
    half = np.mean([(m.interval[1] - m.interval[0]) / 2 for m in metrics]) / 1.96
    assert 0.7 < half / spread < 1.7  # at equal laws the first order is too large


def test_interval_is_that_of_the_bootstrap(generator):
    """The delta method against resampling, which knows nothing of derivatives."""
    x = torch.randn(1500, 6, generator=generator).relu()
    y = 1.3 * torch.randn(1500, 6, generator=generator).relu() + 0.1

    def resampled(z):
        return z[torch.randint(len(z), (len(z),), generator=generator)].double()

    values = [frechet_distance(*moments(resampled(x)), *moments(resampled(y))) for _ in range(200)]
    metric = fid(x, y, features=None)
    assert (metric.interval[1] - metric.value) / 1.96 == pytest.approx(np.std(values), rel=0.25)


# KID ------------------------------------------------------------------------------------------------------------------


@pytest.mark.equation("evaluation-kid")
def test_kid_is_the_peers_on_the_same_subsets(generator):
    from torch_fidelity.metric_kid import kernel_mmd
    from torchmetrics.image.kid import poly_mmd

    from course_lib.metrics.kernel_distance import draw_subsets

    x, y = gaussian(500, 32, generator), gaussian(400, 32, generator, scale=1.2, shift=0.1)
    ours = kid(x, y, features=None, subsets=5, subset_size=150, seed=3)
    draws = list(draw_subsets(500, 400, 5, 150, 3))
    assert all(len(i.unique()) == len(j.unique()) == 150 for i, j in draws)
    torchmetrics = np.mean([poly_mmd(x[i], y[j]).item() for i, j in draws])
    options = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_coef0": 1}
    options["kid_kernel_poly_gamma"] = None
    fidelity = np.mean([kernel_mmd(x[i].numpy(), y[j].numpy(), **options) for i, j in draws])
    assert ours.value == pytest.approx(torchmetrics, rel=1e-6)
    assert ours.value == pytest.approx(fidelity, rel=1e-6)


@pytest.mark.equation("evaluation-kid")
def test_kid_has_no_bias(generator):
    """One dimension, N(0, 1) and N(1, 1): k = (xy + 1)^3 = sum_j C(3, j) (xy)^j, so the squared MMD is the weighted sum of
    the squared differences of the moments, 3 (1 - 0)^2 + 3 (2 - 1)^2 + (4 - 0)^2 = 22."""
    values = [
        kid(
            torch.randn(40, 1, generator=generator),
            torch.randn(40, 1, generator=generator) + 1,
            features=None,
            subsets=4,
            subset_size=20,
        ).value
        for _ in range(2000)
    ]
    assert abs(np.mean(values) - 22) < 4 * np.std(values) / len(values) ** 0.5
    same = [
        kid(*torch.randn(2, 40, 1, generator=generator), features=None, subsets=4, subset_size=20).value
        for _ in range(500)
    ]
    assert abs(np.mean(same)) < 4 * np.std(same) / len(same) ** 0.5
    assert min(same) < 0


def test_kid_error_is_the_spread_of_repeated_draws(generator):
    """Also where the subsets hold most of the images, so that they hardly differ from each other."""
    for size in (100, 400):
        metrics = [
            kid(
                torch.randn(500, 8, generator=generator),
                torch.randn(500, 8, generator=generator) + 0.5,
                features=None,
                subsets=20,
                subset_size=size,
            )
            for _ in range(60)
        ]
        spread = np.std([m.value for m in metrics])
        half = np.mean([m.interval[1] - m.value for m in metrics]) / 1.96
        assert 0.6 < half / spread < 1.6


def test_kid_refuses_what_it_cannot_measure(generator):
    x = torch.randn(50, 4, generator=generator)
    with pytest.raises(ValueError, match="of 2 to 50 images"):
        kid(x, x, features=None)
    with pytest.raises(ValueError, match="different dimension"):
        kid(x, torch.randn(50, 5), features=None, subset_size=50)
    with pytest.raises(ValueError, match="NaN"):
        kid(x, torch.full((50, 4), torch.nan), features=None, subset_size=50)
    with pytest.raises(ValueError, match="uint8"):
        kid(x, torch.zeros(50, 4, dtype=torch.uint8), features=None, subset_size=50)
    with pytest.raises(ValueError, match="n > 0"):
        kid(x[:0], x, features=None)
    assert kid(x, x + 1, features=None, subset_size=50).interval is None


# Bad input, cards, stored statistics ----------------------------------------------------------------------------------


def test_bad_features_are_refused(generator):
    x = torch.randn(50, 4, generator=generator)
    with pytest.raises(ValueError, match="NaN"):
        FeatureStatistics().update(torch.full((5, 2), torch.nan))
    with pytest.raises(ValueError, match="uint8"):
        FeatureStatistics().update(torch.zeros(5, 2, dtype=torch.uint8))
    with pytest.raises(ValueError, match="length 3 after ones of length 4"):
        FeatureStatistics().update(x).update(torch.zeros(5, 3))
    with pytest.raises(ValueError, match="4 numbers, generated ones 5"):
        fid(x, torch.randn(50, 5), features=None)
    with pytest.raises(ValueError, match="two covariances"):
        frechet_distance(np.zeros(2), np.eye(2), np.zeros(3), np.eye(3))
    with pytest.raises(ValueError, match="at least two"):
        fid(x, x[:1], features=None)
    with pytest.raises(ValueError, match="NaN"):
        frechet_distance(np.zeros(2), np.eye(2), np.array([np.nan, 0]), np.eye(2))
    with pytest.warns(UserWarning, match="rank at most 9"):
        FeatureStatistics().update(torch.randn(10, 20)).cov  # noqa: B018


def test_metrics_of_different_protocols_do_not_compare(generator):
    a = Metric("fid", 3.0, {"features": "lenet", "n_fake": 1000, "seed": 0})
    b = Metric("fid", 2.0, {"features": "lenet", "n_fake": 1000, "seed": 1})
    c = Metric("fid", 2.0, {"features": "lenet", "n_fake": 5000, "seed": 0})
    assert a - b == 1
    assert b < a
    for other in (c, Metric("kid", 1.0, a.card)):
        with pytest.raises(ValueError, match="measured differently"):
            assert a < other
    with pytest.raises(TypeError, match="Metric with a Metric"):
        assert a < 3.0
    assert Metric.from_json(a.to_json()) == a


def test_values_are_written_with_the_digits_they_have():
    assert str(Metric("fid", 12.3456, {}, (11.0, 13.7))) == "12.35 [11.00, 13.70]"
    assert str(Metric("kid", 0.00123, {}, (-0.01, 0.01234), "nats")) == "0.0012 [-0.0100, 0.0123] nats"
    assert str(Metric("modes", 1000, {})) == "1,000"
    assert str(Metric("recall", 0.0, {})) == "0.00"
    mean = Metric.mean("elbo", torch.tensor([1.0, 3.0]), {}, "nats")
    assert mean.value == 2
    assert mean.interval == pytest.approx((2 - 1.96, 2 + 1.96))


def test_stored_statistics_come_back(tmp_path, generator):
    x = torch.randn(100, 5, generator=generator)
    statistics = FeatureStatistics().update(x)
    save_statistics(tmp_path / "x.safetensors", statistics, {"features": "given"})
    mean, cov, card = load_statistics(tmp_path / "x.safetensors")
    assert torch.equal(mean, statistics.mean)
    assert torch.equal(cov, statistics.cov)
    assert card["n"] == 100


def test_lenet_features_are_taken_in_eval_mode_and_do_not_depend_on_the_batch():
    images = data.dataset("glyphs", "test", n=64).x
    features = lenet_features(images)
    assert features.shape == (64, 64)
    torch.testing.assert_close(features[:10], lenet_features(images[:10], batch=3), rtol=1e-4, atol=1e-4)
    assert features.min() >= 0


def test_lenet_fid_orders_what_it_must():
    test = data.dataset("glyphs", "test", n=2000).x
    train = data.dataset("glyphs", "train", n=2000).x
    generator = torch.Generator().manual_seed(0)
    noisy = (train + 0.3 * torch.randn(train.shape, generator=generator)).clamp(0, 1)
    floor, off = fid(test, train), fid(test, noisy)
    assert floor < off
    assert floor.card["weights"] == off.card["weights"] != ""
    assert off.value > 20 * floor.value


def test_stored_reference_is_what_the_images_give():
    space = feature_space("lenet")
    fake, test = (space(data.dataset("glyphs", split, n=10_000).x) for split in ("train", "test"))
    stored, direct = (fid(real, fake, space.extracted()) for real in ("glyphs", test))
    assert stored.value == pytest.approx(direct.value, rel=1e-3)
    assert stored.card == direct.card
    assert stored.interval[1] < direct.interval[1]  # one sample's chance instead of two


def test_lenet_reads_colours_one_by_one():
    digits = data.dataset("glyphs", "test", n=6).x
    stacked = digits.view(2, 3, 28, 28)
    torch.testing.assert_close(lenet_features(stacked), lenet_features(digits).view(2, 192))


@pytest.mark.parametrize("network", [lenet_features, inception_features])
def test_wrong_images_are_refused_before_any_network_runs(network):
    with pytest.raises(ValueError, match="divide by 255"):
        network(torch.zeros(2, 1, 28, 28, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        network(torch.full((2, 1, 28, 28), 2.0))
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        network(torch.full((2, 1, 28, 28), torch.nan))
    with pytest.raises(ValueError, match="no images"):
        network(torch.zeros(0, 1, 28, 28))


def test_lenet_refuses_another_size():
    with pytest.raises(ValueError, match="28, 28"):
        lenet_features(torch.zeros(2, 1, 32, 32))


def test_without_weights_the_inception_features_say_what_to_do(tmp_path, monkeypatch):
    from course_lib.metrics.inception import load_inception

    def no_network(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", no_network)
    with pytest.raises(FileNotFoundError, match="features='lenet' needs no download"):
        load_inception(tmp_path)


@pytest.mark.slow
def test_inception_is_pytorch_fids_network_with_the_same_random_weights():
    """The peer's constructor downloads; its blocks do not, so the network is put together from them."""
    from pytorch_fid import inception as peer
    from torchvision.models import inception_v3

    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        theirs = inception_v3(num_classes=1008, aux_logits=False, weights=None, init_weights=False)
        theirs.Mixed_5b = peer.FIDInceptionA(192, pool_features=32)
        theirs.Mixed_5c = peer.FIDInceptionA(256, pool_features=64)
        theirs.Mixed_5d = peer.FIDInceptionA(288, pool_features=64)
        theirs.Mixed_6b = peer.FIDInceptionC(768, channels_7x7=128)
        theirs.Mixed_6c = peer.FIDInceptionC(768, channels_7x7=160)
        theirs.Mixed_6d = peer.FIDInceptionC(768, channels_7x7=160)
        theirs.Mixed_6e = peer.FIDInceptionC(768, channels_7x7=192)
        theirs.Mixed_7b = peer.FIDInceptionE_1(1280)
        theirs.Mixed_7c = peer.FIDInceptionE_2(2048)
        ours = FIDInception()
        x = torch.rand(2, 3, 64, 64)
    ours.net.load_state_dict(theirs.state_dict())
    theirs.fc, theirs.dropout = nn.Identity(), nn.Identity()
    scaled = 2 * nn.functional.interpolate(x, size=(299, 299), mode="bilinear", align_corners=False) - 1
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(scaled), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_inception_keeps_torchvisions_blocks_where_the_fid_variant_changes_nothing():
    """Same random weights, same features: in the stem and the reductions, and in all towers but the pools of the others."""
    from torchvision.models import Inception3

    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        ours = FIDInception().eval().net
        theirs = Inception3(num_classes=1008, aux_logits=False, init_weights=False).eval()
        theirs.load_state_dict(ours.state_dict())

        def outputs(channels, *names, side=9):
            x = torch.rand(2, channels, side, side)
            for net in (ours, theirs):
                y = x
                for name in names:
                    y = getattr(net, name)(y)
                yield y

        stem = (
            "Conv2d_1a_3x3",
            "Conv2d_2a_3x3",
            "Conv2d_2b_3x3",
            "maxpool1",
            "Conv2d_3b_1x1",
            "Conv2d_4a_3x3",
        )
        for case in ((3, *stem, "maxpool2"), (288, "Mixed_6a"), (768, "Mixed_7a")):
            mine, peers = outputs(*case, side=75 if case[0] == 3 else 9)
            assert mine.std() > 0
            assert torch.equal(mine, peers)

        pools = {"5b": (192, 32), "5c": (256, 64), "5d": (288, 64), "6b": (768, 192), "6c": (768, 192)}
        pools |= {"6d": (768, 192), "6e": (768, 192), "7b": (1280, 192), "7c": (2048, 192)}
        for name, (channels, pooled) in pools.items():
            mine, peers = outputs(channels, f"Mixed_{name}")
            assert torch.equal(mine[:, :-pooled], peers[:, :-pooled])
            mine, peers = mine[:, -pooled:], peers[:, -pooled:]
            assert not torch.allclose(mine, peers)  # the border, where the pad counts or does not
            inside = (..., slice(1, -1), slice(1, -1))
            if name == "7c":  # a maximum instead of a mean: other numbers everywhere
                assert not torch.allclose(mine[inside], peers[inside])
            else:
                torch.testing.assert_close(mine[inside], peers[inside], rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(
    not os.environ.get("COURSE_DATA") or not Path(os.environ["COURSE_DATA"], "MNIST").exists(),
    reason="COURSE_DATA does not name a folder with MNIST",
)
def test_the_frozen_classifier_is_as_good_as_its_card_says():
    import course_lib

    model, test = course_lib.load("digit_classifier_mnist"), data.dataset("mnist", "test")
    accuracy = 100 * model.accuracy(test.x, test.y)
    assert accuracy >= 99.2
    assert accuracy == pytest.approx(model.card["metrics"]["accuracy"]["value"], abs=0.03)

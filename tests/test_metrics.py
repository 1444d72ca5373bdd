"""FID and its parts: closed forms, peers on the same inputs, bias, cards, bad input."""

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
    fid,
    frechet_distance,
    inception_features,
    lenet_features,
    load_statistics,
    save_statistics,
)
from course_lib.metrics.inception import FIDInception


def moments(x):
    return x.mean(0).numpy(), np.cov(x.numpy(), rowvar=False)


def gaussian(n, d, generator, scale=1.0, shift=0.0):
    mix = torch.eye(d, dtype=torch.float64) + 0.1 * torch.randn(
        d, d, generator=generator, dtype=torch.float64
    )
    return scale * torch.randn(n, d, generator=generator, dtype=torch.float64) @ mix + shift


def test_frechet_distance_is_the_peers(generator):
    from pytorch_fid.fid_score import calculate_frechet_distance
    from torchmetrics.image.fid import _compute_fid

    a, b = gaussian(3000, 64, generator), gaussian(2000, 64, generator, scale=1.3, shift=0.2)
    (mu_a, cov_a), (mu_b, cov_b) = moments(a), moments(b)
    ours = frechet_distance(mu_a, cov_a, mu_b, cov_b)
    as_tensors = [torch.from_numpy(v) for v in (mu_a, cov_a, mu_b, cov_b)]
    assert ours == pytest.approx(float(_compute_fid(*as_tensors)), rel=1e-6)
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


def test_bias_is_the_one_known(generator):
    """Two samples of one Gaussian: 2.21 +- 0.07 at n = 1,000, and a tenth of that at 10,000; to first order d(d+5)/(2n)."""

    def value(n):
        return fid(*(torch.randn(n, 64, generator=generator) for _ in range(2)), features=None).value

    assert value(1000) == pytest.approx(2.21, abs=4 * 0.07)
    assert value(10_000) == pytest.approx(0.222, abs=4 * 0.006)
    assert value(10_000) == pytest.approx(64 * 69 / 20_000, rel=0.12)


def test_interval_holds_the_spread_of_repeated_draws(generator):
    def draw(shift):
        return torch.randn(2000, 8, generator=generator) + shift

    metrics = [fid(draw(0.0), draw(1.0), features=None) for _ in range(20)]
    spread = np.std([m.value for m in metrics])
    half = np.mean([(m.interval[1] - m.interval[0]) / 2 for m in metrics]) / 1.96
    assert 0.6 < half / spread < 1.6


def test_bad_features_are_refused(generator):
    x = torch.randn(50, 4, generator=generator)
    with pytest.raises(ValueError, match="NaN"):
        FeatureStatistics().update(torch.full((5, 2), torch.nan))
    with pytest.raises(ValueError, match="uint8"):
        FeatureStatistics().update(torch.zeros(5, 2, dtype=torch.uint8))
    with pytest.raises(ValueError, match="length 3 after ones of length 4"):
        FeatureStatistics().update(x).update(torch.zeros(5, 3))
    with pytest.raises(ValueError, match="two covariances"):
        fid(x, torch.randn(50, 5), features=None)
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
    stored = fid("glyphs", data.dataset("glyphs", "train", n=10_000).x)
    direct = fid(data.dataset("glyphs", "test").x, data.dataset("glyphs", "train", n=10_000).x)
    assert stored.value == pytest.approx(direct.value, rel=1e-3)
    assert stored.card == direct.card


@pytest.mark.parametrize("network", [lenet_features, inception_features])
def test_wrong_images_are_refused_before_any_network_runs(network):
    with pytest.raises(ValueError, match="divide by 255"):
        network(torch.zeros(2, 1, 28, 28, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        network(torch.full((2, 1, 28, 28), 2.0))
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        network(torch.full((2, 1, 28, 28), torch.nan))


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

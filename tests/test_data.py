"""Data sets: contract, determinism, factors, and errors that help."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_lib import data
from course_lib.data import glyphs, image_sets, masters, toy2d

MNIST_ROOT = os.environ.get("COURSE_DATA")
needs_mnist = pytest.mark.skipif(
    not MNIST_ROOT or not (Path(MNIST_ROOT) / "MNIST").exists(),
    reason="COURSE_DATA does not name a folder with MNIST",
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(image_sets, "cache_folder", lambda: tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("glyphs", (1, 28, 28)),
        ("digits", (1, 8, 8)),
        ("shapes", (1, 64, 64)),
        ("fading_squares", (1, 32, 32)),
    ],
)
def test_items_are_images_in_unit_range_with_labels(name, shape, cache):
    images = data.dataset(name, "test", n=50)
    x, y = images[3]
    assert x.shape == shape
    assert x.dtype == torch.float32
    assert y.dtype == torch.int64
    assert images.x.shape == (50, *shape)
    assert 0 <= images.x.min() < images.x.max() <= 1
    batch, labels = images.__getitems__([3, 4])
    assert torch.equal(batch[0], x)
    assert labels.shape == (2,)


def test_glyphs_are_the_same_bytes_everywhere():
    images = data.dataset("glyphs", n=2000, seed=7)
    assert hashlib.sha256(images.pixels.numpy().tobytes()).hexdigest()[:16] == "30a5bdba52f8f6dd"


def test_splits_and_seeds_differ(cache):
    first, test, other = (
        data.dataset("glyphs", s, n=100, seed=k) for s, k in [("train", 0), ("test", 0), ("train", 1)]
    )
    assert not torch.equal(first.pixels, test.pixels)
    assert not torch.equal(first.pixels, other.pixels)
    assert torch.equal(first.pixels, data.dataset("glyphs", n=100).pixels)


def test_glyph_factors_tell_the_whole_picture(cache):
    images = data.dataset("glyphs", n=64, size=28)
    again = glyphs.render({"label": images.y, **images.factors})
    assert torch.equal(again, images.pixels)
    assert set(images.factors) == {"font", *glyphs.RANGES}
    for name, (low, high) in glyphs.RANGES.items():
        assert ((images.factors[name] >= low) & (images.factors[name] <= high)).all()


def test_glyph_factors_move_what_they_name():
    factors = {"label": torch.tensor([3]), "font": torch.tensor([0])}
    factors |= {name: torch.zeros(1, dtype=torch.float64) for name in glyphs.RANGES} | {
        "scale": torch.ones(1)
    }

    def centre(**changes):
        image = glyphs.render(
            {**factors, **{k: torch.tensor([v], dtype=torch.float64) for k, v in changes.items()}}
        )[0, 0]
        image = image.double()
        ticks = torch.arange(28, dtype=torch.float64)
        return (
            (image.sum(0) @ ticks / image.sum()).item(),
            (image.sum(1) @ ticks / image.sum()).item(),
            image.sum(),
        )

    x, y, ink = centre()
    assert centre(shift_x=2.0)[0] - x == pytest.approx(2, abs=0.05)
    assert centre(shift_y=-3.0)[1] - y == pytest.approx(-3, abs=0.05)
    assert centre(stroke=0.8)[2] > 1.3 * ink
    assert centre(scale=0.8)[2] < 0.75 * ink


def test_there_are_enough_faces_and_variety():
    assert len(masters.FACES) >= 8
    assert masters.load().shape == (len(masters.FACES), 10, masters.SIDE, masters.SIDE)
    x = data.dataset("glyphs").x[:5000].flatten(1).double()
    values = torch.linalg.eigvalsh(torch.cov(x.T)).flip(0)
    needed = int((values.cumsum(0) / values.sum() < 0.9).sum()) + 1
    assert needed > 30


@pytest.mark.slow
def test_masters_are_what_the_fonts_give():
    shipped = np.load(masters.PATH)["field"].astype(int)
    rendered = masters.render(oversampling=6).astype(int)
    # Another oversampling or FreeType moves an outline by a fraction of a pixel, a wrong glyph by many.
    assert np.abs(shipped - rendered).mean() < 1.0
    assert np.abs(shipped - rendered).max() <= 12


@pytest.mark.slow
def test_a_small_lenet_finds_glyphs_neither_trivial_nor_noise():
    train, test = data.dataset("glyphs"), data.dataset("glyphs", "test", n=5000)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10),
        )  # fmt: skip
        optimizer = torch.optim.Adam(network.parameters(), 2e-3)
        for _ in range(5):
            for part in torch.randperm(len(train)).split(128):
                x, y = train.__getitems__(part.tolist())
                optimizer.zero_grad()
                F.cross_entropy(network(x), y).backward()
                optimizer.step()
    with torch.no_grad():
        accuracy = (network(test.x).argmax(1) == test.y).double().mean().item()
    assert 0.95 < accuracy < 0.995


def test_cache_is_used_and_a_damaged_one_is_not(cache):
    first = data.dataset("glyphs", n=30)
    (file,) = (cache / "glyphs").iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    assert torch.equal(data.dataset("glyphs", n=30).pixels, first.pixels)
    assert np.load(file).shape == (30, 1, 28, 28)  # mended on the way
    np.save(file, np.zeros((30, 1, 28, 28), np.uint8))
    assert data.dataset("glyphs", n=30).x.max() == 0  # read, not drawn anew


def test_unknown_names_say_what_there_is():
    with pytest.raises(ValueError, match="glyphs, shapes"):
        data.dataset("mnsit")
    with pytest.raises(ValueError, match="train, test"):
        data.dataset("glyphs", "valid")
    with pytest.raises(ValueError, match="one size"):
        data.dataset("digits", size=16)
    with pytest.raises(ValueError, match="400 images; asked for n=401"):
        data.dataset("digits", "test", n=401)
    with pytest.raises(ValueError, match="unknown texture"):
        data.texture("wood")


def test_missing_files_say_what_to_do(tmp_path, monkeypatch):
    from torchvision import datasets

    def no_network(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(datasets.MNIST, "download", no_network)
    with pytest.raises(FileNotFoundError, match=r"COURSE_DATA.*need no download"):
        data.dataset("mnist", root=tmp_path)


@needs_mnist
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_torchvision_sets_load_whole(name):
    images = data.dataset(name, "test")
    assert images.x.shape == (10_000, 1, 28, 28)
    assert images.y.bincount().min() > 800


@needs_mnist
def test_a_truncated_file_is_said_to_be_damaged(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in (Path(MNIST_ROOT) / "MNIST" / "raw").iterdir():
        shutil.copyfile(file, raw / file.name)
    target = raw / "t10k-images-idx3-ubyte"
    target.write_bytes(target.read_bytes()[:5000])
    with pytest.raises(OSError, match="damaged"):
        data.dataset("mnist", "test", root=tmp_path)


def test_data_folder_prefers_argument_then_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "environment"))
    assert data.data_folder(tmp_path) == tmp_path
    assert data.data_folder() == tmp_path / "environment"
    monkeypatch.delenv("COURSE_DATA")
    assert data.data_folder() == data.cache_folder()


def test_from_array_takes_the_usual_layouts_and_refuses_the_rest():
    rgb = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    assert data.from_array(rgb).shape == (3, 8, 8)
    assert torch.equal(data.from_array(rgb / 255).pixels, data.from_array(rgb).pixels)
    assert data.from_array(rgb[..., 0]).shape == (1, 8, 8)
    with pytest.raises(ValueError, match="divide by 255"):
        data.from_array(rgb.astype(float))
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        data.from_array(np.full((2, 8, 8), np.nan))
    with pytest.raises(ValueError, match="int64"):
        data.from_array(rgb.astype(np.int64))
    with pytest.raises(ValueError, match="as many labels"):
        data.from_array(rgb, [0, 1])


def test_from_folder_reads_classes_and_names_a_bad_file(tmp_path):
    from PIL import Image

    for label, colour in enumerate([(255, 0, 0), (0, 255, 0)]):
        folder = tmp_path / f"class{label}"
        folder.mkdir()
        Image.new("RGB", (40, 30), colour).save(folder / "a.png")
    images = data.from_folder(tmp_path, size=16)
    assert images.shape == (3, 16, 16)
    assert images.y.tolist() == [0, 1]
    assert images.x[0, 0].min() == 1
    (tmp_path / "class0" / "b.png").write_text("not a picture")
    with pytest.raises(ValueError, match=r"b\.png is not a readable picture"):
        data.from_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="no picture"):
        data.from_folder(tmp_path / "nothing")


def test_static_binarisation_has_the_right_mean_and_is_fixed():
    images = data.dataset("digits")
    binary = data.binarize(images)
    assert set(binary.x.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(binary.pixels, data.binarize(images).pixels)
    assert (binary.pixels[images.pixels == 0] == 0).all()
    assert (binary.pixels[images.pixels == 255] == 255).all()
    error = images.x.std().item() / images.x.numel() ** 0.5
    assert abs(binary.x.mean() - images.x.mean()).item() < 5 * error


def test_stacking_makes_colours_and_labels():
    images = data.dataset("digits")
    stack = data.stacked(images, n=500)
    assert stack.shape == (3, 8, 8)
    assert stack.y.max() <= 999
    assert len(stack.y.unique()) > 300
    with pytest.raises(ValueError, match="grey"):
        data.stacked(stack)


def test_fading_squares_have_one_factor(cache):
    images = data.dataset("fading_squares", n=20)
    grey = (255 * images.factors["grey"]).round()
    assert torch.equal(images.pixels[:, 0, 16, 16].double(), grey)
    assert (images.pixels[:, 0, 0] == 0).all()
    assert torch.linalg.matrix_rank(images.x.flatten(1)) == 1


def test_shapes_follow_their_factors(cache):
    images = data.dataset("shapes", n=60)
    ticks = torch.arange(64).double()
    ink = images.x[:, 0].double()
    centre_x = (ink.sum(1) * ticks).sum(1) / ink.sum((1, 2))
    correlation = torch.corrcoef(torch.stack([centre_x, images.factors["x"]]))[0, 1]
    assert correlation > 0.98


@pytest.mark.parametrize("toy", [toy2d.grid25, toy2d.grid9, toy2d.ring8, toy2d.checkerboard])
def test_toy_densities_integrate_to_one_and_match_their_samples(toy, generator):
    samples = toy(20_000, generator).double()
    log_prob = toy.log_prob(samples)
    assert log_prob.isfinite().all()
    # E_p[f/p] = integral of f: importance-check a smooth f with a known integral, a wide Gaussian.
    wide = torch.distributions.Normal(torch.zeros(2).double(), 3.0)
    if toy is not toy2d.checkerboard:
        axis = torch.linspace(-6, 6, 1201, dtype=torch.float64)
        grid = torch.cartesian_prod(axis, axis)
        assert toy.log_prob(grid).exp().sum().item() * 0.01**2 == pytest.approx(1, abs=1e-6)
        entropy = np.log(len(toy.modes)) + 1 + np.log(2 * np.pi * toy.std**2)  # modes hardly overlap
        assert log_prob.mean().item() == pytest.approx(-entropy, abs=5 * log_prob.std().item() / 20_000**0.5)
    else:
        weight = wide.log_prob(samples).sum(1).exp() / log_prob.exp()
        axis = torch.linspace(-2, 2, 2001, dtype=torch.float64)[:-1] + 0.001
        grid = torch.cartesian_prod(axis, axis)
        inside = toy.log_prob(grid).isfinite()
        exact = (wide.log_prob(grid).sum(1).exp() * inside).sum().item() * 0.002**2
        assert weight.mean().item() == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("name", ["swiss_roll", "two_moons", "pinwheel"])
def test_toys_without_a_density_have_no_log_prob(name, generator):
    toy = getattr(toy2d, name)
    assert toy(100, generator).shape == (100, 2)
    assert not hasattr(toy, "log_prob")


def test_mixture_density_and_samples_agree(generator):
    x = torch.linspace(-6, 6, 20_001, dtype=torch.float64)
    density = data.mixture1d.log_prob(x).exp()
    assert torch.trapezoid(density, x).item() == pytest.approx(1, abs=1e-9)
    draws = data.mixture1d(50_000, generator).double()
    assert draws.mean().item() == pytest.approx(torch.trapezoid(density * x, x).item(), abs=0.03)
    with pytest.raises(ValueError, match="sum to 1"):
        data.Mixture1D(weights=(0.5, 0.6))


@pytest.mark.parametrize("name", data.TEXTURES)
def test_textures_are_photographs_in_unit_range(name):
    image = data.texture(name, size=128)
    assert image.shape[1:] == (128, 128)
    assert image.dtype == torch.float64
    assert 0 <= image.min() < image.max() <= 1


def test_large_sets_are_read_image_by_image_and_train_too():
    """torchvision's FakeData stands for CelebA, whose files are not ours to ship: same interface, same picture size."""
    from torchvision.datasets import FakeData

    from course_lib.models import build
    from course_lib.training import Recipe, fit

    images = image_sets.LazyImages("celeba", "train", FakeData(size=12, image_size=(3, 218, 178)), size=32)
    x, y = images[5]
    assert x.shape == (3, 32, 32)
    assert x.dtype == torch.float32
    assert 0 <= x.min() < x.max() <= 1
    assert y.ndim == 0
    model = build(
        "vae",
        image_shape=[3, 32, 32],
        latent_dim=4,
        network="conv",
        width=4,
        hidden=[16],
        likelihood="gaussian",
    )
    for data_set in (images, torch.utils.data.Subset(images, range(8))):
        run = fit(model, data_set, Recipe("vae", "celeba", "smoke", steps=3, batch_size=4), progress=False)
        assert np.isfinite(run.losses["all"]).all()

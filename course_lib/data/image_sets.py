"""Image data sets behind one function: `dataset(name, split, root=None, ...)`.

Where data lives: the `root` argument, else the environment variable `COURSE_DATA`, else the platform's cache folder.
Drawn sets (glyphs, shapes) are computed, and kept in the platform's cache folder.
"""

import dataclasses
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from platformdirs import user_cache_dir
from torch import Tensor
from torch.utils.data import Dataset

from course_lib.data import glyphs, shapes

SPLITS = ("train", "test")


def cache_folder() -> Path:
    """The platform's cache folder for this course (on Linux, `XDG_CACHE_HOME` moves it)."""
    return Path(user_cache_dir("deep-generative-course", appauthor=False))


def data_folder(root: str | Path | None = None) -> Path:
    """Where downloaded data sets live: `root`, else `COURSE_DATA`, else the platform's cache folder."""
    return Path(root or os.environ.get("COURSE_DATA") or cache_folder())


@dataclasses.dataclass
class ImageData(Dataset):
    """Images in memory with labels and, where they are known, factors of variation.

    Items are `(x, label)` with `x` `(C, H, W)` float32 in [0, 1]; a list of indices gives a batch.

    Attributes:
        name, split: what it is.
        pixels: `(N, C, H, W)` uint8, the storage.
        y: `(N,)` int64 labels.
        factors: name -> `(N,)` tensor, empty where unknown.
    """

    name: str
    split: str
    pixels: Tensor
    y: Tensor
    factors: dict[str, Tensor] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.pixels.ndim != 4 or self.pixels.dtype != torch.uint8:
            raise ValueError(
                f"pixels must be uint8 (N, C, H, W); got {self.pixels.dtype} {tuple(self.pixels.shape)}"
            )
        if self.y.shape != (len(self.pixels),):
            raise ValueError(f"{len(self.pixels)} images need as many labels; got {tuple(self.y.shape)}")

    @property
    def x(self) -> Tensor:
        """All images, `(N, C, H, W)` float32 in [0, 1]."""
        return self.pixels.float() / 255

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return tuple(self.pixels.shape[1:])

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.pixels[index].float() / 255, self.y[index]

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        return self.__getitem__(torch.as_tensor(indices))

    def head(self, n: int) -> "ImageData":
        """The first `n` images.

        Raises:
            ValueError: there are fewer.
        """
        if not 0 < n <= len(self):
            raise ValueError(f"{self.name} ({self.split}) has {len(self)} images; asked for n={n}")
        return dataclasses.replace(
            self,
            pixels=self.pixels[:n],
            y=self.y[:n],
            factors={name: value[:n] for name, value in self.factors.items()},
        )


class LazyImages(Dataset):
    """Items of a torchvision data set too large for memory, as `(x, label)` of the course's form."""

    def __init__(self, name: str, split: str, source: Dataset, size: int):
        from torchvision.transforms import v2

        self.name, self.split, self.source = name, split, source
        self.transform = v2.Compose(
            [
                v2.CenterCrop(140),
                v2.Resize(size, antialias=True),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
            ]
        )

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, label = self.source[index]
        return self.transform(image), torch.as_tensor(label).reshape(-1)[0]


def dataset(
    name: str,
    split: str = "train",
    root: str | Path | None = None,
    *,
    n: int | None = None,
    size: int | None = None,
    seed: int = 0,
) -> ImageData | LazyImages:
    """The data set `name`.

    Args:
        name: glyphs, digits, shapes, fading_squares, mnist, fashion_mnist, cifar10 or celeba.
        split: "train" or "test".
        root: data folder of the downloaded sets; see `data_folder`.
        n: how many images; a drawn set draws that many, another gives its first n. All of them if left out
            (drawn sets: 20,000 for training, 10,000 for testing).
        size: side in pixels, for glyphs (28), shapes (64), fading_squares (32) and celeba (64) only.
        seed: of a drawn set. Training and test images of one seed are different draws.

    Raises:
        ValueError: unknown name, split or size.
        FileNotFoundError: the files are neither in the data folder nor to be downloaded.
        OSError: files that are there but damaged.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
    if name in _DRAWN:
        return _drawn(name, split, n, size, seed)
    if name not in _LOADED:
        raise ValueError(f"unknown data set {name!r}: expected one of {', '.join([*_DRAWN, *_LOADED])}")
    if size is not None and name != "celeba":
        raise ValueError(f"{name} comes in one size; `size` is for {', '.join(_DRAWN)} and celeba")
    if name == "celeba":
        data = _celeba(split, data_folder(root), size or 64)
        return data if n is None else torch.utils.data.Subset(data, range(n))
    data = _LOADED[name](name, split, data_folder(root))
    return data if n is None else data.head(n)


# Drawn sets -----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Drawn:
    size: int
    draw: Callable[[int, torch.Generator], dict[str, Tensor]]
    render: Callable[[dict[str, Tensor], int], Tensor]
    version: int


_DRAWN = {
    "glyphs": _Drawn(28, glyphs.draw_factors, glyphs.render, glyphs.VERSION),
    "shapes": _Drawn(64, shapes.draw_shape_factors, shapes.render_shapes, 1),
    "fading_squares": _Drawn(32, shapes.draw_fade_factors, shapes.render_fading_squares, 1),
}


def _drawn(name: str, split: str, n: int | None, size: int | None, seed: int) -> ImageData:
    kind = _DRAWN[name]
    n = n if n is not None else {"train": 20_000, "test": 10_000}[split]
    size = size or kind.size
    if n < 1 or size < 8:
        raise ValueError(f"{name} needs n >= 1 images of size >= 8 pixels; got n={n}, size={size}")
    generator = torch.Generator().manual_seed(2 * seed + SPLITS.index(split))
    factors = kind.draw(n, generator)
    path = cache_folder() / name / f"v{kind.version}-{split}-{n}-{size}-{seed}.npy"
    pixels = _cached(path, lambda: kind.render(factors, size).numpy(), (n, 1, size, size))
    label = factors.pop("label")
    return ImageData(name, split, torch.from_numpy(pixels), label, factors)


def _cached(path: Path, compute: Callable[[], np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """The array at `path`, computed and stored if it is not there whole. Without a writable folder, only computed."""
    try:
        stored = np.load(path, allow_pickle=False)
        if stored.shape == shape and stored.dtype == np.uint8:
            return stored
    except (OSError, ValueError, EOFError):
        pass
    pixels = compute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            np.save(file, pixels)
        os.replace(file.name, path)
    except OSError:
        pass
    return pixels


# Shipped and downloaded sets ------------------------------------------------------------------------------------------


def _digits(name: str, split: str, folder: Path) -> ImageData:
    """scikit-learn's 1,797 handwritten digits of 8x8 pixels and 17 grey levels: 1,397 to train on, 400 to test."""
    from sklearn.datasets import load_digits

    source = load_digits()
    order = torch.randperm(len(source.target), generator=torch.Generator().manual_seed(0))
    part = order[:1397] if split == "train" else order[1397:]
    pixels = (torch.from_numpy(source.images) * 255 / 16).round().to(torch.uint8).unsqueeze(1)
    return ImageData(name, split, pixels[part], torch.from_numpy(source.target).long()[part])


_TORCHVISION = {  # name: (class, images to train, images to test, shape)
    "mnist": ("MNIST", 60_000, 10_000, (1, 28, 28)),
    "fashion_mnist": ("FashionMNIST", 60_000, 10_000, (1, 28, 28)),
    "cifar10": ("CIFAR10", 50_000, 10_000, (3, 32, 32)),
}


def _torchvision(name: str, split: str, folder: Path) -> ImageData:
    class_name, n_train, n_test, shape = _TORCHVISION[name]
    source = _open(class_name, folder, train=split == "train")
    pixels = torch.as_tensor(source.data)
    pixels = pixels.permute(0, 3, 1, 2).contiguous() if pixels.ndim == 4 else pixels.unsqueeze(1)
    expected = (n_train if split == "train" else n_test, *shape)
    if tuple(pixels.shape) != expected:
        raise OSError(
            f"the {class_name} files in {folder} hold images {tuple(pixels.shape)}, expected {expected}: "
            "delete that folder's files of this data set and fetch them anew"
        )
    return ImageData(name, split, pixels, torch.as_tensor(source.targets))


def _celeba(split: str, folder: Path, size: int) -> LazyImages:
    return LazyImages("celeba", split, _open("CelebA", folder, split=split, target_type="identity"), size)


def _open(class_name: str, folder: Path, **options):
    """The torchvision data set in `folder`, downloaded if it is not there."""
    from torchvision import datasets

    cls = getattr(datasets, class_name)
    try:
        return cls(folder, download=False, **options)
    except RuntimeError as error:
        if "not found" not in str(error):
            raise _damaged(class_name, folder, error) from error
    except (OSError, ValueError, AssertionError, EOFError) as error:
        raise _damaged(class_name, folder, error) from error
    try:
        return cls(folder, download=True, **options)
    except Exception as error:  # whatever the network, the disk or the checksum says
        raise FileNotFoundError(
            f"{class_name} is not in {folder} and could not be downloaded ({type(error).__name__}: {error}). "
            f"Put torchvision's files for it in that folder, or name the folder that holds them with "
            "root=... or the environment variable COURSE_DATA. `glyphs` and `digits` need no download."
        ) from error


def _damaged(class_name: str, folder: Path, error: Exception) -> OSError:
    return OSError(
        f"the {class_name} files in {folder} are damaged ({type(error).__name__}: {error}): "
        "a file is cut short or is not what its name says. Delete them and fetch them anew"
    )


_LOADED = {
    "digits": _digits,
    "mnist": _torchvision,
    "fashion_mnist": _torchvision,
    "cifar10": _torchvision,
    "celeba": _celeba,
}


# Your own images, and sets made from sets -----------------------------------------------------------------------------


def from_array(x, y=None, name: str = "array") -> ImageData:
    """Your own images.

    Args:
        x: uint8 in 0..255 or float in [0, 1]; `(N, H, W)`, `(N, H, W, C)` or `(N, C, H, W)` with C = 1 or 3.
        y: `(N,)` integer labels; zeros if left out.

    Raises:
        ValueError: another shape, floats outside [0, 1], or NaN.
    """
    x = torch.as_tensor(x)
    if x.ndim == 3:
        x = x.unsqueeze(1)
    elif x.ndim == 4 and x.shape[1] not in (1, 3) and x.shape[3] in (1, 3):
        x = x.permute(0, 3, 1, 2)
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ValueError(
            f"images must be (N, H, W), (N, H, W, C) or (N, C, H, W), C 1 or 3; got {tuple(x.shape)}"
        )
    if x.is_floating_point():
        if not bool(((x >= 0) & (x <= 1)).all()):  # NaN fails too
            raise ValueError(
                f"float images must lie in [0, 1]; got {x.min():.3g} .. {x.max():.3g}: divide by 255?"
            )
        x = (x * 255).round().to(torch.uint8)
    elif x.dtype != torch.uint8:
        raise ValueError(f"images must be uint8 in 0..255 or float in [0, 1]; got {x.dtype}")
    y = torch.zeros(len(x), dtype=torch.int64) if y is None else torch.as_tensor(y).long()
    return ImageData(name, "train", x.contiguous(), y)


def from_folder(path: str | Path, size: int = 32, grey: bool = False) -> ImageData:
    """Your own images from a folder, one sub-folder a class (or no sub-folder at all).

    Each is resized so that its shorter side is `size`, and its centre cut out.

    Raises:
        FileNotFoundError: no folder, or no picture in it.
        ValueError: a file with a picture's ending that is none.
    """
    from PIL import Image, UnidentifiedImageError
    from torchvision.transforms import v2

    path = Path(path)
    endings = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"}
    files = sorted(f for f in path.rglob("*") if f.suffix.lower() in endings)
    if not files:
        raise FileNotFoundError(f"no picture ({', '.join(sorted(endings))}) in {path.resolve()}")
    classes = sorted({f.parent for f in files})
    cut = v2.Compose([v2.Resize(size, antialias=True), v2.CenterCrop(size), v2.PILToTensor()])
    images = []
    for file in files:
        try:
            with Image.open(file) as image:
                images.append(cut(image.convert("L" if grey else "RGB")))
        except (UnidentifiedImageError, OSError) as error:
            raise ValueError(f"{file} is not a readable picture: {error}") from error
    labels = torch.tensor([classes.index(f.parent) for f in files])
    return ImageData(path.name, "train", torch.stack(images), labels)


def binarize(data: ImageData, seed: int = 0) -> ImageData:
    """Static binarisation: each pixel becomes 1 with probability its grey value, once and for all.

    The protocol of Salakhutdinov & Murray 2008. Log-likelihoods compare only between models of the same binarisation;
    their published files were drawn with another seed than ours, so compare means over the test set, not images.
    """
    offset = SPLITS.index(data.split)
    generator = torch.Generator().manual_seed(2 * seed + offset)
    uniform = torch.randint(255, data.pixels.shape, generator=generator, dtype=torch.uint8)  # 0 .. 254
    return dataclasses.replace(
        data, name=f"{data.name}_binary", pixels=(data.pixels > uniform).to(torch.uint8) * 255
    )


def stacked(data: ImageData, n: int | None = None, seed: int = 0) -> ImageData:
    """Three random images of `data` as the red, green and blue channel: 1,000 modes from ten classes.

    Labels are 100 r + 10 g + b. As many images as `data` has, unless `n` says otherwise.

    Raises:
        ValueError: images that are not grey.

    Source: Metz et al. 2017 (Stacked MNIST).
    """
    if data.shape[0] != 1:
        raise ValueError(f"stacking needs grey images; {data.name} has {data.shape[0]} channels")
    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(len(data), (n or len(data), 3), generator=generator)
    pixels = data.pixels[which].squeeze(2)  # (n, 3, H, W)
    label = (data.y[which] * torch.tensor([100, 10, 1])).sum(1)
    return ImageData(f"stacked_{data.name}", data.split, pixels, label)

"""Feature networks of the metrics: our frozen LeNet for 28x28 grey images, and the Inception network of the published FID.

Three habits move a published number without a word, so they are refused or fixed here: features in train mode, images
rescaled one by one, and another resize.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import course_lib
from course_lib import checkpoints
from course_lib.nn import LeNet


def check_images(images: Tensor) -> None:
    """Refuse what a feature network should not see.

    Raises:
        ValueError: no images, or not floats `(N, C, H, W)` in [0, 1].
    """
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(
            f"images must be float (N, C, H, W) in [0, 1]; got {images.dtype} {tuple(images.shape)}"
            + (": divide by 255" if images.dtype == torch.uint8 else "")
        )
    if len(images) == 0:
        raise ValueError("no images to measure")
    low, high = images.amin().item(), images.amax().item()
    if not (low >= -1e-6 and high <= 1 + 1e-6):  # NaN fails too
        raise ValueError(
            f"images must lie in [0, 1]; got {low:.3g} .. {high:.3g}: clip or rescale all of them alike"
        )


@torch.no_grad()
def in_batches(network: Callable[[Tensor], Tensor], images: Tensor, batch: int = 1000) -> Tensor:
    """The network's outputs for many images, float32 on the processor."""
    return torch.cat([network(part).float().cpu() for part in images.split(batch)])


@functools.cache
def digit_classifier(digits: str = "mnist") -> tuple[LeNet, str]:
    """Our frozen classifier of "mnist" or "glyphs" in eval mode, and the SHA-256 of its weights.

    Raises:
        ValueError: other digits.
    """
    if digits not in ("mnist", "glyphs"):
        raise ValueError(f"there is a classifier of 'mnist' and of 'glyphs', none of {digits!r}")
    state, card = checkpoints.load(checkpoints.PRETRAINED / f"digit_classifier_{digits}.safetensors")
    network = LeNet(**card["model"])
    network.load_state_dict(state)
    return network.eval(), card["sha256"]


def lenet_features(images: Tensor, batch: int = 1000) -> Tensor:
    """Features of 28x28 images in the digit classifier's last hidden layer, `(N, 64)` float32, eval mode.

    Colour channels are read one by one and their features joined, `(N, 192)`: made for stacked digits.

    Raises:
        ValueError: images of another shape, or not floats in [0, 1].
    """
    check_images(images)
    grey = images.flatten(0, 1).unsqueeze(1)  # (N * C, 1, 28, 28)
    network = digit_classifier()[0].to(images.device)
    return in_batches(network.features, grey, batch).view(len(images), -1)


@functools.cache
def _inception() -> tuple[nn.Module, str]:
    from course_lib.metrics.inception import load_inception

    return load_inception()


def inception_features(images: Tensor, batch: int = 50) -> Tensor:
    """The 2,048 pool features of the published FID's Inception network, `(N, 2048)` float32, eval mode.

    Grey images are repeated to three channels. Pre-processing: bilinear to 299x299 (no antialiasing, corners not aligned),
    then [0, 1] to [-1, 1].

    Raises:
        ValueError: images not floats in [0, 1].
        FileNotFoundError: the weights are neither in the data folder nor to be downloaded.
    """
    check_images(images)
    network = _inception()[0].to(images.device)
    return in_batches(lambda part: network(part.expand(-1, 3, -1, -1)), images, batch)


def weights_hash(name: str) -> str:
    """SHA-256 of the weights behind "lenet" or "inception"."""
    return {"lenet": digit_classifier, "inception": _inception}[name]()[1]


@dataclasses.dataclass(frozen=True)
class FeatureSpace:
    """A feature network with what a card says of it.

    Attributes:
        name: "lenet", "inception", a function's name, or "given" where the inputs are features already.
        weights: SHA-256 of the network's weights, "" for none.
        resize: what is done to the images' size.
        extract: from images to features `(N, d)`.
    """

    name: str
    weights: str
    resize: str
    extract: Callable[[Tensor], Tensor]

    def __call__(self, images: Tensor) -> Tensor:
        """Features `(N, d)` on the processor."""
        return self.extract(images).cpu()

    def extracted(self) -> "FeatureSpace":
        """The same space for inputs that are its features already: several metrics of one set need them only once."""
        return dataclasses.replace(self, extract=_identity)

    @property
    def card(self) -> dict[str, Any]:
        """The network's entries in a card."""
        return {"features": self.name, "weights": self.weights, "resize": self.resize}

    def protocol(self, n_real: int, n_fake: int, split: str, seed: int | None) -> dict[str, Any]:
        """The card of a comparison of so many real and generated images in this space."""
        numbers = {"n_real": n_real, "n_fake": n_fake, "split": split, "dtype": "float64", "seed": seed}
        return {**self.card, **numbers, "version": course_lib.__version__}


Features = str | Callable[[Tensor], Tensor] | FeatureSpace | None  # what a metric takes as `features`


def _identity(x: Tensor) -> Tensor:
    return x


def feature_space(features: Features) -> FeatureSpace:
    """The space that "lenet", "inception", a function, or None (features are given) names.

    Raises:
        ValueError: another name.
    """
    if isinstance(features, FeatureSpace):
        return features
    if features is None:
        return FeatureSpace("given", "", "none", _identity)
    if callable(features):
        return FeatureSpace(getattr(features, "__name__", "function"), "", "none", features)
    if features == "lenet":
        return FeatureSpace("lenet", weights_hash("lenet"), "none", lenet_features)
    if features == "inception":
        return FeatureSpace("inception", weights_hash("inception"), "299 bilinear", inception_features)
    raise ValueError(f"unknown features {features!r}: expected 'lenet', 'inception', a function, or None")

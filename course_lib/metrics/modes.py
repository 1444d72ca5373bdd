"""Which modes does a sampler reach, and how evenly?

Three digits stacked as colours make 1,000 modes. A mode is read by a digit classifier, so its mistakes are in every number:
`digit_classifier_mnist` for stacked MNIST, `digit_classifier_glyphs` for stacked glyphs. Their cards say how often they are
right on a single test image; three of them in a row are right with about the third power of that. (The MNIST classifier reads
only 93 % of the glyphs.)

Source: Metz et al. 2017; Srivastava et al. 2017.
"""

import torch
from torch import Tensor

from course_lib.metrics.features import check_images, digit_classifier, in_batches

STACKED_MODES = 1000


def stacked_modes(images: Tensor, digits: str = "mnist") -> Tensor:
    """The mode 100 r + 10 g + b of stacked digits, `(N,)` int64.

    Args:
        images: `(N, 3, 28, 28)` float in [0, 1].
        digits: what was stacked, "mnist" or "glyphs".

    Raises:
        ValueError: images of another kind, or other digits.
    """
    check_images(images)
    if images.shape[1] != 3:
        raise ValueError(f"stacked digits are images (N, 3, 28, 28); got {tuple(images.shape)}")
    network = digit_classifier(digits)[0].to(images.device)
    predicted = in_batches(network, images.flatten(0, 1).unsqueeze(1)).argmax(1).view(-1, 3)
    return (predicted * torch.tensor([100, 10, 1])).sum(1)


def mode_statistics(modes: Tensor, n_modes: int) -> tuple[int, float]:
    """How many modes have a sample, and KL(frequencies of the samples || uniform) in nats.

    Args:
        modes: `(N,)` integers, the mode of each sample. n_modes: how many there are.

    Raises:
        ValueError: no samples, not integers, or modes outside 0 .. n_modes - 1.

    Implements: evaluation-mode-kl
    """
    return len(modes.unique()), mode_log_ratios(modes, n_modes).mean().item()


def mode_log_ratios(modes: Tensor, n_modes: int) -> Tensor:
    """log(frequency of a sample's mode / uniform frequency) of each sample, `(N,)` nats: their mean is the KL."""
    if modes.ndim != 1 or modes.is_floating_point() or len(modes) == 0:
        raise ValueError(f"modes must be integers (N,) with N > 0; got {modes.dtype} {tuple(modes.shape)}")
    if modes.min() < 0 or modes.max() >= n_modes:
        raise ValueError(f"modes must lie in 0 .. {n_modes - 1}; got {modes.min()} .. {modes.max()}")
    frequency = torch.bincount(modes, minlength=n_modes).double() / len(modes)
    return (frequency * n_modes).log()[modes]


def kl_floor(n_modes: int, n: int) -> float:
    """The KL of n samples of a perfect sampler of equal modes, on average and to first order: (n_modes - 1) / 2n nats.

    Implements: evaluation-mode-floor
    """
    return (n_modes - 1) / (2 * n)

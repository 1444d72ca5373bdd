"""The Inception score: are single samples easy to label, and the labels varied? It never looks at a real image."""

import torch
from torch import Tensor

import course_lib
from course_lib.metrics.card import Metric


def inception_score(probabilities: Tensor, splits: int = 10) -> Metric:
    """exp E KL(p(y|x) || p(y)), the mean over splits.

    Args:
        probabilities: `(N, K)` class probabilities of generated images.
        splits: parts; each has its own p(y). Part s is every `splits`-th sample, so the order of the samples is harmless.

    Returns:
        Between 1 and K, with the 95 % interval of the mean over splits.

    Raises:
        ValueError: rows that are not probabilities, or fewer than two samples a split.

    Implements: evaluation-inception-score
    Source: Salimans et al. 2016.
    """
    if probabilities.ndim != 2 or not probabilities.is_floating_point():
        raise ValueError(
            f"expected probabilities (N, K); got {probabilities.dtype} {tuple(probabilities.shape)}"
        )
    p = probabilities.double()
    if not bool((p >= 0).all() and ((p.sum(1) - 1).abs() < 1e-4).all()):
        raise ValueError(
            "each row must hold probabilities that sum to 1: apply softmax to logits, look for NaN"
        )
    if splits < 1 or len(p) < 2 * splits:
        raise ValueError(f"{len(p)} samples do not fill {splits} splits with two each")
    scores = []
    for part in (p[s::splits] for s in range(splits)):
        terms = torch.special.xlogy(part, part) - torch.special.xlogy(part, part.mean(0))
        scores.append(terms.sum(1).mean().exp())
    scores = torch.stack(scores)
    interval = None
    if splits > 1:
        half = 1.96 * scores.std().item() / splits**0.5
        interval = (scores.mean().item() - half, scores.mean().item() + half)
    card = {"n_fake": len(p), "classes": p.shape[1], "splits": splits, "version": course_lib.__version__}
    return Metric("inception_score", scores.mean().item(), card, interval)

"""Out-of-distribution detection: does a score tell foreign data from the model's own?"""

import torch
from torch import Tensor


def auroc(inside: Tensor, outside: Tensor) -> float:
    """Area under the ROC curve: the probability that an inside score exceeds an outside one, ties counted half.

    Args:
        inside: `(n,)` scores of data like the training data, high where the model feels at home (log p(x), -energy).
        outside: `(m,)` scores of foreign data.

    Returns:
        1 = perfect, 0.5 = chance, 0 = perfectly wrong.

    Raises:
        ValueError: empty, or NaN.

    Implements: evaluation-auroc
    """
    for scores in (inside, outside):
        if scores.ndim != 1 or len(scores) == 0 or bool(scores.isnan().any()):
            raise ValueError(f"expected scores (n,) with n > 0 and no NaN; got {tuple(scores.shape)}")
    ordered = outside.double().sort().values
    inside = inside.double()
    wins = torch.searchsorted(ordered, inside) + torch.searchsorted(ordered, inside, right=True)
    return wins.double().mean().item() / (2 * len(ordered))

"""What the metrics that compare every point with every other share: the check of their inputs, and distances."""

import torch
from torch import Tensor

CHUNK = 2**22  # distances held at a time: 16 MB in float32


def check_points(x: Tensor, y: Tensor) -> None:
    """Refuse what is not two sets of points of one dimension.

    Points that are being trained are not looked at for NaN: the look would hold up the device at each step, and a NaN
    loss stops `fit` anyway.

    Raises:
        ValueError: not float matrices `(n, d)` and `(m, d)`, an empty one, or NaN.
    """
    trained = x.requires_grad or y.requires_grad
    for points in (x, y):
        if points.ndim != 2 or not points.is_floating_point() or len(points) == 0:
            raise ValueError(
                f"expected float points (n, d) with n > 0; got {points.dtype} {tuple(points.shape)}"
                + (": flatten images first" if points.ndim > 2 else "")
            )
        # NaN is both the least and the largest value, and looking for these takes no memory.
        if not trained and not bool(points.amin().isfinite() & points.amax().isfinite()):
            raise ValueError("points hold NaN or infinity: look for the sample that went wrong")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"points of different dimension: {x.shape[1]} against {y.shape[1]}")


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """||x_i - y_j||^2 for all pairs, `(n, m)`, by one matrix product.

    Rounding is of the order of 1e-7 (float32) or 1e-16 (float64) of the squared norms: centre data whose mean is far
    from the origin.
    """
    products = torch.addmm(y.square().sum(1), x, y.T, alpha=-2)  # ||y||^2 - 2 x.y
    return products.add(x.square().sum(1, keepdim=True)).clamp(min=0)

"""What the check cells of an exercise are written with: inputs, diagnoses, printed values.

An exercise has two kinds of checks. The *visible* check tells a student what is wrong; the *check* cell prints values
of the student's function, and the grader compares the text with what the reference solution prints. Both draw their
inputs by name, so a result never depends on which cells ran before. Visible check (role `visible`):

    from course_lib.grading import checks

    x, mean = checks.inputs("log_prob, visible", (4, 3), (4, 3))      # float64 tensors, standard normal
    D = x.shape[1]
    right = torch.distributions.Normal(mean, 1.0).log_prob(x).sum(1)
    checks.compare(
        log_prob(x, mean), right, name="log_prob",
        hints={
            "0.5 (D^2 - D) log 2 pi too low: the constant is multiplied by D": right - 0.5 * (D * D - D) * LOG_2PI,
            "the mean over dimensions where the sum is meant": right / D,
        },
    )

Check (role `check`, tag `nbval-check-output`), all of it between the markers of hidden tests:

    x, mean = checks.inputs("log_prob", (4, 3), (4, 3))
    variance = torch.from_numpy(checks.rng("log_prob, variance").uniform(0.5, 2.0, size=(4, 3)))
    checks.show("log_prob", log_prob(x, mean, variance))               # check log_prob (4,): -3.456 -7.201 ...

Rules that keep a check fair: print values, never verdicts ("correct", True); let every printed value move with the
inputs, so that no constant is right for all seeds; pass noise in as a tensor made here rather than let the student's
code draw it; do not read the tier, a data set or another exercise's answer; avoid results that hang on rounding (a sum
of 10^6 terms, an argmax between near ties, an eigenvector's sign); print no more values than the check needs.
"""

import json
import math
import os
import zlib

import numpy as np

DIGITS = 4  # significant digits that `show` prints
ZERO = 1e-9  # smaller values are rounding errors of a zero and print as 0
MOST_VALUES = 200  # in one `show`


def rng(name: str) -> np.random.Generator:
    """A numpy generator that depends on `name` and the seed in force (`COURSE_CHECK_SEED`, 0 when unset), nothing else.

    Two draws that should differ have two names.
    """
    return np.random.default_rng([int(os.environ.get("COURSE_CHECK_SEED", "0")), zlib.crc32(name.encode())])


def inputs(name: str, *shapes: tuple[int, ...]):
    """Standard normal float64 tensors, one for each shape (a single tensor for a single shape), drawn from `rng(name)`."""
    import torch

    generator = rng(name)
    drawn = [torch.from_numpy(np.asarray(generator.standard_normal(shape))) for shape in shapes]
    return drawn[0] if len(drawn) == 1 else drawn


def show(name: str, value) -> None:
    """Print `value` (number, sequence, array or tensor) with its shape and 4 significant digits, on one line.

    Integers and booleans print exactly, floats below 1e-9 in size print as 0. Each line begins with "check ", and the
    grader compares only such lines: what a student's function prints beside them costs nothing.

    Raises:
        TypeError: `value` is no number or array (for instance None).
        ValueError: more than 200 values.
    """
    array = _as_array(name, value)
    if array.size > MOST_VALUES:
        raise ValueError(
            f"{name} has {array.size} values, shape {array.shape}: a check shows at most {MOST_VALUES}"
        )
    shape = f" {array.shape}" if array.ndim else ""
    _keep_exact_values(array)
    print(f"check {name}{shape}:", *(_text(v) for v in array.ravel().tolist()))


def compare(
    student, reference, hints: dict | None = None, *, name="your answer", rtol=1e-4, atol=1e-7
) -> None:
    """Print that the student's value agrees with the reference, or raise and say what the most likely mistake is.

    Args:
        student: what the student's function returned.
        reference: the right value, computed in the cell by a route that does not give the answer away.
        hints: what is wrong -> the value that this mistake gives. The first one that the student's value agrees with is
            named. Without a match the usual suspects are tried: sign, factor, offset, transpose, sum against mean.
        name: the function, as the student knows it.
        rtol, atol: agreement means |student - reference| <= atol + rtol |reference|.

    Raises:
        AssertionError: the values differ; the message names the most likely mistake.
    """
    right = _as_array(name, reference).astype(np.float64)
    try:
        got = _as_array(name, student).astype(np.float64)
    except TypeError as error:
        raise AssertionError(str(error)) from None

    def agree(a, b):
        return a.shape == b.shape and np.allclose(a, b, rtol=rtol, atol=atol)

    if agree(got, right):
        print(f"{name}: agrees with the reference on these inputs")
        return
    for label, wrong in (hints or {}).items():
        wrong = _as_array(name, wrong).astype(np.float64)
        if agree(got, wrong) and not agree(wrong, right):
            raise AssertionError(f"{name} is wrong: {label}. {_difference(got, right)}")
    raise AssertionError(f"{name} is wrong: {_usual_suspect(got, right, agree)}. {_difference(got, right)}")


def _as_array(name: str, value) -> np.ndarray:
    if value is None:
        raise TypeError(f"{name} is None: does the function end with `return`?")
    if hasattr(value, "detach"):  # a tensor; bfloat16 and half have no numpy twin, so floats widen first
        value = value.detach().cpu()
        value = (value.double() if value.is_floating_point() else value).numpy()
    elif isinstance(value, (list, tuple)):
        value = [_as_array(name, v) for v in value]
    try:
        array = np.asarray(value)
    except ValueError:
        raise TypeError(f"{name} holds parts of different shapes: {[v.shape for v in value]}") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be numbers, an array or a tensor of reals; got {type(value).__name__}")
    return array


def _text(value) -> str:
    if isinstance(value, (bool, int)):
        return str(value)
    return "0" if abs(value) < ZERO else f"{value:.{DIGITS}g}"


def near_boundary(value: float, margin: float = 1e-3) -> bool:
    """Whether a last-digit disagreement could change what `show` prints of this float.

    `margin` is in units of the last printed digit: 1e-3 is a relative error between 1e-7 and 1e-6.
    """
    size = abs(value)
    if not math.isfinite(size) or size < 0.5 * ZERO:
        return False
    if size < 2 * ZERO:
        return True
    scaled = size / 10.0 ** (math.floor(math.log10(size)) - DIGITS + 1)
    return abs(scaled - math.floor(scaled) - 0.5) < margin


def _keep_exact_values(array: np.ndarray) -> None:
    """For the run of the solution alone: leave the unrounded floats where the grader looks for near ties."""
    path = os.environ.get("COURSE_CHECK_FULL")
    if path and array.dtype.kind == "f":
        with open(path, "a") as file:
            file.write(json.dumps(array.ravel().tolist()) + "\n")


def _difference(got: np.ndarray, right: np.ndarray) -> str:
    if got.shape != right.shape:
        return f"(Got shape {got.shape}, expected {right.shape}.)"
    worst = np.unravel_index(np.argmax(np.nan_to_num(np.abs(got - right), nan=np.inf)), got.shape)
    place = f"At index {', '.join(map(str, worst))}: g" if got.ndim else "G"
    return (
        f"({place}ot {got[worst]:.6g}, expected {right[worst]:.6g}, off by {got[worst] - right[worst]:.6g}.)"
    )


def _usual_suspect(got: np.ndarray, right: np.ndarray, agree) -> str:
    if got.shape != right.shape:
        return _wrong_shape(got, right, agree)
    if (np.isfinite(right) & ~np.isfinite(got)).any():
        return "it holds nan or inf: look for a log of 0, a division by 0 or an overflowing exp"
    if agree(got, -right):
        return "the sign is flipped"
    if got.ndim == 2 and agree(got, right.T):
        return "it is transposed"
    if right.size > 1:
        factor = np.vdot(right, got) / max(np.vdot(right, right), 1e-300)
        if abs(factor) > 1e-6 and agree(got, factor * right):
            return f"every value is {factor:.6g} times the reference: a constant factor"
        if agree(got, right + np.mean(got - right)):
            return f"every value is off by the same {np.mean(got - right):.6g}: a constant term"
    return "the values differ"


def _wrong_shape(got: np.ndarray, right: np.ndarray, agree) -> str:
    if got.ndim == 0 and agree(got, right.sum()):
        return "it is summed over everything; one value per item is wanted"
    if got.ndim == 0 and agree(got, right.mean()):
        return "it is averaged over everything; one value per item is wanted"
    if right.ndim == 1 and got.shape == right.shape * 2:
        return "(n, 1) and (n,) broadcast to (n, n): give both the same shape"
    if got.size == right.size and agree(got.reshape(right.shape), right):
        return "the values are right, the shape is not"
    return "the shape is wrong"

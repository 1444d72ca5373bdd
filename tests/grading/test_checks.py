"""The helpers of the check cells."""

import json

import numpy as np
import pytest
import torch

from course_lib.grading import checks


def printed(capsys, *args) -> str:
    checks.show(*args)
    return capsys.readouterr().out


def test_inputs_depend_on_name_and_seed_only(monkeypatch):
    monkeypatch.delenv("COURSE_CHECK_SEED", raising=False)
    a, b = checks.inputs("a", (4, 3), (2,))
    checks.inputs("something else", (100,))
    torch.manual_seed(5)
    again, _ = checks.inputs("a", (4, 3), (2,))
    assert a.dtype == torch.float64
    assert (a.shape, b.shape) == ((4, 3), (2,))
    assert torch.equal(a, again)
    assert not torch.equal(a, checks.inputs("b", (4, 3)))
    monkeypatch.setenv("COURSE_CHECK_SEED", "0")
    assert torch.equal(a, checks.inputs("a", (4, 3)))
    monkeypatch.setenv("COURSE_CHECK_SEED", "1")
    assert not torch.equal(a, checks.inputs("a", (4, 3)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234.56, "check f: 1235"),
        (-0.000123456, "check f: -0.0001235"),
        (-0.0, "check f: 0"),
        (3e-17, "check f: 0"),
        (float("nan"), "check f: nan"),
        (-float("inf"), "check f: -inf"),
        (7, "check f: 7"),
        (123456, "check f: 123456"),
        (True, "check f: True"),
        (np.float32(2.5), "check f: 2.5"),
        (torch.tensor(2.5, dtype=torch.bfloat16), "check f: 2.5"),
        (torch.ones(2, 2, requires_grad=True) / 3, "check f (2, 2): 0.3333 0.3333 0.3333 0.3333"),
        ([torch.tensor(1.0), 2.0], "check f (2,): 1 2"),
        ((3, 4), "check f (2,): 3 4"),
    ],
)
def test_show(value, text, capsys):
    assert printed(capsys, "f", value) == text + "\n"


@pytest.mark.parametrize("value", [None, "1.0", {"a": 1}, 1j, [torch.zeros(2), torch.zeros(3)], [None]])
def test_show_refuses_what_is_no_number(value):
    with pytest.raises(TypeError, match="f"):
        checks.show("f", value)


def test_show_refuses_long_arrays():
    with pytest.raises(ValueError, match="at most 200"):
        checks.show("f", np.zeros(201))


def test_exact_values_are_kept_for_the_reference_run_only(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_CHECK_FULL", str(tmp_path / "exact"))
    checks.show("f", [1 / 3, 2.0])
    checks.show("counts", [1, 2])
    assert [json.loads(line) for line in (tmp_path / "exact").read_text().splitlines()] == [[1 / 3, 2.0]]


@pytest.mark.parametrize("value", [1.23450000001, -0.0123449999, 9.9995, 999950.0, 1.0001e-9])
def test_near_ties_between_roundings(value):
    assert checks.near_boundary(value)


@pytest.mark.parametrize("value", [0.0, 1e-17, 1.0, -1.2341, 1.2346, 9.999, 1e6, float("nan"), float("inf")])
def test_values_far_from_ties(value):
    assert not checks.near_boundary(value)


def test_a_value_far_from_a_tie_prints_the_same_after_a_rounding_error():
    values = np.random.default_rng(0).lognormal(sigma=5, size=2000)
    safe = [v for v in values if not checks.near_boundary(v)]
    assert len(safe) > 1980
    assert all(checks._text(v) == checks._text(v * (1 + 1e-8)) == checks._text(v * (1 - 1e-8)) for v in safe)


X = np.array([[1.0, -2.0], [0.5, 4.0]])


@pytest.mark.parametrize(
    ("got", "right", "hints", "says"),
    [
        (X + 1, X, {"half": X / 2, "one too many": X + 1}, r"wrong: one too many\. \(At index"),
        (-X, X, None, "the sign is flipped"),
        (X.T, X, None, "transposed"),
        (X / 2, X, None, "0.5 times the reference"),
        (X - 3, X, None, "the same -3"),
        (X[0, 0] - 3, X[0, 0], None, r"off by -3"),
        (X.sum(), X.sum(1), None, "summed over everything"),
        (X.mean(), X.mean(1) * 1, None, "averaged over everything"),
        (X[:, :1] - X[:, 0], X[:, 0], None, r"\(n, 1\) and \(n,\) broadcast"),
        (X[:, :1], X[:, 0], None, "the shape is not"),
        (np.zeros(3), X, None, r"Got shape \(3,\), expected \(2, 2\)"),
        (X * np.nan, X, None, "nan or inf"),
        (X**3, X, None, "the values differ"),
        (None, X, None, "does the function end with `return`"),
        ("text", X, None, "must be numbers"),
    ],
)
def test_compare_names_the_mistake(got, right, hints, says):
    with pytest.raises(AssertionError, match=says) as error:
        checks.compare(got, right, hints, name="density")
    assert str(error.value).startswith("density ")


def test_compare_accepts_float32_and_rounding(capsys):
    checks.compare(torch.tensor(X, dtype=torch.float32), X * (1 + 1e-6), {"same": X}, name="density")
    assert capsys.readouterr().out == "density: agrees with the reference on these inputs\n"


def test_a_hint_that_equals_the_reference_is_not_named():
    with pytest.raises(AssertionError, match="the sign is flipped"):
        checks.compare(-X, X, {"useless": X}, name="density")

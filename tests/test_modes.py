"""Modes of stacked digits, and how evenly a sampler reaches them."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import course_lib
from course_lib import data
from course_lib.metrics import kl_floor, mode_statistics, stacked_modes


@pytest.mark.equation("evaluation-mode-kl")
def test_divergence_is_the_sum_over_modes(generator):
    modes = torch.randint(7, (500,), generator=generator) ** 2 % 11  # some modes of 0 .. 10 never come
    covered, kl = mode_statistics(modes, 11)
    shares = [(modes == m).double().mean().item() for m in range(11)]
    assert covered == sum(share > 0 for share in shares) < 11
    assert kl == pytest.approx(sum(s * np.log(s * 11) for s in shares if s > 0), rel=1e-12)


def test_corners():
    assert mode_statistics(torch.arange(12) % 4, 4) == (4, pytest.approx(0, abs=1e-15))
    assert mode_statistics(torch.zeros(9, dtype=torch.long), 1000) == (1, pytest.approx(np.log(1000)))


@pytest.mark.equation("evaluation-mode-floor")
def test_floor_is_what_a_perfect_sampler_gets(generator):
    """1,000 equal modes, 26,000 samples: 0.019 nats."""
    draws = (torch.randint(1000, (26_000,), generator=generator) for _ in range(40))
    values = [mode_statistics(modes, 1000)[1] for modes in draws]
    assert np.mean(values) == pytest.approx(kl_floor(1000, 26_000), rel=0.03)
    assert kl_floor(1000, 26_000) == pytest.approx(0.0192, abs=5e-5)


def test_stacked_glyphs_are_read_by_their_own_classifier():
    stacked = data.stacked(data.dataset("glyphs", "test"), n=500)
    right = (stacked_modes(stacked.x, "glyphs") == stacked.y).double().mean().item()
    assert right >= 0.99
    wrong = (stacked_modes(stacked.x, "mnist") != stacked.y).double().mean().item()
    assert wrong > 0.1  # why the classifier has to be named
    assert course_lib.load("digit_classifier_glyphs").card["metrics"]["accuracy"]["value"] >= 99.9


@pytest.mark.skipif(
    not os.environ.get("COURSE_DATA") or not Path(os.environ["COURSE_DATA"], "MNIST").exists(),
    reason="COURSE_DATA does not name a folder with MNIST",
)
def test_stacked_mnist_is_read_as_well_as_three_single_digits():
    stacked = data.stacked(data.dataset("mnist", "test"), n=3000)
    accuracy = course_lib.load("digit_classifier_mnist").card["metrics"]["accuracy"]["value"] / 100
    right = (stacked_modes(stacked.x) == stacked.y).double().mean().item()
    assert right == pytest.approx(accuracy**3, abs=0.01)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"integers \(N,\)"):
        mode_statistics(torch.zeros(5), 10)
    with pytest.raises(ValueError, match="N > 0"):
        mode_statistics(torch.zeros(0, dtype=torch.long), 10)
    with pytest.raises(ValueError, match=r"0 \.\. 9; got 3 \.\. 10"):
        mode_statistics(torch.tensor([3, 10]), 10)
    with pytest.raises(ValueError, match="stacked digits are images"):
        stacked_modes(torch.zeros(5, 1, 28, 28))
    with pytest.raises(ValueError, match="divide by 255"):
        stacked_modes(torch.zeros(5, 3, 28, 28, dtype=torch.uint8))
    with pytest.raises(ValueError, match="none of 'fashion'"):
        stacked_modes(torch.zeros(5, 3, 28, 28), "fashion")

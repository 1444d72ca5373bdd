"""torchvision beside a torch without CUDA, and the tier switch."""

import subprocess
import sys

import pytest
import torch

import course_lib
from course_lib import compat


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_torchvision_works_after_the_package():
    out = run(
        "import course_lib, torch\n"
        "from torchvision import datasets, models, transforms\n"
        "from torchvision.transforms import v2\n"
        "from torchvision.utils import make_grid\n"
        "print(tuple(make_grid(torch.rand(4, 3, 8, 8), nrow=2).shape), hasattr(datasets, 'MNIST'))"
    )
    assert out.strip() == "(3, 22, 22) True"


@pytest.mark.skipif(
    compat._library is None, reason="this torchvision loads its C extension: nothing to declare"
)
def test_without_the_package_this_torchvision_does_not_import():
    done = subprocess.run(
        [sys.executable, "-c", "import torchvision"], capture_output=True, text=True, check=False
    )
    assert "operator torchvision::nms does not exist" in done.stderr
    assert compat.declare_torchvision_operators() is False  # declared once


def test_importing_the_package_is_light():
    out = run(
        "import sys, course_lib, course_lib.models\n"
        "print([m for m in ('torchvision', 'sklearn', 'skimage', 'matplotlib', 'ot') if m in sys.modules])"
    )
    assert out.strip() == "[]"


def test_tier_is_what_the_environment_says(monkeypatch):
    monkeypatch.setenv("COURSE_TIER", "lab")
    assert course_lib.tier() == "lab"
    monkeypatch.setenv("COURSE_TIER", "turbo")
    with pytest.raises(ValueError, match="'turbo' is not a tier: set it to one of smoke"):
        course_lib.tier()
    monkeypatch.delenv("COURSE_TIER")
    assert course_lib.tier() == ("colab" if torch.cuda.is_available() else "laptop")

"""One thread per process: two test processes with OpenMP threads that wait for each other are slower than one."""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import pytest  # noqa: E402  (after the variable that torch reads when it is imported)
import torch  # noqa: E402


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded generator for a test's noise."""
    return torch.Generator().manual_seed(0)

"""One thread per process: two test processes with OpenMP threads that wait for each other are slower than one."""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded generator for a test's noise."""
    return torch.Generator().manual_seed(0)

"""Fixtures shared by the tests: the array libraries that every part of the core must serve."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest
import torch

torch.set_num_threads(1)  # cores are few and shared; many small products are slower on more

LIBRARIES = {"numpy": np, "strict": array_api_strict, "torch": torch}


@pytest.fixture(params=list(LIBRARIES))
def library(request):
    """The name of an array library."""
    return request.param


@pytest.fixture
def like(library):
    """A float64 array of the library, for functions that take ``like=``."""
    return LIBRARIES[library].asarray([0.0], dtype=LIBRARIES[library].float64)


@pytest.fixture
def to(library):
    """A function that carries a NumPy array to the library, with its dtype."""
    return LIBRARIES[library].asarray

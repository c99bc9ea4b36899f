"""EachSlice: the contract on every library, a loop over the slices, the same capabilities as on one slice, refusals."""

from __future__ import annotations

import importlib

import array_api_strict
import numpy as np
import pytest
import torch
from recon_operators.sampling import Decimate, Mask
from recon_operators.slices import EachSlice
from recon_operators.tomography import ParallelBeam

from recon import Matrix, vstack
from recon.errors import ParameterError, ShapeError
from recon.linalg import dense
from recon.operator import capability
from recon.testing import check_operator

RNG = np.random.default_rng(8)
INNER = {
    "mask": Mask((np.arange(12) % 3 > 0).reshape(3, 4)),
    "matrix of vectors": Matrix(RNG.standard_normal((3, 4))),
    "complex decimation": Decimate((4, 2), 2, 1, "complex"),
}
CAPABILITIES = (
    "normal",
    "norm_bound",
    "data_prox",
    "pinv",
    "svd",
    "absolute_sums",
    "row_scale",
    "normal_scale",
)


@pytest.mark.parametrize(
    "like",
    [np.zeros(1), array_api_strict.zeros(1), torch.zeros(1, dtype=torch.float64)],
    ids=["numpy", "strict", "torch"],
)
@pytest.mark.parametrize("name", INNER)
def test_contract(name, like):
    check_operator(EachSlice(INNER[name], 3), like=like)


@pytest.mark.parametrize("like", [np.zeros(1), torch.zeros(1, dtype=torch.float64)], ids=["numpy", "torch"])
def test_contract_of_a_projector(like):
    check_operator(EachSlice(ParallelBeam((4, 4), np.array([0.2, 1.1]), 5), 2), like=like)


@pytest.mark.parametrize("name", INNER)
def test_is_the_kronecker_product_with_the_identity(name):
    assert np.allclose(dense(EachSlice(INNER[name], 3)), np.kron(np.eye(3), dense(INNER[name])))


@pytest.mark.parametrize("name", INNER)
def test_can_do_what_the_operator_on_a_slice_can(name):
    volume = EachSlice(INNER[name], 3)
    for what in CAPABILITIES:
        assert (capability(volume, what) is None) == (capability(INNER[name], what) is None), what


def test_entry_and_example():
    from recon_operators._hooks import recon_entries

    (entry,) = [one for one in recon_entries() if one.name == "each-slice"]
    module, _, name = entry.target.partition(":")
    assert getattr(importlib.import_module(module), name).example().shape == (24, 24)


def test_refusals():
    pair = vstack(INNER["mask"], INNER["mask"])
    with pytest.raises(
        ShapeError, match=r"EachSlice.slice_operator must have one array as its codomain, got a tuple"
    ):
        EachSlice(pair, 2)
    with pytest.raises(ParameterError, match=r"EachSlice.count must be > 0, got 0"):
        EachSlice(INNER["mask"], 0)
    with pytest.raises(ParameterError, match=r"EachSlice.slice_operator must be"):
        EachSlice(3.0, 2)

"""Compressed sensing: the contract for every operator and library, closed forms against CG, registry, error texts."""

import dataclasses
import importlib
import inspect
import pickle

import numpy as np
import pytest
from recon_operators import sensing
from recon_operators.sensing import (
    BlockSensing,
    PartialDct,
    PartialFourier,
    PartialFourierReal,
    PartialHadamard,
    RandomMatrix,
    RandomProjection,
    SinglePixel,
    SinglePixelBinary,
    fwht,
    hadamard_order,
    signed_measurements,
)

from recon.arrays import random_normal
from recon.errors import ArrayError, ParameterError, ShapeError
from recon.linalg import cg, dense
from recon.testing import check_operator

OPERATORS = {
    "gaussian": RandomMatrix.example(),
    "gaussian, drawn again": RandomMatrix(5, (7,), stored_limit=0),
    "gaussian, complex": RandomMatrix(5, (2, 3), kind="complex"),
    "signs": RandomMatrix(9, (3, 3), "bernoulli", seed=3),
    "signs, complex, drawn again": RandomMatrix(4, (6,), "bernoulli", kind="complex", stored_limit=0),
    "signs, one entry": RandomMatrix(1, (1,), "bernoulli"),
    "projection": RandomProjection.example(),
    "projection, square": RandomProjection(7, (7,)),
    "projection, one entry": RandomProjection(1, (1,)),
    "dct": PartialDct.example(),
    "dct III, odd": PartialDct((7,), 3, variant="III"),
    "dct, complex volume, all rows": PartialDct((4, 3, 2), 24, kind="complex", scramble=True),
    "dct, one entry": PartialDct((1,), 1),
    "hadamard": PartialHadamard.example(),
    "hadamard, sequency": PartialHadamard((8,), 5, order="sequency"),
    "hadamard, complex image": PartialHadamard(
        (4, 4), 5, order="cake-cutting", kind="complex", scramble=True
    ),
    "hadamard, long": PartialHadamard((2, 64), 9, seed=4),
    "hadamard, one entry": PartialHadamard((1, 1), 1),
    "fourier": PartialFourier.example(),
    "fourier, odd, volume": PartialFourier((3, 2, 5), 11),
    "fourier, real": PartialFourierReal.example(),
    "fourier, real, even": PartialFourierReal((6,), 4, scramble=True, seed=2),
    "fourier, real, pairs": PartialFourierReal((4, 4), [0, 1, 5, 15, 10]),
    "single pixel": SinglePixel.example(),
    "single pixel, square": SinglePixel((4, 4), 5, "total-variation"),
    "single pixel, one pixel": SinglePixel((1,), 1),
    "single pixel 0/1": SinglePixelBinary.example(),
    "single pixel 0/1, all": SinglePixelBinary((8,), 8, "natural"),
    "single pixel 0/1, volume": SinglePixelBinary((2, 2, 2), 3, "cake-cutting"),
    "blocks": BlockSensing.example(),
    "blocks, odd, permuted": BlockSensing((6, 3), 0.4, 3, permute=True),
    "blocks of one pixel": BlockSensing((2, 1), 1.0, 1),
}
CLOSED = [name for name, A in OPERATORS.items() if hasattr(A, "data_prox")]


@pytest.mark.parametrize("name", OPERATORS)
def test_contract(name, like):
    check_operator(OPERATORS[name], like=like)


@pytest.mark.parametrize("name", CLOSED)
def test_data_prox_is_the_solution_of_cg(name):
    A, rng, like = OPERATORS[name], np.random.default_rng(1), np.zeros(1)
    v, y = random_normal(A.domain, like, rng), random_normal(A.codomain, like, rng)
    for rho in (0.3, 2.0):
        x = cg(lambda z, rho=rho: A.H @ (A @ z) + rho * z, A.H @ y + rho * v, iterations=60, tol=1e-14)
        closed = A.data_prox(v, y, rho)
        assert np.linalg.norm(closed - x) <= 1e-8 * np.linalg.norm(x)


@pytest.mark.parametrize("name", CLOSED)
def test_pinv_is_that_of_the_matrix(name):
    A, rng = OPERATORS[name], np.random.default_rng(2)
    y = random_normal(A.codomain, np.zeros(1), rng)
    if A.domain.kind == A.codomain.kind:
        x = np.linalg.pinv(dense(A)) @ y.reshape(-1)
    else:  # a real unknown with complex data
        matrix = np.stack([(A @ e.reshape(A.domain.shape)).reshape(-1) for e in np.eye(A.domain.size)], 1)
        both, data = np.concatenate([matrix.real, matrix.imag]), np.concatenate([y.real, y.imag])
        x = np.linalg.pinv(both) @ data
    assert np.linalg.norm(A.pinv(y).reshape(-1) - x) <= 1e-10 * np.linalg.norm(x)


@pytest.mark.parametrize("name", [name for name in CLOSED if hasattr(OPERATORS[name], "svd")])
def test_svd_gives_the_operator_back(name):
    A = OPERATORS[name]
    U, s, V = A.svd()
    x = random_normal(A.domain, np.zeros(1), np.random.default_rng(3))
    assert np.allclose(U @ (s * (V.H @ x)), A @ x, rtol=0, atol=1e-12 * np.abs(A @ x).max())
    c = random_normal(V.domain, np.zeros(1), np.random.default_rng(4))
    assert np.allclose(V.H @ (V @ c), c, rtol=0, atol=1e-12)
    assert (s >= 0).all()


def test_norm_bounds_of_tight_rows_are_the_norm():
    for name in CLOSED:
        A = OPERATORS[name]
        matrix = dense(A) if A.domain.kind == A.codomain.kind else None
        if matrix is not None:
            assert A.norm_bound() == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-12)
    kept = np.isin(np.arange(6), OPERATORS["fourier, real, even"].rows)
    mirrored = kept | kept[-np.arange(6) % 6]
    pairs = (kept.astype(int) + kept[-np.arange(6) % 6])[mirrored]
    assert OPERATORS["fourier, real, even"].norm_bound() == pytest.approx(np.sqrt(pairs.max() / 2))


@pytest.mark.parametrize("name", OPERATORS)
def test_pickle_keeps_arrays_read_only_and_leaves_matrices_behind(name):
    A = OPERATORS[name]
    A @ random_normal(A.domain, np.zeros(1), np.random.default_rng(0))
    data = pickle.dumps(A)
    assert len(data) < 1500
    twin = pickle.loads(data)
    for field in dataclasses.fields(twin):
        value = getattr(twin, field.name)
        assert not isinstance(value, np.ndarray) or not value.flags.writeable


def test_single_precision_is_the_rounding_of_double():
    for A in OPERATORS.values():
        x = random_normal(A.domain, np.zeros(1), np.random.default_rng(5))
        narrow = x.astype(np.complex64 if A.domain.kind == "complex" else np.float32)
        assert np.abs((A @ narrow) - (A @ x)).max() <= 2e-6 * np.abs(A @ x).max()


@pytest.mark.parametrize("name", OPERATORS)
def test_an_empty_batch_stays_empty(name):
    A = OPERATORS[name]
    x = np.zeros((2, 0, *A.domain.shape), np.complex128 if A.domain.kind == "complex" else np.float64)
    y = A @ x
    assert y.shape == (2, 0, *A.codomain.shape)
    assert (A.H @ y).shape == x.shape


@pytest.mark.parametrize("A", [PartialDct.example(), PartialHadamard.example()], ids=str)
def test_gradients_pass_through(A):
    import torch

    x = torch.ones(A.domain.shape, dtype=torch.float64, requires_grad=True)
    y = torch.linspace(-1, 1, A.shape[0], dtype=torch.float64)
    ((A @ x) * y).sum().backward()
    assert torch.allclose(x.grad, A.H @ y)


ENTRIES = {
    "random-matrix": RandomMatrix,
    "random-projection": RandomProjection,
    "partial-dct": PartialDct,
    "partial-hadamard": PartialHadamard,
    "partial-fourier": PartialFourier,
    "partial-fourier-real": PartialFourierReal,
    "single-pixel": SinglePixel,
    "single-pixel-binary": SinglePixelBinary,
    "block-sensing": BlockSensing,
}


def test_entries_are_announced_and_documented():
    from recon_operators._hooks import recon_entries

    ours = [entry for entry in recon_entries() if entry.target.startswith("recon_operators.sensing")]
    assert {entry.name for entry in ours} == {*ENTRIES, "sensing"}
    for entry in ours:
        assert entry.cites
        module, _, name = entry.target.partition(":")
        target = getattr(importlib.import_module(module), name)
        if entry.kind == "operator":
            assert target is ENTRIES[entry.name]
            notes = inspect.getdoc(target).split("Notes\n-----\n")[1]
            for word in ("Formula:", "Shapes:", "Units:", "Cost:", "Source:"):
                assert notes.count(word) == 1


def test_bench_compares_the_same_things():
    from recon_operators.sensing.bench import cases

    made = cases()
    assert len({case.name for case in made}) == len(made) == 15
    compared = 0
    for case in made:
        ours = case.ours()
        assert ours.dtype in (np.float32, np.complex64)
        for name, peer in case.peers.items():
            if not name.startswith(("scipy", "sigpy", "deepinv")):  # those do a part, or other rows
                other = np.asarray(peer()).reshape(ours.shape)
                assert np.linalg.norm(ours - other) <= 1e-5 * np.linalg.norm(other), (case.name, name)
                compared += 1
    assert compared >= 9  # those of NumPy alone


BAD = {
    "RandomMatrix.m must be > 0, got 0": lambda: RandomMatrix(0, (4,)),
    "RandomMatrix.domain_shape must be of length 1 or more, got": lambda: RandomMatrix(1, ()),
    "RandomMatrix.distribution must be one of 'gaussian', 'bernoulli', got 'cauchy'": lambda: RandomMatrix(
        1, (4,), "cauchy"
    ),
    "RandomMatrix.stored_limit must be >= 0, got -1": lambda: RandomMatrix(1, (4,), stored_limit=-1),
    "RandomProjection.m must be at most the number of samples, 6, got 7. Use RandomMatrix": lambda: (
        RandomProjection(7, (2, 3))
    ),
    "PartialDct.rows must be 1 to 6, got 7. There is one row per sample": lambda: PartialDct((2, 3), 7),
    "PartialDct.rows must be 1 to 6, got 0": lambda: PartialDct((2, 3), 0),
    r"PartialDct.rows must be a number, different indices from 0 to 5, or a boolean mask of shape \(2, 3\) that keeps "
    r"something, got an array of shape \(2,\)": lambda: PartialDct((2, 3), np.array([1, 1])),
    "PartialFourier.rows must be a number, different indices from 0 to 3": lambda: PartialFourier((4,), [4]),
    "PartialFourier.rows must be a number, different indices": lambda: PartialFourier((4,), [-1]),
    "PartialFourier.rows must be a number, .* got .0.5.": lambda: PartialFourier((4,), [0.5]),
    "PartialFourier.rows must be a number, .* that keeps something": lambda: PartialFourier(
        (4,), np.zeros(4, bool)
    ),
    "PartialFourier.rows must be a number, .* mask of shape": lambda: PartialFourier((4,), np.ones(3, bool)),
    "PartialFourier.rows must be a number, .* got True": lambda: PartialFourier((4,), True),
    "PartialDct.variant must be one of 'II', 'III', got 'IV'": lambda: PartialDct((4,), 2, variant="IV"),
    "PartialDct.seed must be >= 0, got -1": lambda: PartialDct((4,), 2, seed=-1),
    r"PartialHadamard.domain_shape must be powers of two, got \(4, 6\). Pad the samples": lambda: (
        PartialHadamard((4, 6), 2)
    ),
    "PartialHadamard.order must be one of 'natural', 'dyadic'": lambda: PartialHadamard(
        (4,), 2, order="walsh"
    ),
    r"SinglePixel.image_shape must be powers of two, got \(6,\). Pad the image": lambda: SinglePixel((6,), 2),
    "SinglePixelBinary.count must be at most 4, got 5. There is one pattern per pixel": lambda: (
        SinglePixelBinary((4,), 5)
    ),
    r"BlockSensing.image_shape must be multiples of block = 33, got \(256, 256\). Pad the image to \(264, 264\)": (
        lambda: BlockSensing((256, 256), block=33)
    ),
    "BlockSensing.ratio must be <= 1, got 1.5": lambda: BlockSensing((4, 4), 1.5, 2),
    r"hadamard_order.shape must be powers of two, got \(3,\). Pad the image": lambda: hadamard_order(3),
    r"hadamard_order.shape must be powers of two, got \(8.0,\). Pad the image": lambda: hadamard_order(8.0),
    r"hadamard_order.shape must be powers of two, got \(\). Pad the image": lambda: hadamard_order(()),
    "hadamard_order.order must be one of natural, .*, got 'walsh'": lambda: hadamard_order(4, "walsh"),
    "signed_measurements must get dark or total, got neither. Give one": lambda: signed_measurements(
        np.ones(3)
    ),
    "signed_measurements must get dark or total, got both": lambda: signed_measurements(
        np.ones(3), np.ones(3), total=1.0
    ),
}


@pytest.mark.parametrize("text", BAD)
def test_bad_parameters_are_explained(text):
    with pytest.raises(ParameterError, match=text):
        BAD[text]()


@pytest.mark.parametrize("x", [np.ones(6), np.ones((2, 0)), np.array(1.0)], ids=lambda x: str(x.shape))
def test_fwht_refuses_other_lengths(x):
    with pytest.raises(ShapeError, match=r"fwht.x must have a power of two as its last axis, got \d"):
        fwht(x)


def test_fwht_takes_no_numbers_that_its_kernel_would_misread():
    for dtype in (np.int32, np.int64, np.bool_, np.float16, np.longdouble, ">f8"):
        with pytest.raises(ArrayError, match="fwht.x must be (real floating point|float32 or float64), got"):
            fwht(np.ones(16, dtype))
    with pytest.raises(ArrayError, match="fwht.x must be a plain array, got a MaskedArray"):
        fwht(np.ma.ones(16))
    with pytest.raises(ArrayError, match="must come from NumPy, .* got list"):
        fwht([1.0, 2.0])


def test_dark_sums_go_with_bright_ones():
    with pytest.raises(
        ShapeError, match=r"dark must have the shape of bright, \(2, 3\), got \(3,\). Give one dark"
    ):
        signed_measurements(np.ones((2, 3)), np.ones(3))


def test_closed_forms_are_there():
    without = {type(A) for name, A in OPERATORS.items() if name not in CLOSED}
    assert without == {RandomMatrix, SinglePixelBinary}


def test_public_names():
    assert sorted(sensing.__all__) == sensing.__all__
    assert [name for name in sensing.__all__ if not hasattr(sensing, name)] == []

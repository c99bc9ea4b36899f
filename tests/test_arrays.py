"""Array helpers on every library: specs, checks with their texts, products and norms at every scale."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from array_api_compat import array_namespace

from recon import arrays
from recon.arrays import ArraySpec
from recon.errors import ArrayError, ParameterError, ShapeError


def says(error, text):
    return pytest.raises(error, match=re.escape(text))


# --- specs ---------------------------------------------------------------------------------------------


def test_spec_knows_shape_kind_size_and_reads_well():
    spec = ArraySpec([np.int64(2), 3], "complex")
    assert spec == ArraySpec((2, 3), "complex")
    assert (spec.shape, spec.ndim, spec.size) == ((2, 3), 2, 6)
    assert str(spec) == "(2, 3) complex"
    assert ArraySpec(()).size == 1
    assert arrays.size((spec, ArraySpec((4,)))) == 10
    assert arrays.members(spec) == (spec,)
    assert arrays.members((spec, spec)) == (spec, spec)


@pytest.mark.parametrize(
    ("shape", "kind", "text"),
    [
        (5, "real", "ArraySpec.shape must be a sequence of integers, got 5. Write (n,) for one axis."),
        ((2.5,), "real", "ArraySpec.shape must be a sequence of integers, got (2.5,)"),
        ("12", "real", "ArraySpec.shape must be a sequence of integers, got '12'"),
        ((3, 0), "real", "ArraySpec.shape must be positive, got (3, 0). Give every axis a length."),
        ((3,), "float", "ArraySpec.kind must be 'real' or 'complex', got 'float'."),
    ],
)
def test_spec_refuses(shape, kind, text):
    with says(ParameterError, text):
        ArraySpec(shape, kind)


# --- checking ------------------------------------------------------------------------------------------


def test_check_array_returns_the_batch_axes(to):
    spec = ArraySpec((2, 3))
    assert arrays.check_array(to(np.zeros((2, 3))), spec, "x") == ()
    assert arrays.check_array(to(np.zeros((5, 4, 2, 3), np.float32)), spec, "x") == (5, 4)
    pair = (spec, ArraySpec((1,), "complex"))
    x = to(np.zeros((7, 2, 3))), to(np.zeros((7, 1), complex))
    assert arrays.check_array(x, pair, "x") == (7,)
    assert arrays.batch_of(x, pair) == (7,)


@pytest.mark.parametrize(
    ("x", "spec", "error", "text"),
    [
        (
            np.zeros(3),
            ArraySpec((2, 3)),
            ShapeError,
            "x must have shape (..., 2, 3), got (3,). Batch axes go in front of the sample's axes.",
        ),
        (np.zeros((2, 3, 1)), ArraySpec((2, 3)), ShapeError, "x must have shape (..., 2, 3), got (2, 3, 1)."),
        (
            np.zeros((2, 3), int),
            ArraySpec((2, 3)),
            ArrayError,
            "x must be real floating point, got int64. Convert it, for example to float64.",
        ),
        (
            np.zeros((2, 3), complex),
            ArraySpec((2, 3)),
            ArrayError,
            "x must be real floating point, got complex128.",
        ),
        (
            np.zeros((2, 3)),
            ArraySpec((2, 3), "complex"),
            ArrayError,
            "x must be complex floating point, got float64. Convert it, for example to complex128.",
        ),
        (
            (np.zeros(3),),
            ArraySpec((3,)),
            ShapeError,
            "x must be one array, got a tuple of 1. Give the array itself.",
        ),
        (
            np.zeros(3),
            (ArraySpec((3,)),),
            ShapeError,
            "x must be a tuple of 1 arrays, got ndarray. Give one array per member.",
        ),
        (
            (np.zeros(3),) * 2,
            (ArraySpec((3,)),) * 3,
            ShapeError,
            "x must be a tuple of 3 arrays, got a tuple of 2.",
        ),
        (
            (np.zeros((4, 3)), np.zeros(3)),
            (ArraySpec((3,)),) * 2,
            ShapeError,
            "x must have the same batch axes in every member, got [(), (4,)].",
        ),
        (
            (np.zeros(3), np.zeros(4)),
            (ArraySpec((3,)),) * 2,
            ShapeError,
            "x[1] must have shape (..., 3), got (4,).",
        ),
        (
            (np.zeros(3), torch.zeros(3)),
            (ArraySpec((3,)),) * 2,
            ArrayError,
            "Arrays of one call must come from one library, got numpy and torch. Convert one of them.",
        ),
        (
            [1.0, 2.0, 3.0],
            ArraySpec((3,)),
            ArrayError,
            "x must be an array of NumPy, CuPy, torch or another array-API library, got list. ",
        ),
    ],
)
def test_check_array_refuses(x, spec, error, text):
    with says(error, text):
        arrays.check_array(x, spec, "x")


def test_namespace_is_that_of_the_library(to):
    x = to(np.zeros(2))
    assert arrays.namespace(x, (x, x)) is array_namespace(x)
    assert arrays.namespace(x) is array_namespace(x)
    with says(
        ArrayError, "An array must come from NumPy, CuPy, torch or another array-API library, got list."
    ):
        arrays.namespace(x, [1.0])


# --- products and norms --------------------------------------------------------------------------------


def test_vdot_conjugates_the_first_and_adds_members(to):
    x, y = np.array([[1 + 2j, 3j]]), np.array([[2.0 - 1j, 1.0]])
    assert arrays.vdot(to(x), to(y)) == np.vdot(x, y)
    pair = (to(x), to(np.array([2.0, 3.0])))
    assert arrays.vdot(pair, pair) == pytest.approx(14 + 13)
    assert isinstance(arrays.vdot(pair[1], pair[1]), float)
    assert arrays.is_complex(pair)
    assert not arrays.is_complex(pair[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_norm_at_every_scale(to, dtype):
    info = np.finfo(dtype)
    for scale in (1.0, 1e20, 1e-20, info.max / 8, info.tiny, 8 * info.smallest_subnormal):
        x = (float(scale) * np.array([3.0, 4.0])).astype(dtype)
        wide = np.abs(x).astype(np.longdouble)
        wanted = float(np.sqrt((wide**2).sum()))
        assert arrays.norm(to(x)) == pytest.approx(wanted, rel=1e-6)
        assert arrays.norm((to(x[:1]), to(x[1:]))) == pytest.approx(wanted, rel=1e-6)
    assert arrays.norm(to(np.zeros(3, dtype))) == 0.0
    assert arrays.norm(to(np.array([1.0, np.inf], dtype))) == math.inf
    assert math.isnan(arrays.norm(to(np.array([1.0, np.nan], dtype))))


def test_finite_and_clip(to):
    assert arrays.finite((to(np.ones(2)), to(np.ones(3) + 1j)))
    assert not arrays.finite((to(np.ones(2)), to(np.array([1.0, np.nan]))))
    x = np.array([-2.0, 0.5, 3.0], np.float32)
    for lower, upper in ((None, 1.0), (0.0, None), (-1.0, 1.0)):
        got = arrays.as_numpy(arrays.clip(to(x), lower, upper))
        assert got.dtype == x.dtype
        np.testing.assert_array_equal(got, np.clip(x, lower, upper))
    assert arrays.clip(x, None, None) is x


# --- making --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("single", [False, True])
def test_zeros_and_draws_follow_library_and_precision(to, single):
    like = to(np.zeros(1, np.float32 if single else np.float64))
    spec = (ArraySpec((2, 3)), ArraySpec((4,), "complex"))
    for made in (
        arrays.zeros(spec, like, (5,)),
        arrays.random_normal(spec, like, np.random.default_rng(1), (5,)),
    ):
        assert [tuple(leaf.shape) for leaf in made] == [(5, 2, 3), (5, 4)]
        assert all(type(leaf) is type(like) for leaf in made)
        kinds = [arrays.as_numpy(leaf).dtype.name for leaf in made]
        assert kinds == (["float32", "complex64"] if single else ["float64", "complex128"])
        assert arrays.zeros(spec[0], made[1]).dtype == like.dtype


def test_a_seed_gives_the_same_numbers_in_every_library(to):
    spec = ArraySpec((3,), "complex")
    made = arrays.random_normal(spec, to(np.zeros(1)), np.random.default_rng(3))
    wanted = arrays.random_normal(spec, np.zeros(1), np.random.default_rng(3))
    np.testing.assert_array_equal(arrays.as_numpy(made), wanted)


def test_numpy_round_trip(to):
    like = to(np.zeros(1))
    frozen = np.arange(6.0).reshape(2, 3)
    frozen.setflags(write=False)
    for values in (frozen, frozen[:, ::-1], np.arange(3) + 1j, np.float64(2.5)):
        made = arrays.from_numpy(values, like)
        assert type(made) is type(like) or np.ndim(values) == 0
        np.testing.assert_array_equal(arrays.as_numpy(made), values)
    assert arrays.real_like(frozen, to(np.zeros(1, np.complex64))).dtype == to(np.zeros(1, np.float32)).dtype


def test_as_numpy_takes_lazy_and_differentiable_torch_arrays():
    x = torch.tensor([1 + 2j, 3 - 1j], dtype=torch.complex128)
    np.testing.assert_array_equal(arrays.as_numpy(x.conj()), np.array([1 - 2j, 3 + 1j]))
    np.testing.assert_array_equal(arrays.as_numpy(x.conj().imag), [-2.0, 1.0])
    np.testing.assert_array_equal(arrays.as_numpy(torch.ones(2, requires_grad=True)), [1.0, 1.0])
    assert arrays.as_numpy(7.0) == 7.0

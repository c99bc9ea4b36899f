"""Sampling: the contract on every library, values by hand and by other libraries, closed forms, error texts."""

from __future__ import annotations

import importlib
import math
import pickle
import re

import numpy as np
import pytest
import torch
from recon_operators.sampling import (
    Bicubic,
    BlockMean,
    BlockSum,
    Decimate,
    Interpolate,
    LearnedSubsampling,
    Mask,
    Select,
)

from recon.arrays import as_numpy, random_normal
from recon.errors import ArrayError, ParameterError, ShapeError
from recon.linalg import cg, dense
from recon.operator import capability
from recon.testing import check_operator

RNG = np.random.default_rng(5)
POINTS = RNG.uniform(-1.5, 7.5, (9, 2))

OPERATORS = {
    "mask": Mask.example(),
    "mask of numbers, complex": Mask(np.array([[1, 0, 1], [0, 0, 1]]), "complex"),
    "mask of nothing": Mask(np.ones(1)),
    "mask of everything": Mask(np.zeros((2, 3))),
    "decimate": Decimate.example(),
    "decimate a line": Decimate((7,), 3),
    "decimate to one": Decimate((2, 3), 9, "centre"),
    "decimate with phases": Decimate((5, 6, 4), (2, 3, 1), (1, 2, 0)),
    "decimate complex": Decimate((4, 4), 2, 1, "complex"),
    "block sum": BlockSum.example(),
    "block sum of a line, complex": BlockSum((6,), 3, "complex"),
    "block sum of single entries": BlockSum((2, 3), 1),
    "block mean": BlockMean((4, 3, 6), (2, 1, 3)),
    "block mean to one": BlockMean((4, 3), (4, 3)),
    "select": Select.example(),
    "select a slice": Select((3, 7), -1, slice(1, None, 2)),
    "select backwards": Select((4, 3), 0, slice(None, None, -1)),
    "select one": Select((5,), 0, [-1], "complex"),
    "select every": Select.every((9, 2), 0, 4),
    "bicubic": Bicubic.example(),
    "bicubic of a line": Bicubic((13,), 4),
    "bicubic larger": Bicubic((5, 4), (0.5, 1)),
    "bicubic of a pixel": Bicubic((1, 1), 2),
    "bicubic in three axes": Bicubic((4, 5, 3), 1.5),
    "bicubic complex": Bicubic((6, 5), 2, "complex"),
    "bicubic of many rows": Bicubic((40, 3), (2, 1)),
    "interpolate": Interpolate.example(),
    "interpolate a line": Interpolate((6,), np.linspace(-1, 6, 11)),
    "interpolate cubic": Interpolate((6, 7), POINTS, 3),
    "interpolate a volume, complex": Interpolate((3, 4, 2), RNG.uniform(0, 2, (5, 3)), kind="complex"),
    "interpolate outside": Interpolate((2, 2), [[5.0, 5.0]]),
    "learned": LearnedSubsampling.example(),
    "learned complex": LearnedSubsampling((6,), np.array([5, 0]), "complex"),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_contract(name, like):
    check_operator(OPERATORS[name], like=like)


CLOSED_FORMS = {"normal", "data_prox", "pinv", "svd", "norm_bound", "absolute_sums"}


@pytest.mark.parametrize("name", OPERATORS)
def test_closed_forms_are_those_of_the_matrix(name):
    """Against SVD and conjugate gradients, which share no code with the closed forms."""
    A = OPERATORS[name]
    has = {method for method in CLOSED_FORMS if capability(A, method)}
    missing = {"Bicubic": {"normal"}, "Interpolate": {"normal", "data_prox", "pinv", "svd"}}
    assert has == CLOSED_FORMS - missing.get(type(A).__name__, set())
    assert A.norm_bound() >= np.linalg.norm(dense(A), 2) * (1 - 1e-12)
    rng = np.random.default_rng(1)
    v, y = random_normal(A.domain, np.zeros(1), rng), random_normal(A.codomain, np.zeros(1), rng)
    if "pinv" in has:
        wanted = np.linalg.pinv(dense(A), rcond=1e-13) @ y.ravel()
        np.testing.assert_allclose(A.pinv(y).ravel(), wanted, atol=1e-9 * np.abs(wanted).max() + 1e-12)
    if "data_prox" in has:
        for rho in (0.3, 7.0):
            wanted = cg(lambda x, rho=rho: A.H @ (A @ x) + rho * x, A.H @ y + rho * v, tol=1e-14)
            np.testing.assert_allclose(A.data_prox(v, y, rho), wanted, atol=1e-8 * np.abs(wanted).max())


# --- values --------------------------------------------------------------------------------------------


def test_values_by_hand(to):
    x = np.arange(24.0).reshape(4, 6)
    np.testing.assert_array_equal(as_numpy(Decimate((4, 6), (2, 3)) @ to(x)), x[::2, ::3])
    np.testing.assert_array_equal(as_numpy(Decimate((4, 6), (4, 3), "centre") @ to(x)), x[1::4, 1::3])
    np.testing.assert_array_equal(as_numpy(Decimate((4, 6), 3, (2, 1)) @ to(x)), x[2::3, 1::3])
    np.testing.assert_array_equal(as_numpy(BlockSum((4, 6), (2, 3)) @ to(x)), [[24, 42], [96, 114]])
    np.testing.assert_array_equal(as_numpy(BlockMean((4, 6), (2, 3)) @ to(x)), [[4, 7], [16, 19]])
    np.testing.assert_array_equal(
        as_numpy(BlockMean((4, 2), 2).H @ to(np.array([[4.0], [8.0]]))), [[1, 1], [1, 1], [2, 2], [2, 2]]
    )
    np.testing.assert_array_equal(as_numpy(Select((4, 6), 1, (5, -6, 3)) @ to(x)), x[:, [5, 0, 3]])
    np.testing.assert_array_equal(as_numpy(LearnedSubsampling((4, 6), [23, 7]) @ to(x)), [23, 7])
    np.testing.assert_array_equal(
        as_numpy(LearnedSubsampling((2, 2), [3, 0]).H @ to(np.array([5.0, 6.0]))), [[6, 0], [0, 5]]
    )
    hidden = x.copy()
    hidden[x % 5 == 0] = 0.0
    np.testing.assert_array_equal(as_numpy(Mask(x % 5 > 0) @ to(x)), hidden)


def test_results_do_not_share_memory_with_the_image():
    x = np.ones((4, 4))
    for A in (Decimate((4, 4), 1), Select((4, 4), 0, slice(0, 2)), Mask(np.ones((4, 4)))):
        assert not np.shares_memory(A @ x, x)


def test_every_eighth_slice_of_a_stack():
    A = Select.every((32, 3, 2), axis=0, step=8)
    assert A.index == Select((32, 3, 2), 0, range(0, 32, 8)).index == (0, 8, 16, 24)
    assert A.codomain.shape == (4, 3, 2)


def test_the_best_places_are_kept():
    scores = np.array([[0.1, 3.0, -1.0], [2.0, 2.0, 0.0]])
    A = LearnedSubsampling.from_scores(scores, 2)
    np.testing.assert_array_equal(A.indices, [1, 3])  # of two equal scores the first
    np.testing.assert_array_equal(A.pattern, [[False, True, False], [True, False, False]])
    assert LearnedSubsampling.from_scores(scores, 6, "complex").domain.kind == "complex"
    whole = np.array([0, 255, 7], np.uint8)  # whose negatives wrap around
    assert LearnedSubsampling.from_scores(whole, 2).indices.tolist() == [1, 2]


def imresize_matrix(n, factor):
    """The weights from the definition, entry by entry: kernel stretched, mirrored borders, rows that sum to 1."""

    def c(t):
        t = abs(t)
        if t <= 1:
            return 1.5 * t**3 - 2.5 * t**2 + 1
        return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t <= 2 else 0.0

    stretch, reach = max(factor, 1), math.ceil(4 * max(factor, 1))
    matrix = np.zeros((math.ceil(n / factor), n))
    for i, row in enumerate(matrix):
        centre = (i + 0.5) * factor - 0.5
        for j in range(-reach, n + reach):
            k = j
            while not 0 <= k < n:
                k = -1 - k if k < 0 else 2 * n - 1 - k
            row[k] += c((centre - j) / stretch)
        row /= row.sum()
    return matrix


@pytest.mark.parametrize(
    ("n", "factor"),
    [(12, 2), (37, 3), (64, 4), (9, 1), (5, 8), (16, 1.6), (7, 2.5), (9, 0.4), (1, 0.3), (3, 0.77)],
)
def test_bicubic_weights_are_those_of_the_definition(n, factor):
    np.testing.assert_allclose(dense(Bicubic((n,), factor)), imresize_matrix(n, factor), atol=1e-14)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_bicubic_agrees_with_torch_away_from_the_borders(factor):
    """torch's antialiased bicubic also has a = -1/2, but cuts the kernel at the borders instead of mirroring."""
    x = np.random.default_rng(2).standard_normal((48, 60))
    ours = Bicubic((48, 60), factor) @ x
    image = torch.from_numpy(x)[None, None]
    size = ours.shape
    theirs = torch.nn.functional.interpolate(image, size=size, mode="bicubic", antialias=True)[0, 0].numpy()
    inside = (slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(ours[inside], theirs[inside], atol=1e-12)
    assert np.abs(ours - theirs).max() > 1e-3  # the borders do differ


def test_bicubic_keeps_constants_and_shrinks_plane_waves():
    A = Bicubic((40, 30), 4)
    np.testing.assert_allclose(A @ np.ones((40, 30)), np.ones((10, 8)), atol=1e-14)
    rows = np.arange(40.0)[:, None] + np.zeros(30)
    np.testing.assert_allclose((A @ rows)[2:-2, 0], (np.arange(10) * 4 + 1.5)[2:-2], atol=1e-12)
    nyquist = np.cos(np.pi * np.arange(40))[:, None] + np.zeros(30)
    assert np.abs(A @ nyquist).max() < 0.15
    assert np.abs(Decimate((40, 30), 4) @ nyquist).min() == 1.0  # all of it comes back as an alias


def test_bicubic_has_factors_and_one_plan_per_precision():
    A = Bicubic((12, 9), 3)
    assert [f.shape for f in A.factors] == [(4, 12), (3, 9)]
    np.testing.assert_allclose(dense(A), np.kron(dense(A.factors[0]), dense(A.factors[1])), atol=1e-14)
    assert pickle.loads(pickle.dumps(A)).factor == (3.0, 3.0)


@pytest.mark.parametrize("shape", [(11,), (6, 7), (4, 5, 3)])
def test_linear_interpolation_agrees_with_scipy(shape, to):
    from scipy.ndimage import map_coordinates

    x = RNG.standard_normal(shape)
    points = np.random.default_rng(3).uniform(-2, np.array(shape) + 1, (60, len(shape)))
    wanted = map_coordinates(x, points.T, order=1, mode="grid-constant")
    np.testing.assert_allclose(as_numpy(Interpolate(shape, points) @ to(x)), wanted, atol=1e-13)


@pytest.mark.parametrize("order", [1, 3])
def test_points_far_away_see_nothing(order):
    far = [[1e20, 1.0], [-1e300, 1.0], [1.0, 2.0**63], [1.0, 2.0]]
    image = np.arange(20.0).reshape(4, 5)
    np.testing.assert_array_equal(Interpolate((4, 5), far, order) @ image, [0, 0, 0, image[1, 2]])


def test_interpolation_at_grid_points_reads_them():
    shape = (5, 4)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 2)
    for order in (1, 3):
        np.testing.assert_allclose(dense(Interpolate(shape, grid, order)), np.eye(20), atol=1e-15)


def test_cubic_interpolation_is_exact_for_quadratics():
    t = np.arange(12.0)
    points = np.random.default_rng(4).uniform(1, 10, 50)
    got = Interpolate((12,), points, 3) @ (2 * t**2 - 3 * t + 1)
    np.testing.assert_allclose(got, 2 * points**2 - 3 * points + 1, atol=1e-10)
    linear = Interpolate((12,), points, 1) @ (2 * t**2 - 3 * t + 1)
    assert np.abs(linear - got).max() > 0.1


def test_many_points_in_one_pixel():
    """The adjoint adds them all up; on other libraries that is one step per point."""
    A = Interpolate((3, 3), np.full((40, 2), 1.25))
    assert (A.H @ np.ones(40))[1, 1] == pytest.approx(40 * 0.75**2)


def test_restrictions_agree_with_pylops():
    pylops = pytest.importorskip("pylops")
    x, y = RNG.standard_normal(30), RNG.standard_normal(6)
    places = np.array([3, 29, 4, 0, 17, 11])
    A, P = LearnedSubsampling((30,), places), pylops.Restriction(30, places)
    np.testing.assert_array_equal(A @ x, P @ x)
    np.testing.assert_array_equal(A.H @ y, P.H @ y)
    points = RNG.uniform(0, 4, (2, 8))
    B, Q = Interpolate((6, 6), points.T), pylops.signalprocessing.Bilinear(points, dims=(6, 6))
    x, y = RNG.standard_normal((6, 6)), RNG.standard_normal(8)
    np.testing.assert_allclose(B @ x, Q @ x.ravel(), atol=1e-14)
    np.testing.assert_allclose(B.H @ y, np.reshape(Q.H @ y, (6, 6)), atol=1e-14)


def test_block_mean_agrees_with_scikit_image():
    measure = pytest.importorskip("skimage.transform")
    x = RNG.standard_normal((12, 20))
    np.testing.assert_allclose(
        BlockMean((12, 20), (3, 4)) @ x, measure.downscale_local_mean(x, (3, 4)), atol=1e-14
    )


@pytest.mark.parametrize("name", [name for name in OPERATORS if name != "interpolate outside"])
def test_torch_differentiates_through_both_products(name):
    """The gradient of 1/2 ||A x||^2 is A^H A x, also for torch, which knows neither A nor A^H."""
    A = OPERATORS[name]
    for operator in (A, A.H):
        x = random_normal(operator.domain, torch.zeros(1, dtype=torch.float64), np.random.default_rng(6))
        x.requires_grad_()
        (0.5 * (operator @ x).abs().square().sum()).backward()
        wanted = operator.H @ (operator @ x.detach())
        assert torch.allclose(x.grad, wanted, rtol=0, atol=1e-11)


# --- what they keep ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPERATORS)
def test_parameters_are_private_and_read_only(name):
    A = OPERATORS[name]
    for value in vars(A).values():
        if isinstance(value, np.ndarray):
            assert not value.flags.writeable


def test_entries_exist_and_have_examples():
    from recon_operators._hooks import recon_entries

    ours = [e for e in recon_entries() if e.target.startswith("recon_operators.sampling:")]
    assert {e.name for e in ours} == {
        "mask", "decimate", "block-sum", "block-mean", "select", "bicubic", "interpolate", "learned-subsampling",
    }  # fmt: skip
    for entry in ours:
        module, _, name = entry.target.partition(":")
        assert getattr(importlib.import_module(module), name).example().shape


def test_bench_compares_like_with_like(monkeypatch):
    from recon_operators.sampling import bench

    monkeypatch.setattr(bench, "SIZE", 64)
    monkeypatch.setattr(bench, "SHAPE", (64, 64))
    monkeypatch.setattr(bench, "POINTS", 100)
    made = bench.cases()
    assert len({case.name for case in made}) == len(made) == 14
    for case in made:
        ours = np.asarray(case.ours())
        assert ours.dtype == np.float32
        for name, peer in case.peers.items():
            other = peer()
            other = np.asarray(other[0] if isinstance(other, tuple) else other).reshape(ours.shape)
            loose = "bicubic" in name or "resize" in name  # other borders, other kernel
            assert np.linalg.norm(ours - other) <= (0.3 if loose else 1e-4) * np.linalg.norm(ours), (
                case.name,
                name,
            )


# --- refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Mask([[0.5, 1]]), ParameterError, "Mask.mask must be an array of 0 and 1, or of booleans, got [[0.5"),
        (lambda: Mask("all"), ParameterError, "Mask.mask must be an array of 0 and 1, or of booleans, got 'all'."),
        (lambda: Mask(1), ParameterError, "Use Diagonal for weights."),
        (lambda: Decimate((4, 4), 0), ParameterError, "Decimate.factor must be >= 1 or a sequence, got 0."),
        (lambda: Decimate((4, 4), (2,)), ParameterError, "Decimate.factor must have one value per axis of (4, 4)"),
        (lambda: Decimate((4, 4), 2, 2), ParameterError, "Decimate.phase must be below the factor 2 and the length 4"),
        (lambda: Decimate((4, 1), 2, 1), ParameterError, "and the length 1 of its axis, got 1. Take 'first' or"),
        (lambda: Decimate((4, 4), 2, "last"), ParameterError, "Decimate.phase must be one of 'first', 'centre'"),
        (lambda: Decimate((4, 4), 2, (0, 1, 1)), ParameterError, "Decimate.phase must have one value per axis"),
        (lambda: Decimate((), 2), ParameterError, "Decimate.image_shape must be of length 1 or more, got ()."),
        (lambda: BlockSum((4, 5), 2), ParameterError, "BlockSum.factor must divide the axis of length 5, got 2. Crop"),
        (lambda: BlockMean((4, 5), 2), ParameterError, "BlockMean.factor must divide the axis of length 5, got 2."),
        (lambda: Select((4, 5), 2, [0]), ParameterError, "Select.axis must be in -2 ... 1, got 2."),
        (lambda: Select((4, 5), 0, [4]), ParameterError, "Select.index must be different numbers in -4 ... 3, at"),
        (lambda: Select((4, 5), 0, [1, -3]), ParameterError, "Select.index must be different numbers in -4 ... 3"),
        (lambda: Select((4, 5), 0, slice(9, None)), ParameterError, "at least one, got slice(9, None, None)."),
        (lambda: Select((4, 5), 0, 1.5), ParameterError, "Select.index must be a slice or a sequence, got 1.5."),
        (lambda: Select.every((4,), 0, 0), ParameterError, "Select.every step must be >= 1 and start >= 0, got 0"),
        (lambda: Bicubic((4, 5), 0), ParameterError, "Bicubic.factor must be > 0 or a sequence, got 0."),
        (lambda: Bicubic((4, 5), (2, 2, 2)), ParameterError, "Bicubic.factor must have one value per axis of (4, 5)"),
        (
            lambda: Interpolate((2, 2, 2, 2), np.zeros((1, 4))),
            ParameterError,
            "Interpolate.image_shape must have 1 to 3 axes, got (2, 2, 2, 2).",
        ),
        (
            lambda: Interpolate((4, 5), np.zeros((3, 3))),
            ParameterError,
            "Interpolate.points must be real numbers of shape (K, 2), got shape (3, 3) and dtype float64. Give one row",
        ),
        (lambda: Interpolate((4,), [np.inf]), ArrayError, "Interpolate.points must be finite, got NaN or infinity."),
        (lambda: Interpolate((4,), [1.0], 2), ParameterError, "Interpolate.order must be one of 1, 3, got 2."),
        (
            lambda: LearnedSubsampling((4,), [0, 4]),
            ParameterError,
            "LearnedSubsampling.indices must be one axis of different whole numbers in 0 ... 3, got [0, 4]. Of a mask",
        ),
        (lambda: LearnedSubsampling((4,), [1, 1]), ParameterError, "different whole numbers in 0 ... 3, got [1, 1]."),
        (lambda: LearnedSubsampling((4,), [True]), ParameterError, "Of a mask take numpy.flatnonzero."),
        (lambda: LearnedSubsampling((4,), []), ParameterError, "must be one axis of different whole numbers"),
        (
            lambda: LearnedSubsampling.from_scores(np.zeros(3), 4),
            ParameterError,
            "LearnedSubsampling.from_scores count must be an integer in 1 ... 3, got 4.",
        ),
        (
            lambda: LearnedSubsampling.from_scores(np.zeros(3), 2.0),
            ParameterError,
            "from_scores count must be an integer in 1 ... 3, got 2.0.",
        ),
        (
            lambda: LearnedSubsampling.from_scores([0.0, np.nan], 1),
            ParameterError,
            "LearnedSubsampling.from_scores scores must be real numbers, none of them NaN, got [0.0, nan].",
        ),
        (
            lambda: Select((4, 5), 0, slice(None, None, 0)),
            ParameterError,
            "Select.index must be a slice of an axis, got slice(None, None, 0): slice step cannot be zero.",
        ),
        (lambda: Decimate((4, 4), 2) @ np.ones((4, 3)), ShapeError, "Decimate input must have shape (..., 4, 4), got"),
        (lambda: Bicubic((4, 4), 2, "real") @ np.ones((4, 4), complex), ArrayError, "must be real floating point"),
    ],
)  # fmt: skip
def test_refusals(make, error, text):
    with pytest.raises(error, match=re.escape(text)):
        make()

"""Problem: what it checks when it is made, its objective and gradient, the start, and every text."""

from __future__ import annotations

import math
import pickle
import re

import numpy as np
import pytest
import torch

import recon
from recon.algebra import Identity, Matrix
from recon.arrays import ArraySpec, as_numpy
from recon.errors import ArrayError, CapabilityError, ParameterError, ShapeError
from recon.losses import LeastSquares, Poisson, WeightedLeastSquares
from recon.priors import L1, TV, Box, Prior
from recon.problem import Problem
from recon.stacks import vstack

M = np.random.default_rng(10).standard_normal((3, 4))
Y = np.array([1.0, -2.0, 0.5])


def test_objective_gradient_and_penalty(to):
    problem = Problem(Matrix(M), to(Y), L1(0.3), noise=0.1)
    x = np.arange(4.0)
    residual = M @ x - Y
    assert problem.objective(to(x)) == pytest.approx(0.5 * residual @ residual + 0.3 * 6.0)
    assert problem.objective(to(x), to(M @ x)) == pytest.approx(problem.objective(to(x)), rel=1e-14)
    assert problem.penalty(to(x)) == pytest.approx(1.8)
    np.testing.assert_allclose(as_numpy(problem.gradient(to(x))), M.T @ residual)
    assert Problem(Matrix(M), to(Y)).penalty(to(x)) == 0.0


class Counting(Matrix):
    """A matrix with a fast A^H A that counts how often its products are taken."""

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "calls", [])

    def _forward(self, x):
        self.calls.append("forward")
        return super()._forward(x)

    def _adjoint(self, y):
        self.calls.append("adjoint")
        return super()._adjoint(y)

    def normal(self, x):
        self.calls.append("normal")
        return super()._adjoint(super()._forward(x))


def test_the_gradient_of_least_squares_takes_the_fast_normal(to):
    x, problem = to(np.arange(4.0)), Problem(Counting(M), to(Y))
    wanted = M.T @ (M @ np.arange(4.0) - Y)
    for _ in range(2):
        np.testing.assert_allclose(as_numpy(problem.gradient(x)), wanted, rtol=1e-12)
    assert problem.operator.calls == ["normal", "adjoint", "normal"]  # A^H y once
    assert "_back_projection" not in pickle.loads(pickle.dumps(problem)).__dict__
    weighted = Problem(Counting(M), to(Y), loss=WeightedLeastSquares(np.ones(3)))
    np.testing.assert_allclose(as_numpy(weighted.gradient(x)), wanted, rtol=1e-12)
    assert weighted.operator.calls == ["forward", "adjoint"]
    with pytest.raises(ShapeError, match=r"input must have shape"):
        problem.gradient(to(np.zeros(5)))


def test_batches_and_starts(to):
    problem = Problem(Matrix(M), to(np.ones((5, 2, 3), np.float32)))
    assert problem.batch == (5, 2)
    start = problem.start()
    assert start.dtype == problem.data.dtype
    assert tuple(start.shape) == (5, 2, 4)
    assert problem.start(start) is start
    pair = Problem(vstack(Matrix(M), Matrix(M)), (to(Y), to(Y)), noise=(to(np.ones(3)), to(np.ones(3))))
    assert tuple(pair.start().shape) == (4,)
    assert pair.objective(pair.start()) == pytest.approx(Y @ Y)


@pytest.mark.parametrize("noise", [None, "estimate", 0.1, 1, np.float32(0.1), np.float64(2), np.ones(3)])
def test_noise_that_is_taken(noise):
    assert Problem(Matrix(M), Y, noise=noise).noise is noise


def test_require_names_solver_owner_method_and_alternative():
    problem = Problem(Matrix(M), Y, TV(1.0, ndim=1))
    assert problem.require(problem.prior, "prox", "Fista", "Pdhg") == problem.prior.prox
    for owner, text in (
        (problem.prior, "Fista needs TV.score, which it has not. Use Pdhg instead."),
        (problem.operator, "Fista needs Matrix.score, which it has not. Use Pdhg instead."),
    ):
        with pytest.raises(CapabilityError, match=re.escape(text)):
            problem.require(owner, "score", "Fista", "Pdhg")


class Silent(Prior):
    """A prior without a value."""


BAD = np.array([1.0, np.nan, np.inf])


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: Problem(M, Y),
            ParameterError,
            "Problem.operator must be an Operator, got ndarray. Wrap a matrix with recon.Matrix.",
        ),
        (lambda: Problem(Matrix(M), Y, "tv"), ParameterError, "Problem.prior must be a Prior, got str."),
        (lambda: Problem(Matrix(M), Y, loss=L1()), ParameterError, "Problem.loss must be a Loss, got L1."),
        (lambda: Problem(Matrix(M), Y[:2]), ShapeError, "Problem.data must have shape (..., 3), got (2,)."),
        (
            lambda: Problem(Matrix(M), Y.astype(int)),
            ArrayError,
            "Problem.data must be real floating point, got int64.",
        ),
        (
            lambda: Problem(Matrix(M), list(Y)),
            ArrayError,
            "Problem.data must be an array of NumPy, CuPy, torch",
        ),
        (
            lambda: Problem(Matrix(M), BAD),
            ArrayError,
            "Problem.data must be finite, got 2 of 3 entries NaN or infinite. Mask or replace those entries first.",
        ),
        (lambda: Problem(Matrix(M), torch.asarray(BAD)), ArrayError, "got 2 of 3 entries NaN or infinite."),
        (lambda: Problem(Matrix(M), Y, loss=Poisson()), ParameterError, "Poisson data must be counts >= 0"),
        (
            lambda: Problem(Matrix(M), Y, loss=WeightedLeastSquares(np.ones(4))),
            ShapeError,
            "WeightedLeastSquares.weights must have the shape of the data, (3,), got (4,).",
        ),
        (
            lambda: Problem(Matrix(M), Y, TV(1.0)),
            ShapeError,
            "TV.ndim must be at most the 1 axes of the image, got 2. Lower it.",
        ),
        (
            lambda: Problem(Matrix(M + 1j), Y + 0j, Box()),
            ShapeError,
            "Box must act on real arrays, got a complex spec.",
        ),
        (
            lambda: Problem(Matrix(M), Y, noise="guess"),
            ParameterError,
            "Problem.noise must be a number, an array or 'estimate', got 'guess'.",
        ),
        (
            lambda: Problem(Matrix(M), Y, noise=0),
            ParameterError,
            "Problem.noise must be > 0, got 0. Leave it out",
        ),
        (
            lambda: Problem(Matrix(M), Y, noise=math.inf),
            ParameterError,
            "Problem.noise must be > 0, got inf.",
        ),
        (
            lambda: Problem(Matrix(M), Y, noise=np.ones(2)),
            ShapeError,
            "Problem.noise must have the shape of the data, got [(2,)].",
        ),
        (
            lambda: Problem(Matrix(M), Y, noise=np.zeros(3)),
            ParameterError,
            "Problem.noise must be real, > 0 and finite everywhere, got other entries.",
        ),
        (
            lambda: Problem(Matrix(M), Y, Silent()).objective(np.ones(4)),
            CapabilityError,
            "Problem.objective needs Silent.value, which it has not. Use a solver",
        ),
        (
            lambda: Problem(Matrix(M), Y).start(np.ones(5)),
            ShapeError,
            "The start x0 must have shape (..., 4), got (5,).",
        ),
        (
            lambda: Problem(Matrix(M), Y).start(np.ones((2, 4))),
            ShapeError,
            "The start x0 must have the batch axes () of the data, got (2,).",
        ),
        (
            lambda: Problem(Matrix(M), Y).start(np.ones(4, np.float32)),
            ArrayError,
            "The start x0 must have the precision of the data, float64, got float32. Convert it.",
        ),
        (
            lambda: Problem(Matrix(M), Y).start(torch.ones(4)),
            ArrayError,
            "Arrays of one call must come from one library",
        ),
        (
            lambda: Problem(Matrix(M), Y).start(np.full(4, np.nan)),
            ArrayError,
            "The start x0 must be finite, got NaN",
        ),
    ],
)
def test_refusals(make, error, text):
    with pytest.raises(error, match=re.escape(text)):
        make()


def test_the_default_loss_is_least_squares():
    assert Problem(Identity(ArraySpec((3,))), Y).loss == LeastSquares()


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        (np.zeros((0, 3)), ShapeError, "Problem.data must hold at least one sample, got batch axes (0,)."),
        (
            np.ones(3, ">f4"),
            ArrayError,
            "Problem.data must be float32 or float64, got float32 in foreign byte order.",
        ),
        (np.ones(3, np.float16), ArrayError, "Problem.data must be float32 or float64, got float16."),
        (np.ones(3, np.longdouble), ArrayError, "Problem.data must be float32 or float64, got "),
        (
            np.ma.masked_invalid([1.0, np.nan, 2.0]),
            ArrayError,
            "Problem.data must be a plain array, got a MaskedArray",
        ),
        (torch.ones(3, requires_grad=True), ArrayError, "Problem.data must not require gradients"),
        ([1.0, 2.0, 3.0], ArrayError, "Problem.data must be an array of NumPy, CuPy, torch"),
    ],
)
def test_data_that_would_be_changed_silently_is_refused(data, error, text):
    with pytest.raises(error, match=re.escape(text)):
        Problem(recon.Identity(recon.ArraySpec((3,))), data)


@pytest.mark.parametrize("noise", [True, [1.0, 2.0, 3.0], np.ones(3, complex)], ids=repr)
def test_noise_is_a_number_or_a_real_array(noise):
    with pytest.raises(ParameterError, match=r"Problem.noise must be"):
        Problem(recon.Identity(recon.ArraySpec((3,))), np.ones(3), noise=noise)

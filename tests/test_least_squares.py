"""Lsqr and OsSart: the iterates of CGLS from any start, formulas, subsets of views."""

from __future__ import annotations

import array_api_strict as strict
import numpy as np
import pytest
import torch
from recon_operators.tomography import ParallelBeam, sparse_view
from recon_proximal import Cgls, Lsqr, OsSart, Sirt

import recon
from recon import L1, L2, Box, NonNegative, Poisson, Problem, WeightedLeastSquares
from recon.checkpoint import load_state, save_state
from recon.errors import CapabilityError
from recon.testing import check_solver


@pytest.mark.parametrize("solver", [Lsqr(), OsSart(), OsSart(3, 1.5, 1.0)], ids=repr)
def test_contract(solver):
    check_solver(solver)


def quadratic(damp, weighted, kind="real", seed=0):
    rng = np.random.default_rng(seed)
    matrix, data = rng.standard_normal((30, 12)), rng.standard_normal(30)
    if kind == "complex":
        matrix, data = matrix + 1j * rng.standard_normal((30, 12)), data + 1j * rng.standard_normal(30)
    loss = WeightedLeastSquares(rng.uniform(0.0, 3.0, 30)) if weighted else recon.LeastSquares()
    return Problem(recon.Matrix(matrix), data, L2(damp) if damp else None, loss)


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("damp", [0.0, 2.0])
@pytest.mark.parametrize("start", [None, 5.0])
def test_lsqr_has_the_iterates_of_cgls(damp, weighted, kind, start):
    problem = quadratic(damp, weighted, kind)
    x0 = (
        None
        if start is None
        else start * np.random.default_rng(1).standard_normal(12).astype(problem.data.dtype)
    )
    pairs = zip(recon.iterate(problem, Lsqr(), x0=x0), recon.iterate(problem, Cgls(), x0=x0), strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one.x, other.x, rtol=1e-8, atol=1e-8)
        assert problem.objective(one.x) == pytest.approx(0.5 * one.phi**2, rel=1e-8)
        if one.iteration == 9:
            break


def test_a_start_does_not_change_what_lsqr_minimises():
    problem = quadratic(3.0, False)
    matrix = problem.operator.matrix
    expected = np.linalg.solve(matrix.T @ matrix + 3.0 * np.eye(12), matrix.T @ problem.data)
    x0 = 100.0 * np.ones(12)
    result = recon.solve(problem, Lsqr(), x0=x0, stop=14, every=1)
    np.testing.assert_allclose(result.x, expected, atol=1e-9)
    values = np.array(result.series("objective")[1])
    assert (np.diff(values) <= 1e-9 * values[:-1]).all()


def test_lsqr_stays_at_the_minimum():
    problem = Problem(recon.Identity(recon.ArraySpec((4,))), np.ones(4), L2(1.0))
    np.testing.assert_allclose(recon.solve(problem, Lsqr(), stop=6).x, 0.5 * np.ones(4))
    nothing = Problem(recon.Identity(recon.ArraySpec((4,))), np.zeros(4))
    assert (recon.solve(nothing, Lsqr(), stop=3).x == 0).all()


def test_lsqr_takes_tuples():
    rng = np.random.default_rng(0)
    one, two = (recon.Matrix(rng.standard_normal((9, 6))) for _ in range(2))
    weights = (rng.uniform(0.5, 2.0, 9), rng.uniform(0.5, 2.0, 9))
    data = (rng.standard_normal(9), rng.standard_normal(9))
    problem = Problem(recon.vstack(one, two), data, L2(0.1), WeightedLeastSquares(weights))
    np.testing.assert_allclose(
        recon.solve(problem, Lsqr(), stop=8).x, recon.solve(problem, Cgls(), stop=8).x, atol=1e-9
    )


# -- subsets ---------------------------------------------------------------------------------------------


def scan(size=24, views=16, noise=0.0):
    operator = ParallelBeam((size, size), sparse_view(views))
    image = np.zeros((size, size))
    image[6:15, 8:14] = 1.0
    image[9:12, 10:12] = 0.3
    data = operator @ image
    return operator, image, data + noise * np.random.default_rng(0).standard_normal(data.shape)


def test_os_sart_equals_its_formula():
    operator, _, data = scan(12, 8)
    matrix = recon.linalg.dense(operator).reshape(*operator.codomain.shape, -1)
    x, order = np.zeros(144), [0, 2, 1, 3]  # 00, 01, 10, 11 read backwards
    for sweep in range(3):
        for j in order:
            part, y = matrix[j::4].reshape(-1, 144), data[j::4].ravel()
            rows, columns = part.sum(1), part.sum(0)
            with np.errstate(divide="ignore"):
                rows = np.where(rows > 1e-6 * matrix.sum(-1).max(), 1 / rows, 0.0)
                columns = np.where(columns > 1e-6 * columns.max(), 1 / columns, 0.0)
            x = np.clip(x + 0.8 * 0.9**sweep * columns * (part.T @ (rows * (y - part @ x))), 0.0, 0.9)
    result = recon.solve(Problem(operator, data, Box(0.0, 0.9)), OsSart(4, 0.8, 0.9), stop=3)
    np.testing.assert_allclose(result.x.ravel(), x, rtol=1e-9, atol=1e-12)


def test_one_subset_is_sirt():
    operator, _, data = scan(12, 8)
    problem = Problem(operator, data, NonNegative())
    one, other = (recon.solve(problem, s, stop=6).x for s in (OsSart(1, 1.0, 1.0), Sirt()))
    np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


def test_five_sweeps_are_better_than_fifty_of_sirt():
    operator, image, data = scan(noise=0.02)
    problem = Problem(operator, data, NonNegative())
    errors = [
        np.linalg.norm(recon.solve(problem, s, stop=n).x - image) for s, n in ((OsSart(), 5), (Sirt(), 50))
    ]
    assert errors[0] < errors[1]


def test_samples_of_a_batch_are_independent():
    operator, _, data = scan(12, 8)
    many = recon.solve(Problem(operator, np.stack([data, 2 * data]), NonNegative()), OsSart(4), stop=3).x
    alone = recon.solve(Problem(operator, 2 * data, NonNegative()), OsSart(4), stop=3).x
    np.testing.assert_allclose(many[1], alone, rtol=1e-12)


def test_refusals_say_what_to_use():
    operator, _, data = scan(12, 8)
    with pytest.raises(
        CapabilityError, match=r"OsSart needs Matrix.views, which it has not. Use Sirt instead"
    ):
        recon.solve(Problem(recon.Matrix(np.eye(3)), np.ones(3)), OsSart())
    with pytest.raises(CapabilityError, match="OsSart needs LeastSquares, got Poisson. Use Pdhg"):
        recon.solve(Problem(operator, np.abs(data), None, Poisson()), OsSart())
    with pytest.raises(
        CapabilityError, match=r"OsSart takes bounds \(NonNegative, Box\) or no prior, got L1"
    ):
        recon.solve(Problem(operator, data, L1()), OsSart())
    with pytest.raises(CapabilityError, match="Lsqr needs an L2 prior or none, got L1"):
        recon.solve(Problem(operator, data, L1()), Lsqr())
    with pytest.raises(CapabilityError, match="Lsqr needs a quadratic loss, got Poisson. Use Pdhg"):
        recon.solve(Problem(operator, np.abs(data), None, Poisson()), Lsqr())


@pytest.mark.parametrize(("solver", "steps"), [(Lsqr(), 5), (OsSart(), 8)], ids=repr)
def test_the_same_iterates_on_every_library(solver, steps):
    problem, iterates = type(solver).example(), []
    for convert in (np.asarray, strict.asarray, torch.from_numpy):
        same = Problem(problem.operator, convert(problem.data), problem.prior)
        states = recon.iterate(same, solver)
        iterates.append([np.asarray(next(states).x) for _ in range(steps)])
    np.testing.assert_allclose(iterates[1], iterates[0], atol=1e-9)
    np.testing.assert_allclose(iterates[2], iterates[0], atol=1e-9)


@pytest.mark.parametrize("solver", [Lsqr(), OsSart()], ids=repr)
def test_resumed_bit_for_bit(solver, tmp_path):
    problem = type(solver).example()
    straight = recon.solve(problem, solver, stop=12).x
    part = recon.solve(problem, solver, stop=5)
    save_state(tmp_path / "state.npz", part.state, problem, solver)
    state = load_state(tmp_path / "state.npz", problem, solver)
    assert recon.solve(problem, solver, state=state, stop=12).x.tobytes() == straight.tobytes()

"""Pogm, Fista's line search, CondatVu, Pd3o and Admm's x step: contract, independent optima, one result everywhere."""

from __future__ import annotations

import functools
import math

import array_api_strict as strict
import numpy as np
import pytest
import torch
from recon_operators.convolution import Convolution
from recon_operators.fourier import CartesianMRI
from recon_proximal import Admm, CondatVu, Fista, Pd3o, Pdhg, Pogm

import recon
from recon import L1, L2, L21, TV, Box, NonNegative, Poisson, Problem, WeightedLeastSquares
from recon.checkpoint import load_state, save_state
from recon.errors import CapabilityError, ParameterError
from recon.priors import TGV
from recon.testing import check_solver

SOLVERS = [Pogm(), Pogm(restart=False), Fista(line_search=True), CondatVu(), Pd3o(), Admm(relaxation=1.0)]


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_contract(solver):
    check_solver(solver)


def lasso(seed=3, m=40, n=80, weight=0.05):
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((m, n)) / np.sqrt(m)
    x = np.zeros(n)
    x[:6] = rng.standard_normal(6)
    return matrix, matrix @ x + 0.01 * rng.standard_normal(m), weight


def lasso_by_coordinates(matrix, data, weight, sweeps=4000):
    """The minimum of the lasso by coordinate descent."""
    x, r, squares = np.zeros(matrix.shape[1]), data.copy(), (matrix**2).sum(0)
    for _ in range(sweeps):
        for j in range(x.size):
            v = x[j] + matrix[:, j] @ r / squares[j]
            new = math.copysign(max(abs(v) - weight / squares[j], 0.0), v)
            r += matrix[:, j] * (x[j] - new)
            x[j] = new
    return x, 0.5 * r @ r + weight * np.abs(x).sum()


def test_lasso_equals_coordinate_descent():
    matrix, data, weight = lasso()
    x, value = lasso_by_coordinates(matrix, data, weight, 1500)
    for solver in (Pogm(), Pogm(restart=False), Fista(line_search=True), CondatVu(), Pd3o()):
        result = recon.solve(Problem(recon.Matrix(matrix), data, L1(weight)), solver, stop=3000, every=500)
        assert result.objective == pytest.approx(value, rel=1e-9), solver
        np.testing.assert_allclose(result.x, x, atol=1e-5)


def reached(problem, solver, value, tol, limit=3000):
    """The first iteration with an objective within tol of the minimum."""
    states = recon.iterate(problem, solver)
    close = (s for s in states if problem.objective(s.x) <= (1.0 + tol) * value or s.iteration == limit)
    return next(close).iteration


def test_pogm_takes_the_root_of_half_the_iterations_of_fista():
    # its bound is half of FISTA's 2 L |x0 - x*|^2 / k^2: 1 / sqrt(2) of the iterations
    counts = []
    for seed in range(4):
        matrix, data, weight = lasso(seed, 60, 150, 0.02)
        problem = Problem(recon.Matrix(matrix), data, L1(weight))
        value = recon.solve(problem, Fista(), stop=3000, every=1000).objective
        counts.append([reached(problem, s(restart=False), value, 1e-2) for s in (Fista, Pogm)])
    fista, pogm = np.sum(counts, axis=0)
    assert 0.6 < pogm / fista < 0.8


def test_pogm_without_a_prior_is_the_optimized_gradient_method():
    rng = np.random.default_rng(0)
    matrix, data = rng.standard_normal((12, 8)), rng.standard_normal(12)
    bound = np.linalg.norm(matrix, 2) ** 2
    x = y = np.zeros(8)
    t = 1.0
    for state in recon.iterate(Problem(recon.Matrix(matrix), data), Pogm(1.0 / bound, restart=False)):
        new = x - matrix.T @ (matrix @ x - data) / bound
        after = (1.0 + math.sqrt(1.0 + 4.0 * t * t)) / 2.0
        x, y, t = new + (t - 1.0) / after * (new - y) + t / after * (new - x), new, after
        np.testing.assert_allclose(state.x, x, rtol=1e-10, atol=1e-12)
        if state.iteration == 25:
            break


def counts():
    given = Pdhg.example()
    data = np.random.default_rng(0).poisson(5 * np.maximum(given.data, 0)).astype(float)
    return Problem(5 * given.operator, data, L1(0.5) + NonNegative(), Poisson(0.2))


def test_the_line_search_solves_poisson_without_a_lipschitz_constant():
    problem = counts()
    result = recon.solve(problem, Fista(line_search=True), stop=1500, every=100)
    reference = recon.solve(problem, Pdhg(), stop=8000, every=1000)
    assert result.objective == pytest.approx(reference.objective, rel=1e-7)
    with pytest.raises(ParameterError, match="Fista.line_search must start where the loss is finite"):
        Fista(line_search=True).init(Problem(problem.operator, problem.data, L1(), Poisson()))


def test_steps_of_the_line_search_meet_the_descent_condition():
    problem = Fista.example()
    operator, loss, data = problem.operator, problem.loss, problem.data
    previous = None
    for state in recon.iterate(problem, Fista(line_search=True, restart=False)):
        if previous is not None:
            b = (previous.t - 1.0) / state.t
            z = previous.x + b * (previous.x - previous.previous)
            pull = operator.H @ loss.gradient(operator @ z, data)
            move = state.x - z
            model = loss.value(operator @ z, data) + pull @ move + move @ move / (2 * state.step)
            assert loss.value(operator @ state.x, data) <= model * (1 + 1e-12)
        previous = state
        if state.iteration == 60:
            break
    assert state.step > 1.0 / np.linalg.norm(operator.matrix, 2) ** 2  # what the search is good for


def test_a_line_search_at_a_minimum_stays():
    problem = Problem(recon.Matrix(np.eye(3)), np.zeros(3), L1(0.1))
    assert (recon.solve(problem, Fista(line_search=True), stop=5).x == 0).all()


# -- three terms -----------------------------------------------------------------------------------------


def blurred(boundary="periodic", shape=(11, 10)):
    rng = np.random.default_rng(0)
    image = np.zeros(shape)
    image[3:9, 2:8] = 1.0
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16.0
    operator = Convolution(kernel, shape, boundary=boundary)
    return Problem(operator, operator @ image + 0.02 * rng.standard_normal(shape), TV(0.02) + NonNegative())


@functools.cache
def deblurred(boundary):
    """The least objective of `blurred`, by a proximal gradient whose prox is solved to 1e-9."""
    problem, exact = blurred(boundary), TV(0.02, tol=1e-9, iterations=1000) + NonNegative()
    return recon.solve(Problem(problem.operator, problem.data, exact), Fista(), stop=60, every=60).objective


@pytest.mark.parametrize(
    "solver", [CondatVu(), CondatVu(relaxation=1.0), Pd3o(), Pd3o(step_size=0.5)], ids=repr
)
def test_deblurring_with_tv_and_bounds_equals_an_accurate_proximal_gradient(solver):
    problem = blurred()
    result = recon.solve(problem, solver, stop=3000, every=1000)
    assert result.x.min() >= 0.0
    assert result.objective == pytest.approx(deblurred("periodic"), rel=1e-6)


@pytest.mark.parametrize("solver", [CondatVu(), Pd3o()], ids=repr)
def test_several_priors_and_a_weighted_loss(solver):
    rng = np.random.default_rng(0)
    matrix, data = rng.standard_normal((60, 48)), rng.standard_normal(60)
    loss = WeightedLeastSquares(rng.uniform(0.1, 5.0, 60))
    prior = L1(0.2) + L21(0.3) + Box(-0.5, 0.5)
    problem = Problem(recon.Matrix(matrix, domain_shape=(8, 6)), data, prior, loss)
    values = [recon.solve(problem, s, stop=1200, every=400).objective for s in (solver, Pdhg())]
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_pd3o_without_an_operator_is_davis_yin():
    rng = np.random.default_rng(0)
    matrix, data = rng.standard_normal((10, 6)), rng.standard_normal(10)
    t = 1.0 / np.linalg.norm(matrix, 2) ** 2
    problem = Problem(recon.Matrix(matrix, domain_shape=(3, 2)), data, L1(0.3) + L21(0.4))
    z, seen = np.zeros((3, 2)), []
    z = z - t * (matrix.T @ -data).reshape(3, 2)
    for _ in range(20):  # x = prox_g(z); z += prox_h(2 x - z - t grad f(x)) - x
        x = z
        slope = (matrix.T @ (matrix @ x.ravel() - data)).reshape(3, 2)
        u = L1(0.3).prox(2 * x - z - t * slope, t)
        z = z + u - x
        seen.append(x)
    one = Problem(problem.operator, data, _Split(L1(0.3)))
    for state in recon.iterate(one, Pd3o(step_size=t)):
        np.testing.assert_allclose(state.x, seen[state.iteration - 1], atol=1e-12)
        if state.iteration == 20:
            break


class _Split(recon.Prior):
    """A prior that splits with the identity."""

    def __init__(self, prior):
        self.prior, self.value = prior, prior.value

    def split(self, spec):
        return self.prior, recon.Identity(spec)


def test_refusals_say_what_to_use():
    problem = counts()
    for solver in (Pogm(), CondatVu(), Pd3o()):
        with pytest.raises(
            CapabilityError, match=f"{type(solver).__name__} needs a loss with a Lipschitz grad"
        ):
            recon.solve(problem, solver)
    sums = Problem(problem.operator, problem.data, L1(0.2) + L2(0.3))
    with pytest.raises(CapabilityError, match="Pogm needs Total.prox, which it has not. Use Pdhg or Admm"):
        recon.solve(sums, Pogm())


# -- the x step of Admm ----------------------------------------------------------------------------------


def test_admm_finds_the_basis_that_makes_the_operator_diagonal():
    cases = {"periodic": (2, False), "symmetric": (2, True), "zero": (0, False)}
    for boundary, (count, mirror) in cases.items():
        state = Admm().init(blurred(boundary))
        assert (len(state.spectra), state.mirror) == (count, mirror), boundary
    weighted = blurred()
    weights = np.random.default_rng(0).uniform(0.1, 1.0, weighted.data.shape)
    loss = WeightedLeastSquares(weights)
    assert Admm().init(Problem(weighted.operator, weighted.data, weighted.prior, loss)).spectra == ()


def test_with_mirror_images_one_conjugate_gradient_step_is_exact():
    problem = blurred("symmetric")
    states = [recon.solve(problem, Admm(inner=k, tol=1e-14), stop=15).state for k in (1, 200)]
    np.testing.assert_allclose(states[0].primal, states[1].primal, atol=1e-9)


@pytest.mark.parametrize("boundary", ["periodic", "symmetric", "zero"])
def test_admm_deblurs_to_the_optimum(boundary):
    problem = blurred(boundary)
    result = recon.solve(problem, Admm(), stop=900, every=300)
    assert result.objective == pytest.approx(deblurred(boundary), rel=1e-6)


def test_admm_on_complex_data_with_one_coil():
    rng = np.random.default_rng(0)
    mask = rng.random((12, 10)) < 0.6
    operator = CartesianMRI(mask)
    image = np.zeros((12, 10), complex)
    image[3:8, 2:7] = 1.0 + 0.5j
    problem = Problem(operator, operator @ image, TV(0.01))
    assert len(Admm().init(problem).spectra) == 2
    exact = Problem(operator, problem.data, TV(0.01, tol=1e-10, iterations=3000))
    value = recon.solve(problem, Admm(), stop=800, every=400).objective
    assert value == pytest.approx(recon.solve(exact, Fista(), stop=80, every=80).objective, rel=1e-6)


def test_admm_goes_on_where_a_nested_prox_ended(tmp_path):
    class Counted(TGV):
        """TGV that counts how often its prox starts from nothing."""

        def prox_from(self, v, t, memory):
            fresh.append(memory is None)
            return super().prox_from(v, t, memory)

    problem, fresh = blurred(), []
    problem = Problem(problem.operator, problem.data, Counted(0.02, tol=1e-3) + NonNegative())
    straight = recon.solve(problem, Admm(), stop=6).x
    assert fresh == [True] + 5 * [False]
    part = recon.solve(problem, Admm(), stop=3)
    save_state(tmp_path / "state.npz", part.state, problem, Admm())
    state = load_state(tmp_path / "state.npz", problem, Admm())
    assert recon.solve(problem, Admm(), state=state, stop=6).x.tobytes() == straight.tobytes()


def test_the_residuals_of_admm_tell_when_it_has_converged():
    problem = blurred()
    result = recon.solve(problem, Admm(), stop=400, every=400)
    last = result.history[-1].values
    assert last["primal_residual"] < 1e-5
    assert last["dual_residual"] < 1e-5
    early = recon.solve(problem, Admm(), stop=5, every=5).history[-1].values
    assert max(early["primal_residual"], early["dual_residual"]) > 1e-3


# -- one file, every array library -----------------------------------------------------------------------

LIBRARIES = {"numpy": np.asarray, "strict": strict.asarray, "torch": torch.from_numpy}


@pytest.mark.parametrize(
    ("solver", "problem", "steps", "limit"),
    [
        (Pogm(), Pogm.example(), 40, 1e-12),
        (Fista(line_search=True), Fista.example(), 30, 1e-11),
        (CondatVu(), CondatVu.example(), 40, 1e-12),
        (Pd3o(), Pd3o.example(), 40, 1e-12),
        (Pd3o(), blurred(), 20, 1e-12),
        (Admm(), blurred("symmetric"), 8, 1e-9),
        (Admm(), blurred(), 5, 1e-9),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_same_iterates_on_every_library(solver, problem, steps, limit):
    iterates = {}
    for name, convert in LIBRARIES.items():
        same = Problem(problem.operator, convert(problem.data), problem.prior, problem.loss)
        states = recon.iterate(same, solver)
        iterates[name] = [np.asarray(next(states).x) for _ in range(steps)]
    scale = max(np.abs(x).max() for x in iterates["numpy"])
    for name in ("strict", "torch"):
        worst = max(np.abs(a - b).max() for a, b in zip(iterates["numpy"], iterates[name], strict=True))
        assert worst <= limit * scale, name


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_resumed_bit_for_bit(solver, tmp_path):
    problem = blurred() if not isinstance(solver, Pogm | Fista) else type(solver).example()
    straight = recon.solve(problem, solver, stop=40).x
    part = recon.solve(problem, solver, stop=17)
    save_state(tmp_path / "state.npz", part.state, problem, solver)
    state = load_state(tmp_path / "state.npz", problem, solver)
    assert recon.solve(problem, solver, state=state, stop=40).x.tobytes() == straight.tobytes()


@pytest.mark.parametrize("solver", [CondatVu(), Pd3o(), Admm(), Pogm()], ids=repr)
@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_iterates_scale_with_the_data(solver, scale):
    plain = blurred()
    weight = 1.0 if isinstance(solver, Pogm) else None
    prior = L1 if weight else TV
    extra = NonNegative()
    one = Problem(plain.operator, plain.data, prior(0.02) + extra)
    other = Problem(plain.operator, scale * plain.data, prior(0.02 * scale) + extra)
    x, y = (recon.solve(p, solver, stop=30, every=30).x for p in (one, other))
    np.testing.assert_allclose(y / scale, x, rtol=1e-6, atol=1e-8)

"""Abundances with given endmembers: exact optima, robust losses, bad input."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import array_api_strict as strict
import numpy as np
import pytest
import torch
from recon_unmixing import Abundances, BandL21, BandLog, Mixing, RobustAbundances
from recon_unmixing import _pixelwise as pixelwise
from scipy.optimize import minimize, nnls

import recon
from recon import L1, TV, LeastSquares, Matrix, NonNegative, Problem, Simplex, WeightedLeastSquares, solve
from recon.errors import ArrayError, CapabilityError, ShapeError
from recon.testing import check_loss, check_operator, check_solver

RNG = np.random.default_rng(5)
E = RNG.uniform(0.1, 0.9, (4, 30))
TRUTH = RNG.dirichlet(np.ones(4), (6, 7))
CUBE = TRUTH @ E + 0.03 * RNG.standard_normal((6, 7, 30))
REFERENCE = Path(__file__).parents[2] / "shared" / "reference"


def fit(prior, data=CUBE, endmembers=E, loss=None, solver=None):
    return solve(Problem(Mixing(endmembers), data, prior, loss or LeastSquares()), solver)


# -- the operator ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pixels", [(), (5,), (3, 2)])
def test_mixing_keeps_the_contract(pixels):
    check_operator(Mixing(E, pixels))
    check_operator(Mixing(E, pixels), like=strict.zeros(1, dtype=strict.float64))


def test_mixing_is_the_sum_of_spectra():
    a = np.array([0.2, 0.0, 0.5, 0.3])
    expected = 0.2 * E[0] + 0.5 * E[2] + 0.3 * E[3]
    assert np.abs(Mixing(E) @ a - expected).max() < 1e-15
    assert Mixing(E, (6, 7)).shape == (6 * 7 * 30, 6 * 7 * 4)


@pytest.mark.parametrize(
    ("endmembers", "error", "text"),
    [
        (
            E[0],
            ShapeError,
            r"Mixing.endmembers must have shape \(p, bands\), got \(30,\). Give one spectrum per row.",
        ),
        (E + 0j, ArrayError, "Mixing.endmembers must be real, got complex numbers."),
        (np.where(E > 0.85, np.nan, E), ArrayError, "Mixing.endmembers must be finite"),
    ],
)
def test_mixing_refuses(endmembers, error, text):
    with pytest.raises(error, match=text):
        Mixing(endmembers)


# -- least squares ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", [Abundances(), Abundances("projection"), RobustAbundances()])
def test_solvers_keep_the_contract(solver):
    check_solver(solver)


def test_solve_chooses_the_exact_methods():
    assert fit(Simplex()).provenance["chosen"].startswith("Abundances")
    assert fit(NonNegative(), loss=BandL21()).provenance["chosen"].startswith("RobustAbundances")
    assert fit(Simplex()).iterations == 1


def test_nnls_equals_scipy():
    A = fit(NonNegative()).x.reshape(-1, 4)
    expected = np.array([nnls(E.T, y)[0] for y in CUBE.reshape(-1, 30)])
    assert np.abs(A - expected).max() < 1e-11
    assert (expected == 0).any(), "no constraint was active: the test shows nothing"


def test_fcls_equals_a_general_optimiser_and_sums_to_one():
    A = fit(Simplex()).x.reshape(-1, 4)
    assert np.abs(A.sum(1) - 1).max() < 1e-14
    assert A.min() >= 0.0
    for y, a in list(zip(CUBE.reshape(-1, 30), A, strict=True))[:10]:
        found = minimize(
            lambda x, y=y: 0.5 * np.sum((x @ E - y) ** 2),
            np.full(4, 0.25),
            jac=lambda x, y=y: (x @ E - y) @ E.T,
            bounds=[(0, None)] * 4,
            constraints={"type": "eq", "fun": lambda x: x.sum() - 1, "jac": lambda x: np.ones(4)},
            options={"ftol": 1e-14, "maxiter": 500},
            method="SLSQP",
        )
        assert np.abs(found.x - a).max() < 1e-6


def test_ucls_is_least_squares():
    expected = np.linalg.lstsq(E.T, CUBE.reshape(-1, 30).T, rcond=None)[0].T
    x = solve(Problem(Mixing(E), CUBE), Abundances()).x
    assert np.abs(x.reshape(-1, 4) - expected).max() < 1e-12


@pytest.mark.parametrize("total", [None, 1.0])
@pytest.mark.parametrize("atoms", [3, 40, 120])
def test_optimality_conditions_hold_for_libraries_wider_than_their_bands(atoms, total):
    rng = np.random.default_rng(atoms)
    library = rng.uniform(0.1, 0.9, (atoms, 30)).cumsum(1)  # smooth, so coherent
    Y = rng.dirichlet(np.full(atoms, 0.1), 50) @ library + 0.05 * rng.standard_normal((50, 30))
    G, C = pixelwise.correlations(Y, library)
    A = pixelwise.exact(G, C, total)
    assert pixelwise.kkt(G, C, A, total) < 1e-10
    worse = pixelwise.kkt(G, C, np.abs(A + 0.01), total)
    assert worse > 1e-6, "the measure of optimality sees nothing"


def test_the_lasso_of_a_library_is_solved_exactly():
    rng = np.random.default_rng(3)
    library = rng.uniform(0.1, 0.9, (60, 30))
    Y = rng.dirichlet(np.full(60, 0.05), 20) @ library
    weights = rng.uniform(0.01, 0.03, (20, 60))
    A = fit(L1(weights) + NonNegative(), Y, library).x
    gradient = (A @ library - Y) @ library.T + weights
    assert gradient.min() > -1e-12
    assert np.abs(A * gradient).max() < 1e-12
    total = fit(L1(0.02) + Simplex(), Y, library).x  # a constant on the simplex: the same minimisers
    assert np.abs(total - fit(Simplex(), Y, library).x).max() < 1e-10


def test_duplicate_and_zero_endmembers_are_solved():
    twice = np.concatenate([E, E[1:2], np.zeros((1, 30))])
    for prior in (NonNegative(), Simplex()):
        A = fit(prior, endmembers=twice).x
        once = fit(prior, endmembers=np.concatenate([E, np.zeros((1, 30))])).x
        assert np.abs(A @ twice - once @ np.concatenate([E, np.zeros((1, 30))])).max() < 1e-9
        assert np.isfinite(A).all()


def test_dependent_columns_with_a_penalty_meet_the_conditions():
    rng = np.random.default_rng(8)
    base = rng.uniform(0.1, 0.9, (5, 12))
    library = np.concatenate([base, rng.dirichlet(np.ones(5), 15) @ base])  # rank 5, 20 atoms
    Y = rng.dirichlet(np.ones(5), 40) @ base + 0.02 * rng.standard_normal((40, 12))
    weights = rng.uniform(0.001, 0.05, 20)
    G, C = pixelwise.correlations(Y, library)
    A = pixelwise.exact(G, C - weights)
    assert pixelwise.kkt(G, C - weights, A) < 1e-8


def test_simplices_in_as_many_dimensions_as_they_need_are_solved():
    # p endmembers around 0 in p - 1 dimensions: G is singular, the problem is not
    rng = np.random.default_rng(9)
    vertices = rng.standard_normal((5, 4))
    vertices -= vertices.mean(0)
    truth = rng.dirichlet(np.ones(5), 200)
    A = pixelwise.exact(*pixelwise.correlations(truth @ vertices, vertices), 1.0)
    assert np.abs(A - truth).max() < 1e-9
    outside = pixelwise.correlations(3.0 * truth @ vertices, vertices)
    assert pixelwise.kkt(*outside, pixelwise.exact(*outside, 1.0), 1.0) < 1e-9


@pytest.mark.parametrize("total", [None, 1.0])
def test_starts_that_are_far_off_and_a_pixel_of_no_data_spoil_nothing(total):
    rng = np.random.default_rng(3)
    spectra = rng.random((5, 20))
    Y = (rng.dirichlet(np.ones(5), 60) @ spectra + 0.1 * rng.standard_normal((60, 20))) * (
        1e-8 if total is None else 1
    )
    G, C = spectra @ spectra.T, Y @ spectra.T
    right = pixelwise.exact(G, C, total)
    assert pixelwise.kkt(G, C, right, total) < 1e-12
    far = pixelwise.exact(G, C, total, 1e6 * rng.random((60, 5)) * (rng.random((60, 5)) < 0.5))
    assert far.min() >= 0.0
    assert np.abs(far - right).max() < 1e-10 * right.max()
    C[0] = 1e34 * spectra.sum(1)  # a number that stands for none
    spoiled = pixelwise.exact(G, C, total)
    assert np.abs(spoiled - right)[1:].max() < 1e-10 * right.max()
    if total is not None:
        assert np.abs(spoiled[0] - np.eye(5)[np.argmax(C[0])]).max() < 1e-8


def test_whole_numbers_whose_optimum_lies_in_a_corner_stay_nonnegative():
    spectra = np.array([[2.0, 2, 1], [0, 2, 1], [2, 2, 2], [0, 0, 0]])
    start = np.array([[22.87547817, 0.0, 19.1106084, 0.0]])
    found = pixelwise.exact(spectra @ spectra.T, np.ones((1, 3)) @ spectra.T, None, start)
    assert found.min() >= 0.0
    assert np.abs(found @ spectra - 1.0).max() < 1e-12


def test_all_zero_pixels_and_all_zero_scenes():
    cube = CUBE.copy()
    cube[0, 0] = 0.0
    assert (fit(NonNegative(), cube).x[0, 0] == 0).all()
    assert fit(Simplex(), cube).x[0, 0].sum() == pytest.approx(1.0)
    assert (fit(NonNegative(), 0 * CUBE).x == 0).all()
    assert np.isfinite(fit(Simplex(), 0 * CUBE).x).all()


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_units_do_not_matter(factor):
    for prior in (NonNegative(), Simplex()):
        same = fit(prior, factor * CUBE, factor * E).x
        assert np.abs(same - fit(prior).x).max() < 1e-9
    one = np.array([1.0, factor, 1.0, 1.0])
    scaled = fit(NonNegative(), CUBE, E * one[:, None]).x * one
    assert np.abs(scaled - fit(NonNegative()).x).max() < 1e-8


def test_weights_of_bands_are_data_divided_by_their_noise():
    w = RNG.uniform(0.2, 5.0, 30)
    left = fit(Simplex(), loss=WeightedLeastSquares(w)).x
    right = fit(Simplex(), CUBE * np.sqrt(w), E * np.sqrt(w)).x
    assert np.abs(left - right).max() < 1e-10
    ignored = np.where(np.arange(30) < 3, 0.0, 1.0)
    spoiled = CUBE.copy()
    spoiled[..., :3] += 9.0
    kept = fit(Simplex(), CUBE[..., 3:], E[:, 3:]).x
    assert np.abs(fit(Simplex(), spoiled, loss=WeightedLeastSquares(ignored)).x - kept).max() < 1e-10


@pytest.mark.parametrize("convert", [torch.as_tensor, strict.asarray])
@pytest.mark.parametrize("solver", [Abundances(), Abundances("projection")])
def test_other_libraries_and_projections_agree(convert, solver):
    for prior in (NonNegative(), Simplex()):
        x = fit(prior, convert(CUBE), solver=solver).x
        assert type(x) is type(convert(CUBE))
        assert np.abs(np.asarray(x) - fit(prior).x).max() < 1e-6


def test_single_precision_stays():
    x = fit(Simplex(), CUBE.astype(np.float32)).x
    assert x.dtype == np.float32
    assert np.abs(x - fit(Simplex()).x).max() < 1e-5


def test_a_matrix_is_a_mixing_of_its_columns():
    problem = Problem(Matrix(E.T), CUBE, Simplex())
    assert (solve(problem, Abundances()).x == fit(Simplex()).x).all()


@pytest.mark.parametrize(
    ("problem", "solver", "text"),
    [
        (
            Problem(recon.Gradient((3, 3)), np.zeros((2, 3, 3))),
            Abundances(),
            "Unmixing needs the operator Mixing",
        ),
        (
            Problem(Mixing(E), CUBE, L1(0.1)),
            Abundances(),
            "Abundances are solved for no prior, NonNegative, Simplex",
        ),
        (Problem(Mixing(E, (6, 7)), CUBE, TV(0.1)), Abundances(), "Use Fista, Pdhg or Admm."),
        (
            Problem(Mixing(E), CUBE, Simplex(), WeightedLeastSquares(RNG.uniform(1, 2, CUBE.shape))),
            Abundances(),
            "one weight per band, got WeightedLeastSquares. Use RobustAbundances",
        ),
        (
            Problem(Mixing(E), CUBE, Simplex()),
            RobustAbundances(),
            "RobustAbundances needs the loss BandL21 or BandLog",
        ),
        (
            Problem(Mixing(E), CUBE, L1(0.1) + NonNegative()),
            Abundances("projection"),
            "Abundances.method 'projection' needs NonNegative or Simplex, without L1.",
        ),
    ],
)
def test_what_cannot_be_solved_is_one_sentence(problem, solver, text):
    with pytest.raises(CapabilityError, match=text):
        solve(problem, solver)


# -- robust losses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [BandL21(), BandLog()])
def test_losses_keep_the_contract(loss):
    check_loss(loss)


@pytest.mark.parametrize("loss", [BandL21(), BandLog()])
def test_the_robust_loss_never_rises_and_forgets_bad_bands(loss):
    spoiled = CUBE.copy()
    spoiled[..., [4, 20]] += RNG.standard_normal((6, 7, 2)) + 2.0
    problem = Problem(Mixing(E), spoiled, Simplex(), loss)
    result = solve(problem, RobustAbundances(), every=1)
    values = result.series("objective")[1]
    assert all(b <= a + 1e-12 * abs(a) for a, b in itertools.pairwise(values))
    assert result.objective == pytest.approx(loss.value(problem.operator @ result.x, spoiled), rel=1e-12)
    plain = np.abs(fit(Simplex(), spoiled).x - TRUTH).mean()
    assert np.abs(result.x - TRUTH).mean() < 0.4 * plain
    weights = result.hyperparameters["weights"]
    assert max(weights[4], weights[20]) < 0.2 * np.median(weights)


@pytest.mark.parametrize("loss", [BandL21(), BandLog()])
def test_the_robust_loss_never_rises_where_bands_are_fitted_exactly(loss):
    for seed in range(20):  # few pixels: some bands have no residual left
        rng = np.random.default_rng(seed)
        spectra = rng.random((4, 7))
        data = rng.dirichlet(np.ones(4), 3) @ spectra + 1e-3 * rng.standard_normal((3, 7))
        problem, solver = Problem(Mixing(spectra), data, NonNegative(), loss), RobustAbundances(tol=0.0)
        state, values = solver.init(problem), []
        for _ in range(15):
            state = solver.step(problem, state)
            values.append(state.value)
            reached = loss.value(problem.operator @ state.x, data)
            assert reached == pytest.approx(state.value, rel=1e-9)
        assert max(np.diff(values)) <= 0.0
        if type(loss) is BandL21:  # the weights of a start are its own
            again = solver.init(problem, x0=state.x)
            assert solver.step(problem, again).value <= state.value * (1.0 + 1e-6)


def test_the_l21_minimum_is_the_global_one():
    rng = np.random.default_rng(2)
    spectra, Y = rng.uniform(0.1, 0.9, (2, 6)), rng.uniform(0.2, 0.8, (3, 6))
    problem = Problem(Mixing(spectra), Y, NonNegative(), BandL21())
    found = solve(problem, RobustAbundances(tol=0.0), stop=300).x

    def value(a):
        return problem.loss.value(a.reshape(3, 2) @ spectra, Y)

    best = min(
        minimize(
            value, rng.uniform(0, 1, 6), bounds=[(0, None)] * 6, method="Powell", options={"xtol": 1e-9}
        ).fun
        for _ in range(3)
    )
    assert value(found.ravel()) <= best * (1 + 1e-6)


# -- figures of the reference ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def generator():
    if not REFERENCE.is_dir():
        pytest.skip("needs ../shared/reference")
    sys.path.insert(0, str(REFERENCE))
    import gen_unmixing

    yield gen_unmixing
    sys.path.remove(str(REFERENCE))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("case", "seed", "rows"),
    [
        ("dirichlet", 0, (2.6425, 0.8671, 0.2776)),
        ("dirichlet", 1, (2.3926, 0.7943, 0.2554)),
        ("dirichlet", 2, (2.4878, 0.8207, 0.2635)),
        ("smooth", 0, (2.1374, 0.7434, 0.2525)),
        ("smooth", 1, (1.7649, 0.6261, 0.2158)),
        ("smooth", 2, (1.8668, 0.6557, 0.2253)),
    ],
)
def test_fcls_figures(generator, case, seed, rows):
    for snr, expected in zip((20, 30, 40), rows, strict=True):
        c = generator.make(case, seed, snr)
        A = fit(Simplex(), np.ascontiguousarray(c.Y.T), c.E.T).x
        assert round(generator.rmse(A.T, c.A), 4) == expected
        assert np.abs(A.sum(1) - 1).max() < 1e-8
        G, C = pixelwise.correlations(c.Y.T, c.E.T)
        assert pixelwise.kkt(G, C, A, 1.0) < 1e-9


@pytest.mark.shared
@pytest.mark.parametrize(
    ("seed", "l21", "oracle"),
    [
        (0, (2.8968, 0.9652, 0.3108), (2.7787, 0.9135, 0.2929)),
        (1, (2.5698, 0.8621, 0.2779), (2.4972, 0.8312, 0.2673)),
        (2, (2.7201, 0.9119, 0.2944), (2.6211, 0.8680, 0.2791)),
    ],
)
def test_robust_figures(generator, seed, l21, oracle):
    for snr, convex, best in zip((20, 30, 40), l21, oracle, strict=True):
        c = generator.make("outlier", seed, snr)
        Y = np.ascontiguousarray(c.Y.T)
        assert round(generator.rmse(fit(Simplex(), Y, c.E.T, BandL21()).x.T, c.A), 3) == round(convex, 3)
        assert generator.rmse(fit(Simplex(), Y, c.E.T, BandLog()).x.T, c.A) <= 1.005 * best


@pytest.mark.shared
def test_library_objectives(generator):
    c = generator.thin(generator.make("library", 0, 20), 3)
    for weight, expected in ((1e-3, 234.544746), (1e-2, 240.123268), (1e-1, 291.123898)):
        problem = Problem(Mixing(c.D.T), np.ascontiguousarray(c.Y.T), L1(weight) + NonNegative())
        assert solve(problem).objective <= expected * (1 + 1e-6)

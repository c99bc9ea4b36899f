"""Library unmixing: certificates, weights from neighbours, atoms by evidence, and what they are refused for."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from recon_unmixing import Abundances, CollaborativeLasso, EvidenceUnmixing, Mixing, SpatialLasso
from recon_unmixing import _evidence as evidence
from recon_unmixing import _rows as rows
from recon_unmixing._rows_numba import curvature
from recon_unmixing.bench_library import sunsal
from recon_unmixing.library import estimate_sigma
from scipy.optimize import nnls

from recon import (
    L1,
    L21,
    Gap,
    Matrix,
    MaxIterations,
    NonNegative,
    Problem,
    Simplex,
    solve,
)
from recon.errors import CapabilityError, ParameterError
from recon.priors import GroupEnvelope
from recon.testing import check_solver

SHARED = Path(__file__).parents[2] / "shared"
SIGMA = 0.005
ACTIVE = [3, 11, 17]


def spectra(rng, atoms, bands):
    """Smooth spectra, so coherent ones."""
    bumps = np.exp(-0.5 * ((np.arange(bands) - rng.uniform(0, bands, (atoms, 4, 1))) / (0.15 * bands)) ** 2)
    return 0.2 + 0.15 * (rng.uniform(0, 2, (atoms, 4, 1)) * bumps).sum(1)


def scene(shape=(9, 8), seed=0, atoms=25, bands=30):
    rng = np.random.default_rng(seed)
    library = spectra(rng, atoms, bands)
    truth = np.zeros((*shape, atoms))
    truth[..., ACTIVE] = rng.dirichlet(np.ones(3), shape)
    cube = truth @ library + SIGMA * rng.standard_normal((*shape, bands))
    return Mixing(library, pixels=shape), cube, truth


MIXING, CUBE, TRUTH = scene()


def collaborative(weight, cube=CUBE, **options):
    problem = Problem(MIXING, cube, L21(weight, axis=(-3, -2)) + NonNegative())
    return problem, solve(problem, CollaborativeLasso(**options))


# -- the collaborative lasso -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "solver", [CollaborativeLasso(), SpatialLasso(), EvidenceUnmixing(), EvidenceUnmixing("independent")]
)
def test_solvers_keep_the_contract(solver):
    check_solver(solver)


@pytest.mark.parametrize("weight", [0.3, 0.03, 0.003])
def test_the_gap_is_certified_by_a_dual_point_of_the_data(weight):
    problem, result = collaborative(weight, tol=1e-7)
    residual = CUBE - MIXING @ result.x
    pulls = np.sqrt((np.maximum(MIXING.H @ residual, 0.0) ** 2).sum((0, 1)))
    s = min(1.0, weight / pulls.max())
    dual = s * np.vdot(residual, CUBE) - 0.5 * s * s * np.vdot(residual, residual)
    objective = problem.objective(result.x)
    assert 0.0 <= objective - dual <= 2e-7 * objective
    assert result.history[-1]["gap"] <= 1e-7 * objective
    assert result.x.min() >= 0.0
    assert 0 < np.count_nonzero(result.x.any((0, 1))) < 25


def test_the_objective_is_that_of_a_general_solver():
    problem, result = collaborative(0.05)
    from recon_proximal import Fista

    other = solve(problem, Fista(), stop=Gap(1e-6) | MaxIterations(20_000))
    assert abs(result.objective / other.objective - 1.0) < 3e-6
    assert solve(problem).provenance["chosen"].startswith("CollaborativeLasso")


def test_atoms_may_have_weights_of_their_own():
    weight = np.full((1, 1, 25), 0.02)
    weight[..., ACTIVE[0]] = 100.0
    _, result = collaborative(weight)
    assert not result.x[..., ACTIVE[0]].any()
    assert result.x[..., ACTIVE[1]].any()


def test_a_weight_that_is_too_large_gives_zero_and_zero_data_too():
    largest = np.sqrt((np.maximum(MIXING.H @ CUBE, 0.0) ** 2).sum((0, 1))).max()
    assert not collaborative(1.001 * largest)[1].x.any()
    assert collaborative(0.99 * largest)[1].x.any()
    assert not collaborative(0.1, np.zeros_like(CUBE))[1].x.any()


def test_a_start_near_the_solution_and_short_steps_end_at_the_same_point():
    problem, result = collaborative(0.02)
    again = solve(problem, CollaborativeLasso(), x0=result.x)
    short = solve(problem, CollaborativeLasso(limit=7), stop=60)
    assert short.iterations > 1
    for other in (again, short):
        assert abs(other.objective / result.objective - 1.0) < 2e-6
    assert result.history[0]["gap"] > 0.0


def test_torch_data_give_torch_abundances():
    _, expected = collaborative(0.02)
    _, result = collaborative(0.02, torch.from_numpy(CUBE))
    assert isinstance(result.x, torch.Tensor)
    assert np.abs(result.x.numpy() - expected.x).max() == 0.0


def test_curvature_is_the_second_derivative_of_the_reduced_objective():
    rng = np.random.default_rng(3)
    D = spectra(rng, 4, 12)
    Y = rng.uniform(0.3, 1.0, (6, 4)) @ D
    G, C, lam = D @ D.T, Y @ D.T, np.array([0.1, 0.2, 0.3, 0.15])
    place = rows._Scene(G, C, float(np.vdot(Y, Y)), lam)
    u = np.log(rng.uniform(1.0, 2.0, 4))

    def gradient(u):
        eta = np.exp(u)
        point = place.at(np.arange(4), eta, np.zeros_like(C))
        return 0.5 * lam * (eta - point.squares / eta), point

    g, point = gradient(u)
    step = 1e-5 * np.eye(4)
    numeric = np.array([(gradient(u + e)[0] - gradient(u - e)[0]) / 2e-5 for e in step])
    H = curvature(G, point.X, np.exp(u), lam) + np.diag(g)
    assert np.abs(H - numeric).max() < 1e-6 * np.abs(H).max()


# -- weights from neighbours -----------------------------------------------------------------------------------


def test_spatial_lasso_is_the_lasso_and_then_the_weighted_lasso():
    problem = Problem(MIXING, CUBE, L1(1e-3) + NonNegative())
    solver = SpatialLasso(offset=0.02)
    one = solver.step(problem, solver.init(problem))
    plain = solve(Problem(Mixing(MIXING.endmembers), CUBE, L1(1e-3) + NonNegative()), Abundances()).x
    assert np.abs(one.x - plain).max() < 1e-9

    near = np.zeros_like(plain)
    for i in range(9):
        for j in range(8):
            total = count = 0.0
            for a, b in [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0)]:
                if 0 <= i + a < 9 and 0 <= j + b < 8:
                    share = 1.0 / np.hypot(a, b)
                    total, count = total + share * plain[i + a, j + b], count + share
            near[i, j] = total / count
    lengths = np.sqrt((plain**2).sum((0, 1))) + 1e-6 * np.linalg.norm(plain)
    prior = L1(1e-3 / ((0.02 + near) * lengths)) + NonNegative()
    expected = solve(Problem(MIXING, CUBE, prior), Abundances()).x
    assert np.abs(solver.step(problem, one).x - expected).max() < 1e-8
    assert np.abs(expected - plain).max() > 1e-3, "the weights change nothing: the test shows nothing"


def error(x, truth=TRUTH):
    return np.linalg.norm(np.asarray(x) - truth) / np.linalg.norm(truth)


def test_weights_from_neighbours_help_where_maps_are_smooth():
    rng = np.random.default_rng(7)
    library, truth = spectra(rng, 40, 60), np.zeros((12, 12, 40))
    truth[..., [5, 20, 33]] = rng.dirichlet(np.ones(3), (3, 3)).repeat(4, 0).repeat(4, 1)
    mixing = Mixing(library, pixels=(12, 12))
    cube = mixing @ truth + 0.002 * rng.standard_normal((12, 12, 60))
    problem = Problem(mixing, cube, L1(4e-6) + NonNegative())
    result = solve(problem, SpatialLasso())
    assert error(result.x, truth) < 0.6 * error(solve(problem, Abundances()).x, truth)


# -- evidence --------------------------------------------------------------------------------------------------


def unmixed(cube=CUBE, noise=SIGMA, mixing=MIXING, kind="learned"):
    return solve(Problem(mixing, cube, NonNegative(), noise=noise), EvidenceUnmixing(kind))


def test_evidence_finds_the_atoms_and_beats_least_squares_on_them():
    result = unmixed()
    assert list(np.flatnonzero(result.hyperparameters["variances"])) == ACTIVE
    assert result.provenance["remarks"] == ["3 of 25 atoms of the library are in the scene."]
    assert abs(result.hyperparameters["means"][ACTIVE] - TRUTH[..., ACTIVE].mean((0, 1))).max() < 0.02
    assert result.iterations == 1
    known = np.zeros_like(TRUTH)
    known[..., ACTIVE] = solve(Problem(Mixing(MIXING.endmembers[ACTIVE]), CUBE, NonNegative())).x
    assert error(result.x) < error(unmixed(kind="independent").x) < 1.05 * error(known)
    assert error(result.x) < 0.97 * error(known)


def test_independent_abundances_are_a_nonnegative_ridge():
    result = unmixed(kind="independent")
    ridge = np.diag(SIGMA / np.sqrt(np.asarray(result.hyperparameters["variances"])[ACTIVE]))
    for y, a in list(zip(CUBE.reshape(-1, 30), result.x.reshape(-1, 25), strict=True))[:10]:
        expected, _ = nnls(np.vstack([MIXING.endmembers[ACTIVE].T, ridge]), np.concatenate([y, np.zeros(3)]))
        assert np.abs(a[ACTIVE] - expected).max() < 1e-8


def test_variances_are_a_minimum_of_the_evidence_cost():
    D, Y = MIXING.endmembers, CUBE.reshape(-1, 30)
    R, s2 = Y.T @ Y / len(Y), SIGMA**2
    g = evidence.atom_variances(D, R, s2, len(Y))

    def cost(g):
        S = s2 * np.eye(30) + (D.T * g) @ D
        return len(Y) * (np.linalg.slogdet(S)[1] + np.trace(np.linalg.solve(S, R)))

    price = np.log(len(Y)) + 2 * np.log(25)
    for k in np.flatnonzero(g):
        for factor in (0.97, 1.03):
            assert cost(np.where(np.arange(25) == k, factor * g, g)) > cost(g)
        assert cost(np.where(np.arange(25) == k, 0.0, g)) > cost(g) + price
    for k in np.flatnonzero(g == 0.0):
        assert min(cost(np.where(np.arange(25) == k, v, g)) for v in (1e-4, 1e-2, 1.0)) > cost(g) - price


@pytest.mark.parametrize(("data", "library"), [(1e6, 1.0), (1.0, 1e-6), (1e-6, 1e6)])
def test_units_change_nothing(data, library):
    expected = unmixed().x
    scaled = unmixed(data * CUBE, data * SIGMA, Mixing(library * MIXING.endmembers, pixels=(9, 8))).x
    assert np.abs(scaled * library / data - expected).max() < 1e-8


def test_the_noise_may_be_estimated():
    mixing, cube, truth = scene((20, 20), seed=1)
    assert abs(estimate_sigma(cube.reshape(-1, 30)) / SIGMA - 1.0) < 0.03
    given, found = unmixed(cube, SIGMA, mixing), unmixed(cube, None, mixing)
    assert error(found.x, truth) < 1.05 * error(given.x, truth)
    assert found.hyperparameters["noise"] != SIGMA


def test_moments_are_those_of_the_abundances():
    rng = np.random.default_rng(4)
    E = spectra(rng, 3, 20)
    V = np.array([[0.04, 0.01, 0.0], [0.01, 0.03, -0.01], [0.0, -0.01, 0.02]])
    A = rng.multivariate_normal([0.5, 0.3, 0.2], V, 20_000)
    Y = A @ E + 0.05 * rng.standard_normal((20_000, 20))
    mean, precision = evidence.moments(E @ E.T, Y @ E.T, 0.05**2)
    assert np.abs(mean - [0.5, 0.3, 0.2]).max() < 0.02
    assert np.abs(np.linalg.inv(precision) - V).max() < 0.003


def test_scenes_without_light_or_with_dark_spectra():
    assert not unmixed(np.zeros_like(CUBE)).x.any()
    library = np.vstack([MIXING.endmembers, np.zeros((1, 30))])
    x = unmixed(mixing=Mixing(library, pixels=(9, 8))).x
    assert np.abs(x[..., :25] - unmixed().x).max() < 1e-8
    assert not x[..., 25].any()


# -- what is refused -------------------------------------------------------------------------------------------

ROWS = L21(0.1, axis=(-3, -2)) + NonNegative()


@pytest.mark.parametrize(
    ("solver", "problem", "text"),
    [
        (
            CollaborativeLasso(),
            Problem(Mixing(MIXING.endmembers), CUBE, NonNegative()),
            "CollaborativeLasso needs Mixing(library, pixels=(H, W)) and LeastSquares",
        ),
        (
            CollaborativeLasso(),
            Problem(MIXING, CUBE, L21(0.1) + NonNegative()),
            "needs the prior L21(w, axis=(-3, -2)) + NonNegative() with w > 0",
        ),
        (
            CollaborativeLasso(),
            Problem(MIXING, CUBE, L21(0.1, axis=(-3, -2))),
            "needs the prior L21(w, axis=(-3, -2)) + NonNegative() with w > 0",
        ),
        (
            CollaborativeLasso(),
            Problem(MIXING, np.stack([CUBE, CUBE]), ROWS),
            "one scene at a time, got batch axes (2,). Loop over them.",
        ),
        (SpatialLasso(), Problem(MIXING, CUBE, L1(0.1)), "the prior L1(number) + NonNegative(), got"),
        (SpatialLasso(), Problem(MIXING, CUBE, ROWS), "the prior L1(number) + NonNegative(), got"),
        (
            SpatialLasso(),
            Problem(Mixing(MIXING.endmembers, (72,)), CUBE.reshape(72, 30), L1(0.1) + NonNegative()),
            "SpatialLasso needs Mixing(library, pixels=(H, W)) and the prior",
        ),
        (
            EvidenceUnmixing(),
            Problem(MIXING, CUBE, Simplex(), noise=0.1),
            "learns its prior and needs NonNegative() only",
        ),
        (
            EvidenceUnmixing(),
            Problem(Matrix(MIXING.endmembers.T), CUBE, NonNegative()),
            "EvidenceUnmixing needs Mixing(library",
        ),
        (
            EvidenceUnmixing(),
            Problem(MIXING, CUBE, NonNegative(), noise=np.linspace(0.1, 0.2, 30)),
            "noise of one level",
        ),
    ],
)
def test_what_does_not_fit_is_refused(solver, problem, text):
    with pytest.raises(CapabilityError, match=re.escape(text)):
        solver.init(problem)


def test_noise_of_few_pixels_cannot_be_estimated():
    mixing, cube, _ = scene((5, 5))
    with pytest.raises(
        ParameterError, match=r"EvidenceUnmixing.noise must be known for 25 pixels of 30 bands"
    ):
        unmixed(cube, None, mixing)


def test_solve_does_not_choose_what_does_not_fit():
    chosen = solve(Problem(MIXING, CUBE, L1(0.1) + NonNegative()), stop=2).provenance["chosen"]
    assert not chosen.startswith("CollaborativeLasso")


# -- peers and published figures -------------------------------------------------------------------------------


def test_the_peer_of_the_benchmark_solves_the_same_problem():
    Y = CUBE.reshape(-1, 30)
    problem = Problem(Mixing(MIXING.endmembers), CUBE, L1(0.1) + NonNegative())
    exact = solve(problem, Abundances()).objective
    A, _ = sunsal(Y, MIXING.endmembers, 0.1, tol=1e-8, limit=20_000)
    reached = problem.objective(A.reshape(TRUTH.shape))
    assert exact <= reached * (1 + 1e-9)
    assert reached <= exact * (1 + 1e-4)


def test_a_preset_number_of_materials():
    groups = np.arange(25)[None, None]
    problem = Problem(MIXING, CUBE, GroupEnvelope(3, 0.01, groups=groups) + NonNegative())
    from recon_proximal import Pdhg

    x = solve(problem, Pdhg(), stop=3000).x
    heavy = np.argsort(-np.sqrt((x**2).sum((0, 1))))[:3]
    share = np.sqrt((x[..., heavy] ** 2).sum() / (x**2).sum())
    assert share > 0.9


@pytest.fixture
def peers():
    if not (SHARED / "reference" / "gen_unmixing.py").exists():
        pytest.skip("the reference scenes are not here")
    sys.path.insert(0, str(SHARED / "reference"))
    import gen_unmixing

    yield gen_unmixing
    sys.path.remove(str(SHARED / "reference"))


def reference(peers, case, snr):
    c = peers.thin(peers.make(case, 0, snr), 3)
    s = np.sqrt((c.Y0**2).mean() / 10 ** (snr / 10))
    cube = np.ascontiguousarray(c.Y.T).reshape(c.H, c.W, -1)
    return Mixing(c.D.T, pixels=(c.H, c.W)), cube, c.X.T, float(s)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("case", "snr", "published", "spatial", "evidence"),
    [
        ("library", 20, 243.579136, 14.9, 19.3),
        ("library", 30, 27.8939574, 21.42, 28.5),
        ("smooth", 30, 20.4112488, 28.7, 32.7),
    ],
)
def test_figures_of_the_reference_scenes(peers, case, snr, published, spatial, evidence):
    mixing, cube, truth, s = reference(peers, case, snr)
    lasso = solve(Problem(mixing, cube, L21(0.1, axis=(-3, -2)) + NonNegative()), CollaborativeLasso())
    assert lasso.objective < published
    assert lasso.history[-1]["gap"] <= 1e-6 * lasso.objective
    x = solve(Problem(mixing, cube, L1(s**2) + NonNegative()), SpatialLasso()).x
    assert peers.sre(x.reshape(truth.shape), truth) >= spatial
    x = solve(Problem(mixing, cube, NonNegative(), noise=s), EvidenceUnmixing()).x
    assert peers.sre(x.reshape(truth.shape), truth) >= evidence


@pytest.mark.shared
@pytest.mark.parametrize(("snr", "bar"), [(20, 8.5), (30, 16.2), (40, 28.0)])
def test_dc1_with_the_noise_level_alone(snr, bar):
    if not (SHARED / "data" / "hsi" / "dc1").exists():
        pytest.skip("DC1 is not here")
    sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
    import dc1

    sys.path.remove(str(Path(__file__).parents[1] / "tools"))
    cube, library, truth, s = dc1.dc1(snr, 7)  # not the seed it was made with
    mixing = Mixing(library, pixels=(75, 75))
    assert dc1.sre(unmixed(cube, s, mixing, "independent").x, truth) > bar
    assert dc1.sre(unmixed(cube, None, mixing).x, truth) > bar + 2.5

"""The weight of a prior from the data: each rule against a closed form, the noise level, the searches, the texts."""

import math
from pathlib import Path

import numpy as np
import pytest

import recon
from recon import driver, noise
from recon._ridge import ridge
from recon._searching import least, root
from recon.arrays import as_numpy
from recon.errors import CapabilityError, ConvergenceError, ParameterError
from recon.priors import L1, L2, TV, NonNegative
from recon.selection import _Search, choose_weight
from recon.solver import State

# -- searches ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [1e-4, 0.3, 2.0, 1e5])
def test_searches_find_their_place_from_anywhere(start):
    calls = []

    def bowl(w):
        calls.append(w)
        return math.log(w / 0.7) ** 2

    assert least(bowl, [start]) == pytest.approx(0.7, rel=0.1)
    assert len(calls) == len(set(calls)) <= 30
    assert root(lambda w: math.atan(math.log(w / 0.7)), start) == pytest.approx(0.7, rel=0.02)


def test_a_search_crosses_a_plain_and_stops_on_an_endless_one():
    """Weights that are all too large leave the same zeros, whose score says nothing of where to go."""
    calls = []

    def pit(w):
        calls.append(w)
        return 1.0 if abs(math.log(w / 0.7)) > 1 else math.log(w / 0.7) ** 2

    for start in (700.0, 0.0007):
        assert least(pit, [start]) == pytest.approx(0.7, rel=0.1)
    assert least(lambda w: 0.0, [1.0]) > 0
    assert least(lambda w: math.nan if w > 2 else bowl_at(w), [8.0]) == pytest.approx(0.7, rel=0.1)
    before = len(calls)
    assert least(pit, [0.35, 0.7, 1.4]) == pytest.approx(0.7, rel=0.1)
    assert len(calls) == before + 3  # nothing but what was known


def bowl_at(w):
    return math.log(w / 0.7) ** 2


def test_a_root_that_is_not_there_ends_the_search():
    assert root(lambda w: -1.0, 1.0) == pytest.approx(3.0**20)
    assert root(lambda w: 1.0, 1.0) == pytest.approx(3.0**-20)


# -- noise ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.02, 0.3])
def test_the_noise_of_a_smooth_image_is_found(to, sigma):
    rows, columns = np.indices((128, 96)) / 40
    image = np.sin(rows) * np.cos(columns) + (rows > 1.5)
    data = image + sigma * np.random.default_rng(0).standard_normal(image.shape)
    assert noise.estimate(to(data)) == pytest.approx(sigma, rel=0.03)
    assert noise.estimate(to(data), axes=1) == pytest.approx(sigma, rel=0.03)
    counts = np.round(100 + 30 * data).astype(np.uint8)
    assert noise.estimate(counts) == pytest.approx(noise.estimate(counts.astype(float)), rel=1e-5)
    assert noise.estimate((to(data), to(data))) == pytest.approx(noise.estimate(to(data)))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (np.zeros((4, 4), complex), "The noise of complex data must be given, got 'estimate'"),
        (np.zeros((4, 2)), "Noise can be estimated from three entries or more along each axis, got (4, 2)"),
        (np.zeros((9, 9)), "The noise of these data cannot be estimated"),
    ],
)
def test_noise_that_cannot_be_estimated(data, text):
    with pytest.raises(ParameterError) as caught:
        noise.estimate(data)
    assert text in str(caught.value)


def test_the_energy_of_the_noise():
    A = recon.Identity(recon.ArraySpec((50, 40)))
    data = np.random.default_rng(0).standard_normal((50, 40))
    assert noise.energy(recon.Problem(A, data, noise=0.5), "x") == pytest.approx(0.25 * 2000)
    assert noise.energy(recon.Problem(A, data, noise="estimate"), "x") == pytest.approx(2000, rel=0.05)
    spread = np.full((50, 40), 2.0)
    assert noise.energy(recon.Problem(A, data, noise=spread), "x") == pytest.approx(4 * 2000)
    assert noise.level(spread) == 2.0
    with pytest.raises(
        ParameterError, match=r"Somebody needs the noise level: Problem.noise must be a number"
    ):
        noise.energy(recon.Problem(A, data), "Somebody")


# -- rules: Tikhonov with a diagonal operator, where everything has a closed form ------------------------


def tikhonov(noise=0.3, batch=(), complex_data=False):
    """min 1/2 ||s x - y||^2 + w/2 ||x||^2: A x = s^2 y / (s^2 + w)."""
    rng = np.random.default_rng(3)
    gain = np.linspace(0.05, 2.0, 4000)
    truth = 2.0 * rng.standard_normal((*batch, 4000))
    noise_draw = rng.standard_normal((*batch, 4000))
    if complex_data:
        truth, noise_draw = truth * (1 + 1j), noise_draw + 1j * rng.standard_normal((*batch, 4000))
    data = gain * truth + 0.3 * noise_draw
    operator = recon.Diagonal(gain.astype(complex) if complex_data else gain)
    return recon.Problem(operator, data, L2(1.0), noise=noise), gain


def solution(problem):
    """Known, since the prior is a scaled L2."""
    gain = np.abs(problem.operator.values)
    return as_numpy(problem.data) * gain / (gain**2 + problem.prior.factor)


def exactly(problem, start, iterations):
    return State(1, solution(problem))


def on_a_grid(score):
    weights = np.geomspace(1e-4, 10, 2000)
    return weights[np.argmin([score(w) for w in weights])]


@pytest.mark.parametrize("complex_data", [False, True])
@pytest.mark.parametrize("batch", [(), (2,)])
def test_sure_gcv_and_discrepancy_find_their_closed_forms(batch, complex_data):
    problem, gain = tikhonov(batch=batch, complex_data=complex_data)
    y = np.asarray(problem.data)
    parts = (2 if complex_data else 1) * math.prod(batch)

    def misfit(w):
        return np.linalg.norm(y * w / (gain**2 + w)) ** 2

    def freedom(w):
        return parts * (gain**2 / (gain**2 + w)).sum()

    count = y.size * (2 if complex_data else 1)
    wanted = {
        "sure": on_a_grid(lambda w: misfit(w) + 2 * 0.09 * freedom(w)),
        "gcv": on_a_grid(lambda w: misfit(w) / (1 - freedom(w) / count) ** 2),
        "discrepancy": on_a_grid(lambda w: abs(misfit(w) - 0.09 * count)),
    }
    for rule, weight in wanted.items():
        found = choose_weight(problem, rule, exactly)
        assert found.weight == pytest.approx(weight, rel=0.12), rule
        assert found.rule == rule
        assert 3 <= len(found.trials) <= 30
        np.testing.assert_allclose(
            found.x, solution(recon.Problem(problem.operator, y, found.weight * L2(1.0)))
        )
    # the risk that SURE estimates is the one that counts: its weight is near 0.09 / 4, the ratio of the variances
    assert wanted["sure"] == pytest.approx(0.09 / 4, rel=0.3)


def test_noise_that_differs_from_entry_to_entry():
    problem, gain = tikhonov(noise=np.linspace(0.1, 0.5, 4000))
    variance, y = np.linspace(0.1, 0.5, 4000) ** 2, np.asarray(problem.data)
    wanted = on_a_grid(
        lambda w: np.linalg.norm(y * w / (gain**2 + w)) ** 2 + 2 * (variance * gain**2 / (gain**2 + w)).sum()
    )
    assert choose_weight(problem, "sure", exactly).weight == pytest.approx(wanted, rel=0.12)


def test_whiteness_leaves_white_residuals():
    """A smooth image in white noise: the flattest residual is close to the best image."""
    rows, columns = np.indices((64, 64)) / 64
    truth = np.sin(7 * rows) * np.cos(5 * columns) + (rows > 0.5)
    data = truth + 0.2 * np.random.default_rng(0).standard_normal(truth.shape)
    problem = recon.Problem(recon.Identity(recon.ArraySpec(truth.shape)), data, TV(1.0), noise=0.2)
    errors = {}
    for rule in ("whiteness", "sure", "discrepancy"):
        result = recon.solve(problem, stop=300, weight=rule)
        errors[rule] = np.linalg.norm(result.x - truth)
    best = min(
        np.linalg.norm(recon.solve(recon.Problem(problem.operator, data, TV(w)), stop=300).x - truth)
        for w in np.geomspace(0.05, 1, 12)
    )
    assert max(errors["whiteness"], errors["sure"]) <= 1.1 * best, (errors, best)
    assert errors["discrepancy"] <= 1.5 * best  # smooths too much, as it is known to


def test_lcurve_finds_the_corner():
    """Small singular values over noise: left of the corner the size of x explodes, right of it the misfit."""
    rng = np.random.default_rng(0)
    gain = np.geomspace(1, 1e-6, 60)
    truth = gain**0.5
    data = gain * truth + 1e-4 * rng.standard_normal(60)
    problem = recon.Problem(recon.Diagonal(gain), data, L2(1.0), noise=1e-4)
    found = choose_weight(problem, "lcurve", exactly)
    errors = {w: np.linalg.norm(data * gain / (gain**2 + w) - truth) for w in np.geomspace(1e-12, 1, 200)}
    assert np.linalg.norm(found.x - truth) <= 2 * min(errors.values())


def test_lcurve_leaves_out_weights_that_are_too_large_for_an_image():
    """L1 gives zeros beyond some weight, whose logarithm is no place on a curve."""
    rng = np.random.default_rng(0)
    truth = np.where(rng.uniform(size=60) < 0.2, 1.0, 0.0)
    data = truth + 0.05 * rng.standard_normal(60)
    A = recon.Identity(recon.ArraySpec((60,)))
    found = choose_weight(recon.Problem(A, data, L1(1.0), noise=0.05), "lcurve", shrunk)
    assert 0 < found.weight < 0.5
    assert len(found.trials) == 16
    with pytest.raises(
        ParameterError, match=r"weight = 'lcurve' needs three weights or more that leave misfit"
    ):
        choose_weight(recon.Problem(A, 0 * data, L1(1.0), noise=0.05), "lcurve", shrunk)


def shrunk(problem, start, iterations):
    return State(1, problem.prior.prox(problem.data, 1.0))


@pytest.mark.parametrize("scale", [1e-20, 1e-12, 1e12, 1e20])
@pytest.mark.parametrize("rule", ["sure", "gcv", "discrepancy", "whiteness", "lcurve"])
def test_the_unit_of_the_data_is_the_unit_of_the_weight(rule, scale):
    rows, columns = np.indices((24, 24)) / 8
    data = np.sin(rows) + (columns > 1) + 0.2 * np.random.default_rng(0).standard_normal((24, 24))
    A = recon.Identity(recon.ArraySpec((24, 24)))

    def chosen(factor):
        y = (factor * data).astype(np.float32)
        return choose_weight(recon.Problem(A, y, L1(1.0), noise=factor * 0.2), rule, shrunk).weight

    assert chosen(scale) == pytest.approx(scale * chosen(1.0), rel=0.02)


@pytest.mark.parametrize("kind", [np.float64, np.uint8])
def test_noise_arrays_come_to_the_data(to, kind):
    """Another precision, or integers whose square would overflow."""
    data = 20 * np.random.default_rng(0).standard_normal(300) + 100 * (np.arange(300) < 20)
    A = recon.Identity(recon.ArraySpec((300,)))
    wanted = choose_weight(recon.Problem(A, data, L1(1.0), noise=20.0), "sure", shrunk).weight
    problem = recon.Problem(A, to(data.astype(np.float32)), L1(1.0), noise=np.full(300, 20, kind))
    assert choose_weight(problem, "sure", shrunk).weight == pytest.approx(wanted, rel=0.01)
    assert noise.known(problem, "x").dtype == problem.data.dtype


def test_discrepancy_says_that_no_weight_fits(caplog):
    problem = recon.Problem(recon.Identity(recon.ArraySpec((50,))), np.ones(50), L1(1.0), noise=9.0)
    choose_weight(problem, "discrepancy", shrunk)
    assert "no weight leaves a misfit as large as the noise" in caplog.text
    caplog.clear()
    choose_weight(recon.Problem(problem.operator, problem.data, L1(1.0), noise=0.3), "discrepancy", shrunk)
    assert not caplog.text


def without_svd(operator):
    """The same products, and nothing that could be known in closed form."""

    class Plain(recon.Operator):
        domain, codomain = operator.domain, operator.codomain

        def _forward(self, x):
            return operator @ x

        def _adjoint(self, y):
            return operator.H @ y

    return Plain()


@pytest.mark.parametrize("complex_data", [False, True])
@pytest.mark.parametrize("rule", ["sure", "gcv", "discrepancy"])
def test_the_closed_form_of_quadratic_problems_is_what_images_say(rule, complex_data):
    """Once from the singular values, asked for no image but the last; once from images and a probe."""
    problem, _ = tikhonov(complex_data=complex_data)
    asked = []

    def counted(trial, start, iterations):
        asked.append(trial.prior.factor)
        return exactly(trial, start, iterations)

    closed = choose_weight(problem, rule, counted)
    assert asked == [closed.weight]
    images = recon.Problem(without_svd(problem.operator), problem.data, problem.prior, noise=0.3)

    def solved(trial, start, iterations):
        return exactly(recon.Problem(problem.operator, trial.data, trial.prior), start, iterations)

    assert choose_weight(images, rule, solved).weight == pytest.approx(closed.weight, rel=0.12)


def test_the_closed_form_knows_the_energy_that_no_image_explains():
    """More data than unknowns: the misfit of the ridge and its degrees of freedom against dense algebra."""
    matrix = np.random.default_rng(2).standard_normal((30, 12))
    y, w = np.random.default_rng(3).standard_normal(30), 4.0
    closed = ridge(recon.Problem(recon.Matrix(matrix), y, 2.0 * L2(0.5)))
    influence = matrix @ np.linalg.solve(matrix.T @ matrix + w * np.eye(12), matrix.T)
    if closed is not None:  # a Matrix may have no svd
        assert closed.misfit(w) == pytest.approx(np.linalg.norm(influence @ y - y))
        assert closed.freedom(w) == pytest.approx(np.trace(influence))
    for prior in (L1(1.0), TV(1.0, ndim=1), L2(1.0) + NonNegative(), 0.0 * L2(1.0)):
        assert ridge(recon.Problem(recon.Matrix(matrix), y, prior)) is None


def test_each_weight_goes_on_from_the_one_before_and_the_probe_keeps_step():
    calls = []
    problem = recon.Problem(
        recon.Identity(recon.ArraySpec((50,))), np.linspace(-2, 2, 50), L1(1.0), noise=0.3
    )

    def counted(trial, start, iterations):
        calls.append((start, iterations))
        steps = 7 + len(calls) if iterations is None else iterations
        return State(steps, trial.prior.prox(trial.data, 1.0))

    found = choose_weight(problem, "sure", counted)
    images, moved = calls[:-1:2], calls[1::2]
    assert calls[0] == (None, None)
    assert moved[0][0] is None
    assert all(start is not None for start, _ in images[1:] + moved[1:])
    assert [iterations for _, iterations in images] == [None] * len(images)
    assert [iterations for _, iterations in moved[:2]] == [8, 10]
    assert found.iterations > 14 * len(found.trials)


def test_the_probe_has_nothing_to_do_with_noise_of_the_same_seed():
    """Signs of the numbers that made the noise would call it signal: both start from seed 0 as a rule."""
    noise_draw = np.random.default_rng(0).standard_normal(4000)
    problem = recon.Problem(recon.Identity(recon.ArraySpec((4000,))), noise_draw, L1(1.0), noise=1.0)
    signs = _Search(problem, shrunk, 0).signs
    assert abs(np.mean(signs * noise_draw)) < 0.05


@pytest.mark.parametrize("rule", ["gcv", "discrepancy"])
def test_places_where_nothing_was_measured_do_not_count(rule):
    """Zeros beside the data, as k-space is kept on its full grid: the weight is that of the data alone."""
    problem, gain = tikhonov()
    padded = recon.Diagonal(np.stack([gain, 0 * gain]))
    data = np.stack([problem.data, 0 * problem.data])
    alone = choose_weight(problem, rule, exactly).weight
    beside = choose_weight(recon.Problem(padded, data, problem.prior, noise=0.3), rule, exactly).weight
    assert beside == pytest.approx(alone, rel=0.05)


def test_one_noise_level_per_sample():
    problem, _ = tikhonov(batch=(2,))
    levels = np.array([[0.1], [0.5]])
    spread = recon.Problem(problem.operator, problem.data, problem.prior, noise=levels)
    full = recon.Problem(
        problem.operator, problem.data, problem.prior, noise=np.broadcast_to(levels, (2, 4000)).copy()
    )
    assert choose_weight(spread, "sure", exactly).weight == choose_weight(full, "sure", exactly).weight
    assert noise.energy(spread, "x") == pytest.approx(noise.energy(full, "x"))
    with pytest.raises(recon.errors.ShapeError, match=r"Axes of length 1 stand for all of their entries"):
        recon.Problem(problem.operator, problem.data, noise=levels[:, 0])


# -- SURE where nothing is diagonal --------------------------------------------------------------------------


@pytest.mark.parametrize("complex_data", [False, True])
def test_the_response_is_the_trace_within_its_scatter(complex_data):
    """Tikhonov with a dense matrix: the trace of sigma^2 d(A x)/dy, for noise that differs from entry to entry."""
    rng = np.random.default_rng(1)
    matrix = rng.standard_normal((30, 40))
    if complex_data:
        matrix = matrix + 1j * rng.standard_normal((30, 40))
    sigma = np.linspace(0.2, 1.0, 30)
    data = (matrix @ rng.standard_normal(40)).astype(matrix.dtype)
    A, w = recon.Matrix(matrix), 20.0
    influence = matrix @ np.linalg.solve(matrix.conj().T @ matrix + w * np.eye(40), matrix.conj().T)
    wanted = (2 if complex_data else 1) * (sigma**2 * np.diag(influence).real).sum()

    def tikhonov(problem, start, iterations):
        return State(1, A.data_prox(np.zeros(40, matrix.dtype), problem.data, w))

    problem = recon.Problem(A, data, L2(1.0), noise=sigma)
    draws = [_Search(problem, tikhonov, seed).response(w, sigma**2) for seed in range(200)]
    scatter = np.std(draws) / math.sqrt(len(draws))
    assert abs(np.mean(draws) - wanted) < 4 * scatter
    assert scatter < 0.02 * wanted


# -- photographs ------------------------------------------------------------------------------------------

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="needs the developers' ../shared folder")
def test_a_blurred_photograph_of_unknown_noise():
    """TV with nothing told is 1.5 dB above the Wiener filter with the best weight, and loses 0.2 dB at most."""
    from recon_operators.convolution import Convolution, wiener

    image = pytest.importorskip("PIL.Image")
    truth = np.asarray(image.open(SHARED / "images/set12/01.png").convert("L"), float)[64:192, 64:192] / 255
    A = Convolution(np.load(SHARED / "kernels/levin09.npz")["k01"].astype(float), truth.shape)
    data = A @ truth + 0.01 * np.random.default_rng(0).standard_normal(truth.shape)
    problem = recon.Problem(A, data, TV(1.0), noise="estimate")

    def quality(x):
        return -10 * math.log10(np.mean((x - truth) ** 2))

    result = recon.solve(problem, weight="auto")
    weight = result.provenance["weight"]["weight"]
    others = [
        quality(recon.solve(recon.Problem(A, data, TV(weight * factor))).x) for factor in (0.4, 0.6, 1.6, 2.5)
    ]
    assert quality(result.x) > max(quality(wiener(A, data, w)) for w in np.geomspace(1e-4, 1, 25)) + 1.5
    assert quality(result.x) > max(others) - 0.2


# -- through solve ----------------------------------------------------------------------------------------


def test_solve_chooses_the_weight_and_says_so():
    problem, _ = tikhonov()
    result = recon.solve(problem, weight="auto", stop=200)
    said = result.provenance["weight"]
    assert said["rule"] == "sure"
    assert len(said["path"]) >= 3
    assert result.record()["provenance"]["weight"] == said
    plain = recon.solve(recon.Problem(problem.operator, problem.data, said["weight"] * L2(1.0)), stop=400)
    np.testing.assert_allclose(result.x, plain.x, atol=1e-3)
    again = recon.solve(problem, weight="auto", stop=200)
    assert (again.x == result.x).all()


def test_constraints_stay_constraints():
    problem, _ = tikhonov()
    problem = recon.Problem(problem.operator, problem.data, L1(1.0) + NonNegative(), noise=0.3)
    result = recon.solve(problem, weight="sure", stop=200)
    assert result.x.min() >= 0
    assert 0 < result.provenance["weight"]["weight"] < 10


@pytest.mark.parametrize("noise", [0.1, "estimate", None])
def test_auto_takes_sure_wherever_the_noise_can_be_told(noise):
    problem = recon.Problem(recon.Matrix(np.tri(40) / 10), np.ones(40) + wobble(40), L2(1.0), noise=noise)
    result = recon.solve(problem, weight="auto", stop=100)
    assert result.provenance["weight"]["rule"] == ("gcv" if noise is None else "sure")


def wobble(n):
    return 0.1 * np.random.default_rng(0).standard_normal(n)


def test_an_estimate_that_is_too_large_is_not_believed():
    """Data with structure at every entry: the differences say five times the noise, what gcv leaves says the noise."""
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((400, 40)) / 20
    data = matrix @ (10 * rng.standard_normal(40)) + 0.5 * rng.standard_normal(400)
    assert noise.estimate(data) > 4 * 0.5
    problems = [recon.Problem(recon.Matrix(matrix), data, L2(1.0), noise=n) for n in (0.5, "estimate", 3.0)]
    told, found, fooled = (choose_weight(p, "sure", ridge_of(matrix)).weight for p in problems)
    assert found == pytest.approx(told, rel=0.5)
    assert fooled > 5 * told


def ridge_of(matrix):
    def solved(problem, start, iterations):
        w = problem.prior.factor
        gram = matrix.T @ matrix + w * np.eye(matrix.shape[1])
        return State(1, np.linalg.solve(gram, matrix.T @ problem.data))

    return solved


def test_a_prior_of_another_scale_is_found_from_afar():
    """The first weight leaves zeros, and so do its neighbours."""
    rng = np.random.default_rng(0)
    data = np.where(rng.random(400) < 0.1, 3.0, 0.0) + 0.1 * rng.standard_normal(400)
    A = recon.Identity(recon.ArraySpec((400,)))
    for rule in ("sure", "gcv", "whiteness"):
        found = choose_weight(recon.Problem(A, data, L1(100.0), noise=0.1), rule, shrunk)
        assert 0.0003 < found.weight < 0.003, rule
        assert found.x.max() > 2


def test_trouble_is_told(caplog):
    A = recon.Identity(recon.ArraySpec((50,)))
    problem = recon.Problem(A, np.ones(50), L1(1.0), noise=0.1)
    with pytest.raises(
        ConvergenceError, match=r"The run with weight 0\.1 diverged, so that no rule can judge it"
    ):
        choose_weight(problem, "sure", lambda p, *_: State(1, np.nan * p.data))
    with pytest.raises(ParameterError, match="weight needs data that tell something of the image"):
        choose_weight(recon.Problem(0.0 * A, np.ones(50), L1(1.0), noise=0.1), "gcv", shrunk)
    choose_weight(recon.Problem(A, np.ones(50), NonNegative(), noise=0.1), "sure", shrunk)
    assert "the weight changes nothing that sure could see" in caplog.text


def test_refusals():
    problem, _ = tikhonov()
    bare = recon.Problem(problem.operator, problem.data, noise=0.3)
    poisson = recon.Problem(problem.operator, np.abs(problem.data), L2(1.0), recon.get("loss", "poisson")())
    unknown = recon.Problem(problem.operator, problem.data, L2(1.0))
    state = recon.solve(problem, stop=1).state
    for make, error, text in (
        (
            lambda: recon.solve(problem, weight="best"),
            ParameterError,
            "weight must be one of auto, discrepancy",
        ),
        (
            lambda: recon.solve(bare, weight="auto"),
            CapabilityError,
            "weight needs a prior whose weight it chooses",
        ),
        (
            lambda: recon.solve(poisson, weight="auto"),
            CapabilityError,
            "weight needs LeastSquares, got Poisson",
        ),
        (
            lambda: recon.solve(unknown, weight="sure"),
            ParameterError,
            "weight = 'sure' needs the noise level",
        ),
        (
            lambda: recon.solve(unknown, weight="discrepancy"),
            ParameterError,
            "weight = 'discrepancy' needs the noise",
        ),
        (
            lambda: recon.solve(problem, weight="sure", state=state),
            ParameterError,
            "solve.weight must be None where",
        ),
    ):
        with pytest.raises(error) as caught:
            make()
        assert text in str(caught.value)


def test_a_prior_without_a_value_has_no_lcurve():
    class Mute(recon.Prior):
        def prox(self, v, t):
            return v

    problem, _ = tikhonov()
    with pytest.raises(CapabilityError, match=r"weight = 'lcurve' needs .*value, which it has not"):
        choose_weight(
            recon.Problem(problem.operator, problem.data, Mute(), noise=1.0),
            "lcurve",
            lambda p, *_: State(1, p.data),
        )


def test_conjugate_gradients_start_anew_at_another_weight():
    """Their directions belong to one damping: going on with them once chose a weight 60 times too small."""
    from recon_operators.convolution import Convolution
    from recon_proximal import Admm, Cgls, Lsqr

    rng = np.random.default_rng(0)
    line = np.exp(-0.5 * (np.arange(-8, 9) / 2.0) ** 2)
    image = np.kron(rng.random((8, 8)), np.ones((8, 8)))
    operator = Convolution(np.outer(line, line) / line.sum() ** 2, image.shape)
    data = operator @ image + 0.01 * rng.standard_normal(image.shape)
    problem = recon.Problem(operator, data, L2(1.0))
    exact = driver.select_weight(problem, "gcv", Admm()).weight
    for solver in (Cgls(), Lsqr()):
        assert driver.select_weight(problem, "gcv", solver).weight == pytest.approx(exact, rel=0.3)

"""Total variation: the contract, its prox against duality, exact solvers and closed forms, every text."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.optimize import lsq_linear, minimize

import recon
from recon.arrays import ArraySpec, as_numpy
from recon.derivatives import Gradient
from recon.errors import ParameterError, ShapeError
from recon.linalg import dense
from recon.priors import L1, L21, TV, Box, NonNegative
from recon.testing import check_prior

RNG = np.random.default_rng(12)
SHAPES = {1: (12,), 2: (4, 5), 3: (2, 2, 3)}
EVERY = pytest.mark.parametrize(("ndim", "isotropic"), [(d, i) for d in (1, 2, 3) for i in (True, False)])


@EVERY
def test_contract(ndim, isotropic):
    check_prior(
        TV(0.3, ndim, isotropic, tol=1e-10),
        rescale=lambda s: TV(0.3 * s, ndim, isotropic, tol=1e-10),
        spec=ArraySpec(SHAPES[ndim]),
    )


@pytest.mark.parametrize(
    ("prior", "rescale"),
    [
        (TV.example(), None),
        (2 * TV(0.2, tol=1e-10), lambda s: 2 * TV(0.2 * s, tol=1e-10)),
        (TV(0.3, tol=1e-10) + Box(-0.2, 0.4), lambda s: TV(0.3 * s, tol=1e-10) + Box(-0.2 * s, 0.4 * s)),
        (NonNegative() + 0.5 * TV(0.6, 1, False, tol=1e-10), None),
    ],
)
def test_contract_of_composites(prior, rescale):
    check_prior(prior, rescale=rescale, spec=ArraySpec((3, 4)))


@EVERY
def test_contract_in_every_library(ndim, isotropic, like):
    prior = TV(0.3, ndim, isotropic, tol=1e-3)  # strict arrays are slow; precision is tested below
    check_prior(prior, like=like, spec=ArraySpec((2,) * ndim), search=False)


@EVERY
def test_libraries_agree_with_numpy(ndim, isotropic, to):
    prior, v = TV(0.2, ndim, isotropic), RNG.standard_normal(SHAPES[ndim])
    assert prior.value(to(v)) == pytest.approx(prior.value(v), rel=1e-13)
    np.testing.assert_allclose(as_numpy(prior.prox(to(v), 0.7)), prior.prox(v, 0.7), rtol=1e-10, atol=1e-12)


# --- the duality gap, recomputed from its definition -----------------------------------------------------


def relative_gap(v, x, p, threshold, isotropic, lower=-np.inf, upper=np.inf):
    """(primal - dual) / primal of 1/2 ||x - v||^2 + threshold TV(x), lower <= x <= upper, by a dense matrix."""
    K = dense(Gradient(v.shape, "complex" if np.iscomplexobj(v) else "real"))
    field = (K @ x.ravel()).reshape(p.shape)
    length = np.sqrt((abs(field) ** 2).sum(0)).sum() if isotropic else abs(field).sum()
    primal = 0.5 * np.linalg.norm(x - v) ** 2 + threshold * length
    back = (K.conj().T @ p.ravel()).reshape(v.shape)
    inner = v - threshold * back  # minimiser over x of 1/2 ||x - v||^2 + threshold <p, K x>
    if np.isfinite(lower) or np.isfinite(upper):
        inner = np.clip(inner, lower, upper)
    dual = 0.5 * np.linalg.norm(inner - v) ** 2 + threshold * np.vdot(back, inner).real
    size = np.sqrt((abs(p) ** 2).sum(0)) if isotropic else abs(p)
    assert size.max() <= 1 + 1e-12, "the dual field must be feasible"
    assert np.all((x >= lower) & (x <= upper)) if not np.iscomplexobj(x) else True
    return (primal - dual) / primal


@EVERY
@pytest.mark.parametrize("threshold", [1e-3, 0.1, 1.0, 20.0])
def test_prox_reaches_a_relative_gap_of_1e_6(ndim, isotropic, threshold):
    v = RNG.standard_normal({1: (60,), 2: (9, 11), 3: (4, 5, 6)}[ndim])
    prior = TV(threshold / 2, ndim, isotropic)
    x, p = prior.prox_from(v, 2.0, None)
    assert -1e-12 <= relative_gap(v, x, p, threshold, isotropic) <= 1e-6
    assert prior.gap(v, 2.0, p, x) == pytest.approx(relative_gap(v, x, p, threshold, isotropic), abs=1e-12)
    x, p = prior.prox_from(v, 2.0, None, -0.2, 0.5)
    assert -1e-12 <= relative_gap(v, x, p, threshold, isotropic, -0.2, 0.5) <= 1e-6


def test_complex_images():
    v = RNG.standard_normal((4, 5)) + 1j * RNG.standard_normal((4, 5))
    for isotropic in (True, False):
        x, p = TV(0.3, 2, isotropic).prox_from(v, 1.0, None)
        assert relative_gap(v, x, p, 0.3, isotropic) <= 1e-6


# --- independent solvers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(12,), (3, 4), (2, 2, 3)])
@pytest.mark.parametrize("threshold", [0.05, 0.4, 3.0])
def test_anisotropic_prox_equals_bounded_least_squares(shape, threshold):
    # the dual of the prox is min ||v - threshold K^T p|| over |p| <= 1: an exact active-set method solves it
    v, K = RNG.standard_normal(shape), dense(Gradient(shape))
    K = K[np.abs(K).sum(1) > 0]
    dual = lsq_linear(threshold * K.T, v.ravel(), bounds=(-1, 1), method="bvls", tol=1e-15)
    wanted = (v.ravel() - threshold * K.T @ dual.x).reshape(shape)
    x = TV(threshold, len(shape), False, tol=1e-13, iterations=50_000).prox(v, 1.0)
    np.testing.assert_allclose(x, wanted, atol=1e-6)


def test_isotropic_prox_equals_a_general_optimiser():
    shape, threshold = (2, 3), 0.4
    v, K = RNG.standard_normal(shape), dense(Gradient(shape))

    def cost(p):
        residual = v.ravel() - threshold * K.T @ p
        return 0.5 * residual @ residual, -threshold * K @ residual

    balls = {
        "type": "ineq",
        "fun": lambda p: 1 - (p.reshape(2, -1) ** 2).sum(0),
        "jac": lambda p: -2 * np.concatenate([np.diag(q) for q in p.reshape(2, -1)], axis=1),
    }
    options = {"ftol": 1e-16, "maxiter": 1000}
    dual = minimize(cost, np.zeros(12), jac=True, method="SLSQP", constraints=balls, options=options)
    wanted = (v.ravel() - threshold * K.T @ dual.x).reshape(shape)
    x = TV(threshold, tol=1e-13, iterations=50_000).prox(v, 1.0)
    np.testing.assert_allclose(x, wanted, atol=1e-5)


# --- closed forms ----------------------------------------------------------------------------------------


def test_a_step_loses_height_by_threshold_over_length(to):
    v = to(np.concatenate([np.zeros(4), np.ones(6)]))
    x = as_numpy(TV(0.3, ndim=1, tol=1e-12).prox(v, 1.0))
    np.testing.assert_allclose(x, np.concatenate([np.full(4, 0.3 / 4), np.full(6, 1 - 0.3 / 6)]), atol=1e-6)


@EVERY
def test_constants_stay_means_are_kept_and_large_weights_flatten(ndim, isotropic):
    shape = SHAPES[ndim]
    prior = TV(1.0, ndim, isotropic, tol=1e-12)
    np.testing.assert_array_equal(prior.prox(np.full(shape, 3.0), 1.0), np.full(shape, 3.0))
    v = RNG.standard_normal(shape)
    assert prior.prox(v, 0.1).mean() == pytest.approx(v.mean(), abs=1e-13)
    np.testing.assert_allclose(prior.prox(v, 100.0), np.full(shape, v.mean()), atol=1e-4)
    assert TV(0.0, ndim, isotropic).prox(v, 1.0) is v


def test_value_by_hand(to):
    x = to(np.array([[0.0, 3.0], [4.0, 0.0]]))
    assert TV(2.0).value(x) == pytest.approx(2 * (5 + 3 + 4))
    assert TV(2.0, isotropic=False).value(x) == pytest.approx(2 * (3 + 4 + 3 + 4))
    assert TV(2.0, ndim=1).value(x) == pytest.approx(2 * (3 + 4))


def test_axes_in_front_are_independent_images():
    v = RNG.standard_normal((3, 4, 5))
    prior = TV(0.3, tol=1e-12)
    np.testing.assert_allclose(prior.prox(v, 1.0), [prior.prox(one, 1.0) for one in v], atol=1e-5)


def test_memory_starts_where_the_last_call_ended():
    v, prior = RNG.standard_normal((6, 7)), TV(0.5, iterations=10)
    x, p = prior.prox_from(v, 1.0, None)
    before = p.copy()
    gaps = [prior.gap(v, 1.0, p, x)]
    for _ in range(5):
        x, p = prior.prox_from(v, 1.0, p)
        gaps.append(prior.gap(v, 1.0, p, x))
    assert gaps[-1] < 0.1 * gaps[0]
    again, _ = TV(0.5, tol=gaps[-1] * 1.01).prox_from(v, 1.0, p)
    np.testing.assert_array_equal(again, x)
    np.testing.assert_array_equal(before, prior.prox_from(v, 1.0, None)[1])


def test_split_gives_a_norm_and_a_gradient():
    for isotropic, norm in ((True, L21(0.3, axis=-3)), (False, L1(0.3))):
        outer, K = TV(0.3, isotropic=isotropic).split(ArraySpec((4, 5), "complex"))
        assert outer == norm
        assert K.domain == ArraySpec((4, 5), "complex")


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: TV(-1.0), ParameterError, "TV.weight must be >= 0, got -1.0."),
        (lambda: TV(ndim=4), ParameterError, "TV.ndim must be <= 3, got 4."),
        (lambda: TV(tol=0.0), ParameterError, "TV.tol must be > 0, got 0.0."),
        (lambda: TV(iterations=0), ParameterError, "TV.iterations must be >= 1, got 0."),
        (
            lambda: TV().prox(np.ones(3), 1.0),
            ShapeError,
            "TV.ndim must be at most the 1 axes of the image, got 2. Lower it.",
        ),
        (
            lambda: TV().value(np.ones(3)),
            ShapeError,
            "TV.ndim must be at most the 1 axes of the image, got 2.",
        ),
        (lambda: TV().check_spec(ArraySpec((3,))), ShapeError, "TV.ndim must be at most the 1 axes"),
        (
            lambda: TV().check_spec((ArraySpec((3, 3)),)),
            ShapeError,
            "TV must act on one array, got a tuple. Add one prior per member, or stack the images.",
        ),
    ],
)
def test_refusals(make, error, text):
    with pytest.raises(error, match=re.escape(text)):
        make()


def test_images_of_a_batch_are_independent():
    v = np.random.default_rng(0).standard_normal((3, 8, 8)) * np.array([1, 1e-6, 1e6])[:, None, None]
    prior = TV(0.3)
    together = prior.prox(v, 1.0)
    for one, image in zip(together, v, strict=True):
        alone = prior.prox(image, 1.0)
        assert np.abs(one - alone).max() <= 2e-3 * np.abs(image).max()
        problem = recon.Problem(recon.Identity(recon.ArraySpec((8, 8))), image, prior)
        assert problem.objective(one) <= problem.objective(alone) * (1 + 2e-6)


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize("power", [-83, -66, 66])
def test_single_precision_is_free_of_scale(isotropic, power):
    v = np.random.default_rng(1).standard_normal((6, 7)).astype(np.float32)
    scale = np.float32(2.0) ** power
    prior = TV(0.3, isotropic=isotropic)
    expected = prior.prox(v, 1.0)
    assert (prior.prox(v * scale, float(scale)) / scale == expected).all()
    assert prior.value(v * scale) == pytest.approx(float(scale) * prior.value(v), rel=1e-5)

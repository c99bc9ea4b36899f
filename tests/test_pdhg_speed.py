"""How many products Pdhg needs, where it ends, and its inner steps: compiled and not, one and many."""

import dataclasses

import numpy as np
import pytest
from recon_proximal import Admm, Pdhg
from recon_proximal import _inner as inner

import recon
from recon import TV, NonNegative, Problem
from recon.priors import L21


def tomography(size=256, views=60):
    sample = recon.get("dataset", "shepp-logan")(size=size, views=views, noise=0.01)[0]
    return Problem(sample.operator, sample.data, TV(6.0 * (2.0 / size) ** 2))


def iterations_to(problem, goal, limit, solver=None):
    states = recon.iterate(problem, solver or Pdhg())
    return next(
        state.iteration
        for state in states
        if problem.objective(state.x, state.prediction) <= goal or state.iteration == limit
    )


def test_tv_tomography_without_any_parameter():
    """256^2 pixels, 60 views: a gap of 1e-3 in at most 150 products each way."""
    from recon_proximal.bench_convex import MINIMA

    assert iterations_to(tomography(), 1.001 * MINIMA["ct"], 151) <= 150


@pytest.mark.parametrize("prior", [TV(0.3) + NonNegative(), TV(0.3, isotropic=False)], ids=repr)
def test_the_minimum_is_that_of_admm(prior):
    problem = Problem(Pdhg.example().operator, Pdhg.example().data, prior)
    ours = recon.solve(problem, Pdhg(), stop=1500, every=500).objective
    theirs = recon.solve(problem, Admm(inner=48), stop=1500, every=500).objective
    assert ours == pytest.approx(theirs, rel=1e-7)


@pytest.mark.parametrize("steps", [1, 2, 5, 16, 40])
def test_any_number_of_inner_steps_leads_to_the_same_minimum(steps):
    problem = Pdhg.example()
    exact = recon.solve(problem, Pdhg(), stop=3000, every=1000).objective
    found = recon.solve(problem, Pdhg(inner=steps), stop=3000, every=1000).objective
    assert found == pytest.approx(exact, rel=1e-8)


def test_inner_steps_save_products():
    problem = tomography(64, 30)
    low = recon.solve(problem, Pdhg(), stop=1500, every=500).objective
    one, many = (iterations_to(problem, 1.001 * low, 1000, Pdhg(inner=n)) for n in (1, 16))
    assert many <= 0.75 * one


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(7, 9), (1, 5), (6, 1), (1, 1), (3, 8, 5)])
@pytest.mark.parametrize("rest", [None, NonNegative()], ids=["free", "nonnegative"])
def test_the_compiled_steps_are_those_of_the_operators(monkeypatch, dtype, shape, rest):
    pytest.importorskip("numba")
    rng = np.random.default_rng(0)
    z = rng.standard_normal(shape).astype(dtype)
    splits = [TV(0.3).split(recon.ArraySpec(shape[-2:]))]
    dual = rng.standard_normal((*shape[:-2], 2, *shape[-2:])).astype(dtype)
    assert inner._compiled(splits, rest, z)
    fast = inner.descend(splits, rest, z, 0.7, (dual,), (8.0,), 9)
    monkeypatch.setattr(inner, "_compiled", lambda *_: False)
    slow = inner.descend(splits, rest, z, 0.7, (dual,), (8.0,), 9)
    eps = 30 * np.finfo(dtype).eps
    for one, other in ((fast[0], slow[0]), (fast[1][0], slow[1][0])):
        assert one.dtype == dtype
        np.testing.assert_allclose(one, other, rtol=eps, atol=eps)


def test_what_is_not_isotropic_tv_of_real_images_is_not_compiled():
    spec, z = recon.ArraySpec((6, 5)), np.zeros((6, 5))
    outer, gradient = TV(0.3).split(spec)
    assert inner._compiled([(outer, gradient)], None, z)
    for splits, rest, x in (
        ([(outer, gradient)] * 2, None, z),
        ([(outer, gradient)], recon.L1(0.1), z),
        ([(outer, gradient)], None, z.astype(complex)),
        ([TV(0.3, isotropic=False).split(spec)], None, z),
        ([TV(0.3, ndim=1).split(spec)], None, z),
        ([(L21(0.3, axis=-1), gradient)], None, z),
    ):
        assert not inner._compiled(splits, rest, x)


def test_many_inner_steps_are_the_prox():
    z = np.random.default_rng(0).standard_normal((12, 11))
    splits = [TV(0.3).split(recon.ArraySpec(z.shape))]
    zero = np.zeros((2, *z.shape))
    x, _ = inner.descend(splits, NonNegative(), z, 0.5, (zero,), inner.square_bounds(splits, z), 3000)
    exact = TV(0.3, tol=1e-12, iterations=50000).prox_within(z, 0.5, 0.0, None)
    np.testing.assert_allclose(x, exact, atol=1e-5)


def test_the_state_is_small_and_plain():
    state = Pdhg().step(Pdhg.example(), Pdhg().init(Pdhg.example()))
    names = {field.name for field in dataclasses.fields(state)}
    assert {"duals", "bounds", "tau", "sigma", "balance"} <= names
    assert state.bounds == (8.0,)

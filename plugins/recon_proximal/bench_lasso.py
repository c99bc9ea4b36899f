"""The lasso, n = 2048, m = 614, 70 spikes, to a relative duality gap of 1e-6: our solvers and peers.

Every peer gets the loosest setting, on a ladder, with which its objective comes within 1e-6 relative of the
minimum; finding it is not timed. scikit-learn gets its matrix in the order of columns that it works on; ours is as
NumPy makes it. The last case is the constrained form, which SPGL1 is made for, at the residual of the lasso.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

import recon
from recon.bench import Case
from recon_proximal.active_set import ActiveSet
from recon_proximal.fista import Fista

__all__ = ["cases"]

GAP = 1e-6
LEVELS = (0.3, 0.1, 0.02)
"""Weights, as parts of the one from which on the solution is 0."""


def cases() -> list[Case]:
    """The lasso at three weights, and basis pursuit denoising."""
    matrix, data = _spikes()
    largest = float(np.abs(matrix.T @ data).max())
    return [_lasso(matrix, data, level, largest) for level in LEVELS] + [_denoising(matrix, data, largest)]


def _spikes() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    rows, columns, spikes = 614, 2048, 70
    matrix = rng.standard_normal((rows, columns)) / np.sqrt(rows)
    x = np.zeros(columns)
    x[rng.choice(columns, spikes, replace=False)] = rng.standard_normal(spikes)
    return matrix, matrix @ x + 0.01 * rng.standard_normal(rows)


def _lasso(matrix: Any, data: Any, level: float, largest: float) -> Case:
    weight = level * largest
    problem = recon.Problem(recon.Matrix(matrix), data, recon.L1(weight))
    exact = recon.solve(problem, ActiveSet(), stop=recon.Gap(1e-13) | recon.MaxIterations(100), every=1)
    target = exact.objective * (1.0 + GAP)

    def ours() -> Any:
        return recon.solve(problem, ActiveSet(), stop=recon.Gap(GAP), every=1).x

    def fista() -> Any:
        return recon.solve(problem, Fista(), stop=recon.Target(target), every=10).x

    peers: dict[str, Callable[[], Any]] = {"our Fista": fista}
    for name, ladder in (("scikit-learn", _sklearn), ("PyLops FISTA", _pylops)):
        found = _first(ladder(matrix, data, weight), problem.objective, target)
        if found is not None:
            peers[name] = found
    assert problem.objective(ours()) <= target
    note = f"relative gap 1e-6; {np.count_nonzero(exact.x)} nonzeros in the solution"
    return Case(f"lasso 614 x 2048, weight {level:g} of the largest", ours, peers, note)


def _first(
    ladder: Iterable[Callable[[], Any]], objective: Callable[[Any], float], target: float
) -> Callable[[], Any] | None:
    """The first of the runs that comes down to the target."""
    return next((run for run in ladder if objective(run()) <= target), None)


def _sklearn(matrix: Any, data: Any, weight: float) -> Iterable[Callable[[], Any]]:
    if importlib.util.find_spec("sklearn") is None:
        return
    from sklearn.linear_model import Lasso

    columns = np.asfortranarray(matrix)

    def run(tol: float) -> Any:
        model = Lasso(alpha=weight / len(data), tol=tol, fit_intercept=False, max_iter=100_000)
        return model.fit(columns, data).coef_

    for tol in np.logspace(-2, -9, 15):
        yield partial(run, float(tol))


def _pylops(matrix: Any, data: Any, weight: float) -> Iterable[Callable[[], Any]]:
    if importlib.util.find_spec("pylops") is None:
        return
    import pylops

    operator = pylops.MatrixMult(matrix)
    step = 1.0 / recon.linalg.norm(recon.Matrix(matrix)) ** 2

    def run(iterations: int) -> Any:
        # PyLops minimises ||A x - y||^2 + eps ||x||_1, twice our objective
        return pylops.optimization.sparsity.fista(
            operator, data, niter=iterations, eps=2.0 * weight, alpha=step, tol=0.0
        )[0]

    for iterations in (25, 50, 75, 100, 150, 200, 300, 400, 600, 800, 1200):
        yield partial(run, iterations)


def _denoising(matrix: Any, data: Any, largest: float) -> Case:
    """min ||x||_1 with ||A x - y|| <= r, r the residual of the lasso at a weight."""
    weight = 0.05 * largest
    problem = recon.Problem(recon.Matrix(matrix), data, recon.L1(weight))
    x = recon.solve(problem, ActiveSet(), stop=recon.Gap(1e-13) | recon.MaxIterations(100), every=1).x
    radius, size = float(np.linalg.norm(matrix @ x - data)), float(np.abs(x).sum())

    def ours() -> Any:
        return denoise(problem.operator, data, radius, weight=largest)

    def near(found: Any) -> float:
        """How far l1 norm and residual are from the solution, at worst, relative."""
        excess = float(np.linalg.norm(matrix @ found - data)) / radius - 1.0
        return max(abs(float(np.abs(found).sum()) / size - 1.0), excess)

    peers: dict[str, Callable[[], Any]] = {}
    if importlib.util.find_spec("spgl1") is not None:
        import spgl1

        def run(tol: float) -> Any:
            return spgl1.spg_bpdn(matrix, data, radius, opt_tol=tol, bp_tol=tol, iter_lim=5000)[0]

        found = _first([partial(run, 10.0**-k) for k in range(4, 10)], near, 1e-5)
        if found is not None:
            peers["SPGL1"] = found
    assert near(ours()) <= 1e-5
    return Case("basis pursuit denoising 614 x 2048", ours, peers, "l1 norm and residual to 1e-5")


def denoise(operator: Any, data: Any, radius: float, weight: float) -> Any:
    """min ||x||_1 with ||A x - y|| <= r: the weight of the lasso with this residual, by Newton's method.

    The residual of the lasso is a smooth, rising function of the weight between the kinks of its path.
    """
    x, low, high = None, 0.0, weight
    weight = 0.1 * high
    for _ in range(50):
        problem = recon.Problem(operator, data, recon.L1(weight))
        x = recon.solve(problem, ActiveSet(), x0=x, stop=recon.Gap(1e-9) | recon.MaxIterations(50), every=1).x
        residual = data - operator @ x
        size = float(np.linalg.norm(residual))
        if abs(size - radius) <= 1e-6 * radius:
            break
        low, high = (low, weight) if size > radius else (weight, high)
        support = np.flatnonzero(x)
        columns = operator.matrix[:, support]
        change = columns @ np.linalg.solve(columns.T @ columns, np.sign(x[support]))  # d residual / d weight
        slope = float(residual @ change) / size
        weight += (radius - size) / slope if slope else 0.0
        if not low < weight < high:
            weight = 0.5 * (low + high)
    return x

"""Exact abundances against the methods in use: the lasso against SUnSAL, FCLS against cvxopt and scipy.

SUnSAL is written here after Bioucas-Dias and Figueiredo (WHISPERS 2010): alternating directions, one
eigendecomposition, penalty balanced every 10 iterations, both residuals below 1e-4 sqrt(N M) or 1000 iterations. Equal
weight, rows of pixels; its objective stays above the minimum (the note says by how much). FCLS by cvxopt is one
quadratic program per pixel; scipy solves every pixel without the sum, its `nnls` knows no other constraint.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

import recon
from recon import L1, NonNegative, Simplex
from recon.bench import Case
from recon_unmixing.abundances import Abundances
from recon_unmixing.mixing import Mixing

__all__ = ["cases", "sunsal"]


def cases() -> list[Case]:
    """The nonnegative lasso with a library of 240 spectra at three weights; FCLS with five spectra."""
    cube, library = _scene(240)
    return [_lasso(cube, library, weight) for weight in (1e-3, 1e-2, 1e-1)] + [_fcls()]


def _scene(atoms: int) -> tuple[Any, Any]:
    """625 pixels of 224 bands, mixed of 5 of the smooth, coherent spectra of a library; 30 dB."""
    rng = np.random.default_rng(0)
    library = _library(rng, atoms)
    shares = np.zeros((25, 25, atoms))
    shares[..., rng.permutation(atoms)[:5]] = rng.dirichlet(np.full(5, 0.5), (25, 25))
    clean = shares @ library
    return clean + np.sqrt(np.mean(clean**2) / 1e3) * rng.standard_normal(clean.shape), library


def _library(rng: Any, atoms: int) -> Any:
    """Slopes with broad humps and narrow absorptions, no two of them closer than 3 degrees."""
    t = np.linspace(0.0, 1.0, 224)

    def bell(width: Any) -> Any:
        return np.exp(-0.5 * ((t - rng.random()) / width) ** 2)

    spectra: list[Any] = []
    while len(spectra) < atoms:
        s = 0.25 + 0.5 * rng.random() + 0.5 * (rng.random() - 0.5) * t
        for _ in range(3):
            s = s + 0.6 * (rng.random() - 0.5) * bell(0.1 + 0.15 * rng.random())
        for _ in range(rng.integers(2, 6)):
            s = s * (1.0 - (0.1 + 0.6 * rng.random()) * bell(0.008 + 0.03 * rng.random()))
        s = np.clip(s, 0.03, 0.97)
        if all(s @ other <= np.cos(np.radians(3.0)) * np.sqrt(s @ s * (other @ other)) for other in spectra):
            spectra.append(s)
    return np.array(spectra)


def _lasso(cube: Any, library: Any, weight: float) -> Case:
    problem = recon.Problem(Mixing(library), cube, L1(weight) + NonNegative())
    rows = cube.reshape(-1, cube.shape[-1])

    def ours() -> Any:
        return recon.solve(problem, Abundances()).x

    def peer() -> Any:
        return sunsal(rows, library, weight)[0].reshape(*cube.shape[:2], -1)

    found, iterations = sunsal(rows, library, weight)
    best, reached = problem.objective(ours()), problem.objective(found.reshape(*cube.shape[:2], -1))
    assert best <= reached * (1.0 + 1e-6)
    note = f"objective of ours {best:.7g}, of SUnSAL {reached:.7g} after {iterations} iterations"
    return Case(f"lasso 625 x 240, weight {weight:g}", ours, {"SUnSAL (ADMM), tol 1e-4": peer}, note)


def sunsal(Y: Any, D: Any, weight: float, tol: float = 1e-4, limit: int = 1000) -> tuple[Any, int]:
    """Nonnegative lasso of rows of pixels by alternating directions, and the iterations that it took.

    Data and library are scaled by the library's root mean square, and the weight by its square.
    """
    scale = float(np.sqrt(np.mean(D * D)))
    Y, D, weight = Y / scale, D / scale, weight / scale**2
    values, vectors = np.linalg.eigh(D @ D.T)
    C = Y @ D.T
    mu = 0.01 + 10.0 * weight
    inverse = (vectors / (values + mu)) @ vectors.T
    Z = np.maximum(C @ inverse, 0.0)
    U = np.zeros_like(Z)
    small = tol * np.sqrt(Z.size)
    iterations = 0
    for iterations in range(1, limit + 1):
        X = (C + mu * (Z + U)) @ inverse
        before, Z = Z, np.maximum(X - U - weight / mu, 0.0)
        U = U - (X - Z)
        if iterations == 1 or iterations % 10 == 0:
            primal, dual = float(np.linalg.norm(X - Z)), mu * float(np.linalg.norm(Z - before))
            if primal <= small and dual <= small:
                break
            factor = 2.0 if primal > 10.0 * dual else 0.5 if dual > 10.0 * primal else 1.0
            if factor != 1.0:
                mu, U = mu * factor, U / factor
                inverse = (vectors / (values + mu)) @ vectors.T
    return Z, iterations


def _fcls() -> Case:
    rng = np.random.default_rng(1)
    spectra = _library(rng, 5)
    cube = rng.dirichlet(np.ones(5), (32, 64)) @ spectra
    cube = cube + np.sqrt(np.mean(cube**2) / 1e3) * rng.standard_normal(cube.shape)
    problem = recon.Problem(Mixing(spectra), cube, Simplex())
    rows = cube.reshape(-1, 224)

    def ours() -> Any:
        return recon.solve(problem, Abundances()).x

    def scipy_nnls() -> Any:
        from scipy.optimize import nnls

        return np.array([nnls(spectra.T, y)[0] for y in rows])

    peers = {"scipy nnls per pixel, no sum": scipy_nnls}
    if importlib.util.find_spec("cvxopt") is not None:
        peers["cvxopt qp per pixel"] = lambda: _cvxopt(spectra, rows)
        np.testing.assert_allclose(ours().reshape(-1, 5), peers["cvxopt qp per pixel"](), atol=1e-2)
    note = "same optimum; abundances within 0.01 of those of cvxopt, whose tolerance is loose"
    return Case("FCLS 2048 x 5", ours, peers, note)


def _cvxopt(spectra: Any, rows: Any) -> Any:
    """FCLS as one quadratic program per pixel."""
    from cvxopt import matrix, solvers  # type: ignore[import-not-found,unused-ignore]

    p = len(spectra)
    P, G, h = matrix(spectra @ spectra.T), matrix(-np.eye(p)), matrix(np.zeros(p))
    A, b = matrix(np.ones((1, p))), matrix(1.0)
    found = [solvers.qp(P, matrix(-spectra @ y), G, h, A, b, options={"show_progress": False}) for y in rows]
    return np.array([np.asarray(one["x"]).ravel() for one in found])

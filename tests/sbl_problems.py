"""Problems that several tests of recon_sbl share, and what they measure."""

from __future__ import annotations

import numpy as np

from recon import Matrix, Problem
from recon.arrays import as_numpy


def sparse(m=30, n=60, k=5, noise=0.02, kind="real", snapshots=0, seed=0):
    """A Gaussian matrix, k nonzeros that snapshots share; the noise as in Problem.noise."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        values = rng.standard_normal(shape)
        return values + 1j * rng.standard_normal(shape) if kind == "complex" else values

    A = draw(m, n) / np.sqrt(m)
    x = np.zeros((max(snapshots, 1), n), A.dtype)
    x[:, rng.choice(n, k, replace=False)] = draw(max(snapshots, 1), k)
    y = x @ A.T + noise * draw(max(snapshots, 1), m)
    return Problem(Matrix(A), y if snapshots else y[0], noise=noise), x if snapshots else x[0]


def uneven(m=20, n=40, k=4, seed=0, complex_=False, snapshots=0, db=20.0):
    """A Gaussian matrix of columns of different lengths, k nonzeros, noise ``db`` below the data; and x as rows."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if complex_ else 0.0)

    matrix = normal(m, n) * rng.uniform(0.5, 2.0, n) / np.sqrt(m)
    rows = max(snapshots, 1)
    x = np.zeros((rows, n), matrix.dtype)
    x[:, rng.choice(n, k, replace=False)] = normal(rows, k)
    clean = x @ matrix.T
    sigma = float(np.sqrt(np.mean(np.abs(clean) ** 2) / 10 ** (db / 10) / (2 if complex_ else 1)))
    data = clean + sigma * normal(*clean.shape)
    return Problem(Matrix(matrix), data if snapshots else data[0], noise=sigma), x


def nmse(x, truth):
    """||x - truth||^2 / ||truth||^2."""
    return float(np.sum(np.abs(as_numpy(x) - truth) ** 2) / np.sum(np.abs(truth) ** 2))


def dense_cost(problem, gamma, s2):
    """L = log|S| + y^H S^-1 y, summed over snapshots, by plain dense algebra."""
    A, y = problem.operator.matrix, np.atleast_2d(problem.data).T
    S = s2 * np.eye(len(A)) + (A * gamma) @ A.conj().T
    return y.shape[1] * np.linalg.slogdet(S)[1] + np.sum(y.conj() * np.linalg.solve(S, y)).real

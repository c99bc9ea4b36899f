"""Problems with Gaussian priors whose posterior is known, and the exact law of a sampler on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from recon_diffusion._examples import cosines, smooth_images
from recon_diffusion._run import Run
from recon_diffusion.gaussian import GaussianPrior

from recon import Kronecker, Matrix, Problem
from recon.arrays import members
from recon.linalg import dense


def prior_of(size=6, decay=3.0):
    """Smooth images; cosine coefficients are independent."""
    return smooth_images(size, decay)


def posed(operator, prior, noise, seed=3):
    """A problem whose truth is drawn from the prior."""
    truth = prior.draw(1, seed=seed)[0]
    clean = operator @ truth
    return Problem(
        operator, clean + noise * np.random.default_rng(seed).standard_normal(clean.shape), prior, noise=noise
    )


def masked(size=6, noise=0.1, share=0.5):
    """A quarter to a half of the pixels hidden."""
    from recon_operators.sampling import Mask

    return posed(Mask(np.random.default_rng(1).random((size, size)) < share), prior_of(size), noise)


def blurred(size=6, noise=0.05, width=0.8):
    """A blur that is no convolution on a circle, and not diagonal in the cosines."""
    rows = np.exp(-0.5 * (np.subtract.outer(np.arange(size), np.arange(size)) / width) ** 2)
    rows /= rows.sum(axis=1, keepdims=True)
    return posed(Kronecker((Matrix(rows), Matrix(rows))), prior_of(size), noise)


def cosine_blurred(size=6, noise=0.05, width=2.0, cut=0.0):
    """A blur that is diagonal in the cosines, with a known decomposition; factors below cut are 0."""
    k = np.arange(size)
    gains = np.exp(-0.5 * (width * np.pi * k / size / 2) ** 2)
    gains = np.where(gains > cut, gains, 0.0)
    basis = cosines(size)
    one = Matrix((basis * gains) @ basis.T)
    return posed(Kronecker((one, one)), prior_of(size), noise)


def cosine_measured(size=6, noise=0.1, kept=3, factor=1.0):
    """The first cosine coefficients alone: V does not span the image."""
    rows = factor * cosines(size)[:, :kept].T
    return posed(Kronecker((Matrix(rows), Matrix(rows))), prior_of(size), noise)


def tomography(size=8, views=6, noise=0.1, matrix=False):
    """Parallel beams through a small image; as a dense matrix, where many draws are wanted quickly."""
    from recon_operators.tomography import ParallelBeam

    operator = ParallelBeam((size, size), np.arange(views) * np.pi / views, size + 3)
    if matrix:
        shapes = operator.domain.shape, operator.codomain.shape
        operator = Matrix(dense(operator), *shapes)
    return posed(operator, prior_of(size), noise)


def white(problem, level=1.0):
    """The same operator and data with a prior of equal, independent pixels."""
    shape = problem.operator.domain.shape
    return replace(problem, prior=GaussianPrior(np.full(shape, 0.5), np.full(shape, level**2)))


def posterior(problem):
    """Mean (n,) and covariance (n, n) of x given y, by dense algebra."""
    A, prior = dense(problem.operator), problem.prior
    spec = problem.operator.domain
    basis = dense(prior._basis(spec.shape))
    mean = np.broadcast_to(prior.mean, spec.shape).ravel()
    C = (basis * np.broadcast_to(prior.variances, prior._basis(spec.shape).domain.shape).ravel()) @ basis.T
    S = A @ C @ A.T + problem.noise**2 * np.eye(len(A))
    gain = np.linalg.solve(S, A @ C).T
    return mean + gain @ (problem.data.ravel() - A @ mean), C - gain @ A @ C


def run_chains(problem, sampler, seed=0):
    """All samples of a run, (chains, *batch, *image)."""
    state = sampler.init(problem, None, seed)
    while not state.settled:
        state = sampler.step(problem, state)
    return state.clean


def exact_law(problem, sampler, monkeypatch):
    """Mean and covariance of a sampler that is affine in its noise: one chain for each number it draws.

    No Monte-Carlo error, so that a bias is a bias.
    """
    slots = []

    def count(run, use=0, spec=None):
        spec = run.domain if spec is None else spec
        slots.append((run.step, use, members(spec)[0].size))
        return np.zeros((run.chains, *spec.shape))

    monkeypatch.setattr(Run, "noise", count)
    centre = run_chains(problem, replace(sampler, chains=1))[0].ravel()
    start = dict(
        zip([s[:2] for s in slots], np.cumsum([0, *(s[2] for s in slots)])[:-1].tolist(), strict=True)
    )
    chains = sum(size for *_, size in slots)

    def unit(run, use=0, spec=None):
        spec = run.domain if spec is None else spec
        made = np.zeros((run.chains, spec.size))
        first = start[run.step, use]
        made[first : first + spec.size] = np.eye(spec.size)
        return made.reshape(run.chains, *spec.shape)

    monkeypatch.setattr(Run, "noise", unit)
    away = run_chains(problem, replace(sampler, chains=chains)).reshape(chains, -1) - centre
    monkeypatch.undo()
    return centre, away.T @ away


def bias(law, truth):
    """How far a law is from the posterior.

    Returns
    -------
    Error of the mean in posterior standard deviations (root mean square over the pixels), mean ratio of the pixels'
    variances, relative error of the covariance.
    """
    (mean, C), (m, S) = law, truth
    return (
        float(np.sqrt(np.mean((mean - m) ** 2 / np.diag(S)))),
        float(np.mean(np.diag(C) / np.diag(S))),
        float(np.linalg.norm(C - S) / np.linalg.norm(S)),
    )


def check_invariances(sampler, problem, seed=5):
    """Scale of the operator, order and size of the batch, number of chains: none of them changes an image."""
    batch = np.stack([problem.data, 0.3 * problem.data, 1.0 + problem.data])
    three = replace(problem, data=batch)
    two = replace(sampler, chains=2)
    found = run_chains(three, two, seed)
    assert np.isfinite(found).all()
    size = np.abs(found).max()
    for factor, tol in ((2.0, 1e-10), (3.0, 1e-8)):
        scaled = replace(
            three,
            operator=factor * problem.operator,
            data=factor * batch,
            noise=factor * problem.noise,
        )
        np.testing.assert_allclose(run_chains(scaled, two, seed), found, rtol=0, atol=tol * size)
    order = [2, 0, 1]
    permuted = run_chains(replace(problem, data=batch[order]), two, seed)
    np.testing.assert_allclose(permuted, found[:, order], rtol=0, atol=1e-12 * size)
    alone = run_chains(replace(problem, data=batch[1]), two, seed)
    np.testing.assert_allclose(alone, found[:, 1], rtol=0, atol=1e-12 * size)
    single = run_chains(three, replace(sampler, chains=1), seed)
    np.testing.assert_allclose(single[0], found[0], rtol=0, atol=1e-12 * size)
    other = run_chains(three, two, seed + 1)
    assert np.abs(other - found).max() > 1e-3 * size  # the seed counts

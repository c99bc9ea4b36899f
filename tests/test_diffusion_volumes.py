"""Volumes from a prior of slices: contract, the data step against dense algebra, memory, what coupling brings."""

from __future__ import annotations

import dataclasses
import tracemalloc

import array_api_strict
import numpy as np
import pytest
import torch
from recon_diffusion._examples import gaussian_blur, smooth_images
from recon_diffusion._run import Run
from recon_diffusion.dds3d import Dds3D
from recon_diffusion.diffpir import DiffPir
from recon_diffusion.gaussian import GaussianPrior
from recon_diffusion.mbir import DiffusionMbir
from recon_diffusion.volumes import Slabs, VolumeSampler, _clipped, blurred_volume
from recon_operators.sampling import Mask
from recon_operators.slices import EachSlice

from recon import Identity, Kronecker, Matrix, Problem, WeightedLeastSquares, iterate, solve
from recon.arrays import ArraySpec, as_numpy
from recon.errors import CapabilityError, ParameterError, ShapeError
from recon.linalg import dense
from recon.testing import check_solver

MBIR = DiffusionMbir(steps=30, high=20.0)
PUBLISHED = DiffusionMbir(steps=30, high=20.0, snr=0.16, published=True, balance=0.0, inner=1, final=True)
SAMPLERS = {
    "dds": Dds3D(),
    "dds, chains": Dds3D(chains=2, slab=2),
    "dds, all noise new": Dds3D(eta=1.0, momentum=0.0),
    "dds, split carried": Dds3D(carry=True, boundary="periodic", slab=3, balance=0.0, momentum=0.0),
    "mbir": MBIR,
    "mbir, chains": dataclasses.replace(MBIR, chains=2, slab=2, boundary="periodic"),
    "mbir, no corrector": dataclasses.replace(MBIR, snr=0.0),
    "mbir as published": PUBLISHED,
    "mbir as published, chains": dataclasses.replace(PUBLISHED, chains=2, slab=1, boundary="periodic"),
}


@pytest.fixture(scope="module")
def problem():
    return blurred_volume()


def differences(count, boundary):
    """D along the first axis, dense."""
    D = np.roll(np.eye(count), 1, axis=1) - np.eye(count)
    if boundary == "neumann":
        D[-1] = 0.0
    return D


# -- the contract -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLERS)
def test_contract(name):
    check_solver(SAMPLERS[name])


@pytest.mark.parametrize("name", SAMPLERS)
def test_in_place_gives_the_same_bits_and_leaves_the_start_alone(problem, name):
    start = problem.start() + 0.5
    kept = start.copy()
    plain = solve(problem, SAMPLERS[name], x0=start)
    thrifty = solve(problem, dataclasses.replace(SAMPLERS[name], in_place=True), x0=start)
    assert np.array_equal(plain.x, thrifty.x)
    assert np.array_equal(start, kept)


@pytest.mark.parametrize("name", ["dds, chains", "mbir, chains", "mbir as published, chains"])
def test_volumes_of_a_batch_are_independent(problem, name):
    data = np.stack([problem.data, problem.data[::-1] + 0.1, problem.data])
    batch = solve(dataclasses.replace(problem, data=data), SAMPLERS[name])
    assert np.allclose(batch.x[0], solve(problem, SAMPLERS[name]).x, atol=1e-10)
    assert np.allclose(batch.x[0], batch.x[2], atol=1e-10)
    swapped = solve(dataclasses.replace(problem, data=data[::-1]), SAMPLERS[name])
    assert np.allclose(swapped.x[2], batch.x[0], atol=1e-10)
    assert np.abs(batch.x[0] - batch.x[1]).max() > 0.01


@pytest.mark.parametrize("sampler", [Dds3D(), MBIR], ids=["dds", "mbir"])
def test_chains_are_the_same_however_many(problem, sampler):
    one = solve(problem, sampler, seed=2)
    three = solve(problem, dataclasses.replace(sampler, chains=3), seed=2)
    assert np.allclose(three.samples[0], one.x, atol=1e-10)
    assert np.allclose(three.x, three.samples.mean(axis=0))
    assert (three.variance > 0).all()
    assert one.variance is None


@pytest.mark.parametrize("sampler", [Dds3D(), MBIR], ids=["dds", "mbir"])
def test_units_of_the_data_change_nothing(problem, sampler):
    scaled = Problem(1e3 * problem.operator, 1e3 * problem.data, problem.prior, noise=1e3 * problem.noise)
    whole = dataclasses.replace(sampler, slab=5)  # a scaled operator is no stack of slices
    assert np.allclose(solve(scaled, whole).x, solve(problem, whole).x, atol=1e-8)


@pytest.mark.parametrize("like", [array_api_strict.zeros(1), torch.zeros(1)], ids=["strict", "torch"])
@pytest.mark.parametrize(
    "sampler", [Dds3D(steps=5, slab=3), DiffusionMbir(steps=5, slab=3)], ids=["dds", "mbir"]
)
def test_other_libraries_give_the_same(problem, sampler, like):
    data = (
        array_api_strict.asarray(problem.data)
        if "strict" in type(like).__module__
        else torch.from_numpy(problem.data)
    )
    found = solve(dataclasses.replace(problem, data=data), sampler).x
    assert type(found) is type(data)
    assert np.allclose(as_numpy(found), solve(problem, sampler).x, atol=1e-9)


def test_noise_of_a_slice_does_not_depend_on_the_slab(problem):
    volume = Slabs(Run(problem, 1.0, 2, 7, 3), 2)
    whole = volume.noise(0, 5, 1, problem.data)
    parts = [volume.noise(lo, hi, 1, problem.data) for lo, hi in volume.parts()]
    assert [p.shape[1] for p in parts] == [2, 2, 1]
    assert np.array_equal(np.concatenate(parts, axis=1), whole)
    assert abs(np.corrcoef(whole.reshape(10, -1))[np.triu_indices(10, 1)]).max() < 0.6
    assert not np.array_equal(volume.noise(0, 5, 0, problem.data), whole)


# -- the data step ----------------------------------------------------------------------------------------------


def data_step(problem, x0, split, gamma, *, boundary="neumann", slab=5, step=1):
    """What the sampler makes of x0 and w: the next x and the next w."""
    balance = gamma * (0.5 / problem.noise) ** 2  # at level 0.5
    sampler = Dds3D(inner=400, coupling=0.3, threshold=0.2, balance=balance, slab=slab, boundary=boundary)
    x = x0[None].copy()
    after = sampler.data_step(Run(problem, 1.0, 1, 0, step), x, None if split is None else split[None], 0.5)
    return x[0], None if after is None else after[0]


def reference(problem, x0, split, gamma, *, boundary="neumann", slab=5, step=1):
    """The same by dense algebra: block Gauss-Seidel on the equation of the whole volume."""
    count, rest, size = x0.shape[0], x0[0].size, 0.2 * problem.prior.scale
    A, D = dense(problem.operator), np.kron(differences(count, boundary), np.eye(rest))
    u = np.clip(split, -size, size).ravel()
    d = split.ravel() - u
    matrix = A.T @ A + gamma * np.eye(len(u)) + 0.3 * D.T @ D
    right = A.T @ problem.data.ravel() + gamma * x0.ravel() + 0.3 * D.T @ (d - u)
    x = x0.ravel().copy()
    blocks = np.split(np.arange(len(u)), range(slab * rest, len(u), slab * rest))
    for block in blocks if step % 2 else blocks[::-1]:
        others = np.setdiff1d(np.arange(len(u)), block)
        known = right[block] - matrix[np.ix_(block, others)] @ x[others]
        x[block] = np.linalg.solve(matrix[np.ix_(block, block)], known)
    return x.reshape(x0.shape), (D @ x + u).reshape(x0.shape)


@pytest.mark.parametrize("boundary", ["neumann", "periodic"])
@pytest.mark.parametrize(("slab", "step"), [(5, 1), (2, 1), (2, 2), (1, 1)])
def test_data_step_solves_its_equation(boundary, slab, step):
    problem = blurred_volume(5, 4)
    x0, split = np.random.default_rng(0).standard_normal((2, 5, 4, 4))
    if boundary == "neumann":
        split[-1] = 0.0  # as all steps leave it
    found = data_step(problem, x0, split, 0.05, boundary=boundary, slab=slab, step=step)
    wanted = reference(problem, x0, split, 0.05, boundary=boundary, slab=slab, step=step)
    assert np.allclose(found[0], wanted[0], atol=5e-5)
    assert np.allclose(found[1], wanted[1], atol=5e-5)


@pytest.mark.parametrize("boundary", ["neumann", "periodic"])
@pytest.mark.parametrize(("slab", "step"), [(6, 1), (2, 1), (2, 2), (1, 1), (1, 2), (4, 2)])
def test_data_step_begun_anew_is_that_from_the_differences_as_they_are(boundary, slab, step):
    """Slabs change x on the way; the split is that of before."""
    problem = blurred_volume(6, 4)
    x0 = np.random.default_rng(0).standard_normal((6, 4, 4))
    split = np.tensordot(differences(6, boundary), x0, 1)
    found = data_step(problem, x0, None, 0.05, boundary=boundary, slab=slab, step=step)
    wanted = data_step(problem, x0, split, 0.05, boundary=boundary, slab=slab, step=step)
    assert np.allclose(found[0], wanted[0], atol=1e-10)
    assert found[1] is None


def test_an_operator_that_is_no_stack_of_slices_gets_the_whole_volume():
    problem = blurred_volume(5, 4)
    whole = Kronecker((Identity(ArraySpec((5,))), *problem.operator.slice_operator.factors))
    other = dataclasses.replace(problem, operator=whole)
    x0, split = np.random.default_rng(0).standard_normal((2, 5, 4, 4))
    split[-1] = 0.0
    for a, b in zip(
        data_step(other, x0, split, 0.05, slab=2), data_step(problem, x0, split, 0.05), strict=True
    ):
        assert np.allclose(a, b, atol=5e-5)
    one, two = solve(problem, Dds3D(slab=5)), solve(other, Dds3D(slab=1))
    assert np.abs(one.x - two.x).max() < 0.02  # the estimates of the two norms differ a little


def test_weights_and_levels_of_their_own_count():
    problem = blurred_volume(5, 4)
    levels = np.full(problem.data.shape, problem.noise)
    weights = WeightedLeastSquares(levels**-2.0)
    by_number = solve(problem, Dds3D(slab=5)).x
    assert np.allclose(solve(dataclasses.replace(problem, noise=levels), Dds3D()).x, by_number, atol=1e-6)
    weighted = Problem(problem.operator, problem.data, problem.prior, loss=weights)
    assert np.allclose(solve(weighted, Dds3D()).x, by_number, atol=1e-6)


def test_the_split_of_complex_volumes_is_clipped_in_length():
    w = np.array([3.0 + 4.0j, 0.1j, 0.0, -2.0])
    assert np.allclose(_clipped(w, 0.5), [0.3 + 0.4j, 0.1j, 0.0, -0.5])
    assert np.allclose(_clipped(w, 0.0), 0.0)
    assert np.allclose(_clipped(w.real, 0.5), [0.5, 0.0, 0.0, -0.5])


def test_periodic_volumes_couple_the_first_slice_with_the_last(problem):
    """Data see all slices but the first: it is drawn to its neighbours, with ``periodic`` to the last one too."""
    shape = problem.operator.domain.shape
    mask = np.ones(shape)
    mask[0] = 0
    data = np.arange(shape[0])[:, None, None] * np.ones(shape)
    hidden = Problem(Mask(mask), mask * data, problem.prior, noise=1e-3)
    sampler = Dds3D(coupling=10.0, threshold=0.0, inner=50)
    beside = solve(hidden, sampler).x
    round_about = solve(hidden, dataclasses.replace(sampler, boundary="periodic")).x
    assert beside[0].mean() < 1.2
    assert round_about[0].mean() > beside[0].mean() + 0.5


# -- memory -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sampler", "limit"),
    [
        (Dds3D(steps=3, slab=2, in_place=True), 3.0),
        (Dds3D(steps=3, slab=2, eta=1.0, momentum=0.0, in_place=True), 2.0),
        (DiffusionMbir(steps=3, slab=2, in_place=True), 3.0),
        (DiffusionMbir(steps=3, slab=2), 5.25),
    ],
    ids=["dds", "dds, all noise new", "mbir", "mbir, not in place"],
)
def test_memory_is_that_of_the_states_and_some_slabs(sampler, limit):
    """Two volumes in place; else the old and the new state, and their difference for the record.

    From the data on: state, steps and result, with slabs of 1 / 32 of the volume; the network takes two slices.
    """
    seen = np.random.default_rng(0).standard_normal((8, 64)) / 8
    A = EachSlice(Kronecker((Matrix(seen), Matrix(seen))), 64)
    data = (A @ np.random.default_rng(0).random((64, 64, 64))).astype(np.float32)
    problem = Problem(A, data, GaussianPrior(np.zeros((64, 64)), 1.0), noise=0.02)
    solve(problem, sampler)  # what is kept with the problem, and what is imported
    tracemalloc.start()
    solve(problem, sampler, every=2)
    peak = tracemalloc.get_traced_memory()[1] / (4 * 64**3)
    tracemalloc.stop()
    assert peak < limit


# -- what it brings ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alike():
    """A volume whose slices change slowly, half of the entries of each hidden, and the truth."""
    prior = smooth_images(8)
    ends = prior.draw(2, seed=11)
    share = np.linspace(0.0, 1.0, 12)[:, None, None]
    truth = (1.0 - share) * ends[0] + share * ends[1]
    A = EachSlice(Mask(np.random.default_rng(2).random((8, 8)) < 0.3), 12)
    data = A @ (truth + 0.05 * np.random.default_rng(3).standard_normal(truth.shape))
    return Problem(A, data, prior, noise=0.05), truth


def errors(x, truth):
    return [float(np.sqrt(np.mean(e**2))) for e in (x - truth, np.diff(x - truth, axis=0))]


def test_coupled_slices_are_nearer_to_the_truth_and_to_each_other(alike):
    problem, truth = alike
    alone = errors(solve(problem, DiffPir()).x, truth)
    careful = Dds3D(coupling=0.3, threshold=0.2, high=10.0, momentum=0.0)  # little is seen of a slice
    coupled = errors(solve(problem, careful).x, truth)
    assert coupled[0] < 0.9 * alone[0]
    assert coupled[1] < 0.6 * alone[1]


@pytest.mark.parametrize(
    "sampler", [dataclasses.replace(MBIR, low=0.1), PUBLISHED], ids=["ours", "published"]
)
def test_the_coupling_is_what_brings_it(alike, sampler):
    """A run of MBIR against the same run without coupling."""
    problem, truth = alike
    sampler = dataclasses.replace(sampler, steps=60, high=10.0, final=False)
    alone = errors(solve(problem, dataclasses.replace(sampler, coupling=1e-9)).x, truth)
    coupled = errors(solve(problem, dataclasses.replace(sampler, coupling=0.3, threshold=0.2)).x, truth)
    assert coupled[0] < 0.9 * alone[0]
    assert coupled[1] < 0.5 * alone[1]


def test_the_noisy_volume_keeps_the_noise_of_its_level(problem):
    """What ours is for: z = x + s n keeps its noise where the data see it; as published half of it goes."""
    left = {}
    for name, sampler in (("ours", MBIR), ("published", PUBLISHED)):
        sampler = dataclasses.replace(sampler, coupling=1e-9, chains=20)
        states = iterate(problem, sampler)
        state = [next(states) for _ in range(5)][-1]  # at twice the spread of the images
        z = problem.operator @ (state.clean if sampler.published else state.clean + state.z)
        alone = problem.operator @ np.random.default_rng(1).standard_normal(state.z.shape)
        away = z - z.mean(axis=0)  # the same in all chains: the image
        left[name] = float(np.linalg.norm(away) / np.linalg.norm(alone)) / state.levels[5]
    assert 0.8 < left["ours"] < 1.2
    assert left["published"] < 0.6


def test_without_a_start_the_walk_begins_at_the_mean_of_the_prior(problem):
    """All slices with the same image; each chain with its own."""
    state = Dds3D(chains=2).init(problem)
    assert np.sqrt(np.mean((state.clean - problem.prior.mean) ** 2)) < 0.5 * problem.prior.scale
    assert np.array_equal(state.clean[:, 0], state.clean[:, -1])
    given = Dds3D().init(problem, x0=problem.start() + 0.5)
    assert np.array_equal(given.clean[0], problem.start() + 0.5)


def test_calls_are_counted_for_each_slice_once(problem):
    assert solve(problem, Dds3D(steps=7, slab=2)).history[-1].values["calls"] == 7
    assert solve(problem, DiffusionMbir(steps=7, slab=2)).history[-1].values["calls"] == 13
    assert solve(problem, DiffusionMbir(steps=7, snr=0.0)).history[-1].values["calls"] == 7


def test_the_last_step_of_mbir_fits_the_data(problem):
    """The final step brings ||A x - y|| down, and leaves alone what the data do not see."""
    plain = solve(problem, dataclasses.replace(PUBLISHED, final=False))
    fitted = solve(problem, PUBLISHED)
    assert fitted.history[-1].values["loss"] < plain.history[-1].values["loss"]
    mask = np.random.default_rng(0).random((8, 8)) < 0.5
    hidden = Problem(EachSlice(Mask(mask), 5), problem.data * mask, problem.prior, noise=0.02)
    before = solve(hidden, dataclasses.replace(MBIR, final=False)).x
    after = solve(hidden, dataclasses.replace(MBIR, final=True)).x
    assert np.allclose(after[:, mask], problem.data[:, mask])
    assert np.array_equal(after[:, ~mask], before[:, ~mask])


# -- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", [Dds3D(), MBIR], ids=["Dds3D", "DiffusionMbir"])
def test_refusals(sampler, problem):
    name = type(sampler).__name__
    with pytest.raises(
        ShapeError, match=rf"{name} needs a volume \(slices, rows, columns\), got \(8, 8\) real"
    ):
        solve(gaussian_blur(), sampler)
    with pytest.raises(CapabilityError, match=rf"{name} needs a prior that denoises"):
        solve(dataclasses.replace(problem, prior=None), sampler)
    with pytest.raises(ParameterError, match=rf"{name}.threshold must be >= 0"):
        type(sampler)(threshold=-1.0)
    assert issubclass(type(sampler), VolumeSampler)

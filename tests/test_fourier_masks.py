"""Sampling masks: how many samples, where, the calibration block, seeds, distances, densities, error texts."""

import numpy as np
import pytest
from recon_operators.fourier import masks
from recon_operators.fourier._poisson import dart_places
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from recon.errors import ParameterError

RANDOM = [masks.uniform, masks.variable_density, masks.gaussian, masks.poisson_disc]
LINES = RANDOM[:3]


def middle(mask, side):
    return mask[tuple(slice(n // 2 - side // 2, n // 2 - side // 2 + side) for n in mask.shape)]


@pytest.mark.parametrize("make", RANDOM)
@pytest.mark.parametrize("shape", [(64, 64), (47, 90)])
@pytest.mark.parametrize("acceleration", [2, 3.7, 8])
def test_points_have_the_acceleration_and_the_block(make, shape, acceleration):
    mask = make(shape, acceleration, 8, axes=(-2, -1), seed=3)
    assert mask.dtype == bool
    assert mask.shape == shape
    assert mask.sum() == round(mask.size / acceleration)
    assert middle(mask, 8).all()


@pytest.mark.parametrize("make", LINES)
def test_lines_are_read_out_in_full(make):
    mask = make((30, 101), 4, 7)
    assert np.array_equal(mask, np.broadcast_to(mask[0], mask.shape))
    assert mask[0].sum() == round(101 / 4)
    assert mask[0, 50 - 3 : 50 + 4].all()
    across = make((40, 30, 20), 4, 6, axes=(1, 2))
    assert np.array_equal(across, np.broadcast_to(across[0], across.shape))
    assert across[0].sum() == 150
    assert np.array_equal(make((101, 30), 4, 7, axes=(0,)), np.swapaxes(make((30, 101), 4, 7), 0, 1))


@pytest.mark.parametrize("make", RANDOM)
def test_a_seed_is_a_mask(make):
    one, same, other = (make((40, 40), 4, 6, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    one[:] = False  # ours to change: no view of anything kept
    assert make((40, 40), 4, 6, seed=1).any()


def frequency(make, **options):
    """How often each line of 64 is drawn, over 400 seeds."""
    return np.mean([make((1, 64), 8, 0, seed=s, **options)[0] for s in range(400)], axis=0)


def test_uniform_draws_every_line_alike():
    often = frequency(masks.uniform)
    assert often.mean() == 1 / 8
    assert np.abs(often - 1 / 8).max() < 5 * np.sqrt(1 / 8 * 7 / 8 / 400)


def test_densities_are_those_stated():
    """With one sample per draw, Gumbel top-K draws p(k) itself."""
    k = (np.arange(16) - 8) / 9
    for make, options, density in [
        (masks.variable_density, {"power": 2.0}, (1 - abs(k)) ** 2),
        (masks.gaussian, {"width": 0.3}, np.exp(-0.5 * (k / 0.3) ** 2)),
    ]:
        p = density / density.sum()
        drawn = np.mean([make((1, 16), 16, 0, seed=s, **options)[0] for s in range(4000)], axis=0)
        assert np.abs(drawn - p).max() < 5 * np.sqrt(p.max() / 4000)


def test_density_falls_towards_the_edge():
    for make in (masks.variable_density, masks.gaussian):
        often = frequency(make)
        assert often[28:36].min() > 4 * often[[0, 1, 2, -3, -2, -1]].max()


def test_darts_keep_their_distance_and_fill_the_plane():
    rng = np.random.default_rng(0)
    rows, columns = np.indices((40, 33))
    distance = 1.3 + 0.15 * np.hypot(rows - 20, columns - 16)
    order = rng.permutation(40 * 33)[:1200]
    taken = dart_places(order, distance)
    everywhere = np.stack([rows.ravel(), columns.ravel()], axis=1)
    r = distance.ravel()
    gap = cdist(everywhere[taken], everywhere[taken]) + 1e9 * np.eye(len(taken))
    assert np.all(gap >= np.minimum.outer(r[taken], r[taken]))
    left = np.setdiff1d(order, taken)
    assert np.all((cdist(everywhere[taken], everywhere[left]) < r[taken][:, None]).any(axis=0))


def test_poisson_discs_are_apart_and_grow():
    def nearest(mask, inside):
        places = np.argwhere(mask) - 48
        distance = cKDTree(places).query(places, k=2)[0][:, 1]
        radius = np.hypot(*places.T) / 48
        return distance[(radius > inside[0]) & (radius < inside[1])]

    even = masks.poisson_disc((96, 96), 6, 0, growth=0, seed=1)
    assert nearest(even, (0, 2)).min() >= 2  # at random every sixth place has a neighbour beside it
    grown = masks.poisson_disc((96, 96), 6, 0, growth=4, seed=1)
    assert np.median(nearest(grown, (0.8, 1))) > 2 * np.median(nearest(grown, (0, 0.3)))


def test_equispaced():
    mask = masks.equispaced((5, 20), 4, 4, offset=3)
    assert np.flatnonzero(mask[0]).tolist() == [3, 7, 8, 9, 10, 11, 15, 19]
    assert np.array_equal(mask, np.broadcast_to(mask[0], mask.shape))
    plane = masks.equispaced((12, 9), (2, 3), 0, axes=(0, 1), offset=(1, 0))
    assert np.array_equal(np.argwhere(plane), [[r, c] for r in range(1, 12, 2) for c in range(0, 9, 3)])
    assert np.array_equal(masks.equispaced((12, 9), (3, 2), 0, axes=(1, 0), offset=(0, 1)), plane)
    both = masks.equispaced((8, 8), (2, 4), 0, axes=(-2, -1))  # one offset serves all axes
    assert np.array_equal(np.argwhere(both), [[r, c] for r in range(0, 8, 2) for c in (0, 4)])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: masks.uniform((), 2), r"uniform.shape must be a tuple of whole numbers > 0, got \(\). See"),
        (lambda: masks.uniform(8, 2), "uniform.shape must be a tuple of whole numbers > 0, got 8"),
        (lambda: masks.uniform((8.5, 8), 2), r"uniform.shape must be a tuple of whole numbers > 0, got \(8.5, 8\)"),
        (lambda: masks.uniform((8, 8), 0.5, 0), "uniform.acceleration must be a finite number >= 1, got 0.5"),
        (lambda: masks.uniform((8, 8), "2", 0), "uniform.acceleration must be a finite number >= 1, got '2'"),
        (lambda: masks.uniform((8, 8), np.inf, 0), "uniform.acceleration must be a finite number >= 1, got inf"),
        (lambda: masks.uniform((8, 8), 99, 0), r"uniform.shape must be large enough that one place .*, got \(8, 8\)"),
        (lambda: masks.equispaced((8, 8), 4, 0, offset=9), "equispaced.shape must be large enough that one place"),
        (lambda: masks.uniform((8, 8), 2, 2, seed=-1), "uniform.seed must be a whole number >= 0, got -1"),
        (lambda: masks.poisson_disc((8, 8), 2, 2, seed=None), "poisson_disc.seed must be a whole .*, got None"),
        (lambda: masks.uniform((8, 8), 2, 2, axes=-1), r"uniform.axes must be a tuple of different axes of .*, got -1"),
        (lambda: masks.uniform((8, 8), 2, -1), "uniform.calibration must be a whole number >= 0, got -1"),
        (lambda: masks.uniform((8, 8), 2, 1.5), "uniform.calibration must be a whole number >= 0, got 1.5"),
        (lambda: masks.gaussian((8, 64), 4, 24),
         "gaussian.calibration must be so small that its block has no more than 64 / 4 places, got 24 with 24 places"),
        (lambda: masks.uniform((8, 8), 2, 2, axes=(2,)), r"a tuple of different axes of \(8, 8\), got \(2,\)"),
        (lambda: masks.uniform((8, 8), 2, 2, axes=(1, -1)), r"uniform.axes must be a tuple of .*got \(1, -1\)"),
        (lambda: masks.uniform((8, 8), 2, 2, axes=()), "uniform.axes must be a tuple of different axes of"),
        (lambda: masks.variable_density((8, 8), 2, 2, power=-1), "variable_density.power must be a finite .* got -1"),
        (lambda: masks.gaussian((8, 8), 2, 2, width=0), "gaussian.width must be a finite number > 0, got 0"),
        (lambda: masks.poisson_disc((8, 8), 2, 2, growth=-1), "poisson_disc.growth must be a finite .*, got -1"),
        (lambda: masks.poisson_disc((8, 8), 2, 2, axes=(1,)), r"poisson_disc.axes must be two axes, got \(1,\)"),
        (lambda: masks.equispaced((8, 8), 2.5, 2),
         r"equispaced.acceleration must be whole numbers >= 1, one per axis of \(-1,\), got 2.5"),
        (lambda: masks.equispaced((8, 8), 2, 2, axes=(0, 1)), "equispaced.acceleration must be .* one per axis"),
        (lambda: masks.equispaced((8, 8), 2, 2, offset=-1), "equispaced.offset must be whole numbers >= 0.*got -1"),
    ],
)  # fmt: skip
def test_error_texts(make, text):
    with pytest.raises(ParameterError, match=text):
        make()

"""Non-Cartesian MRI: against the plain sum and FINUFFT, its Toeplitz normal, trajectories, error texts."""

import builtins
import logging
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from recon_operators.fourier import (
    CartesianMRI,
    NonCartesianMRI,
    golden_radial,
    radial,
    radial_weights,
    spiral,
)
from recon_operators.fourier._ndft_reference import ndft, ndft_adjoint

from recon.errors import ArrayError, KernelError, MissingExtraError, ParameterError, ShapeError
from recon.linalg import cgls
from recon.testing import check_operator

needs_finufft = pytest.mark.skipif("not __import__('importlib').util.find_spec('finufft')")
RNG = np.random.default_rng(0)


def noise(*shape):
    return RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)


def anywhere(*shape):
    return RNG.uniform(-np.pi, np.pi, shape)


SCANS = {
    "example": NonCartesianMRI.example(),
    "one axis": NonCartesianMRI(anywhere(30, 1), (9,)),
    "one pixel": NonCartesianMRI(anywhere(3, 2), (1, 1)),
    "odd, one sample": NonCartesianMRI(anywhere(1, 2), (5, 7)),
    "coils": NonCartesianMRI(anywhere(3, 8, 2), (6, 5), noise(2, 6, 5)),
    "three axes, coils": NonCartesianMRI(anywhere(20, 3), (4, 3, 5), noise(2, 4, 3, 5)),
}


@needs_finufft
@pytest.mark.parametrize("name", SCANS)
def test_contract(name, like):
    check_operator(SCANS[name], like=like)


@needs_finufft
@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize("xp", [np, torch])
def test_is_the_plain_sum(name, xp):
    A = SCANS[name]
    flat = A.points.reshape(-1, len(A.image_shape))
    maps = np.ones((1, *A.image_shape)) if A.maps is None else A.maps
    x, y = noise(2, *A.domain.shape), noise(2, *A.codomain.shape)
    seen = xp.asarray(maps * x[:, None])
    truth = np.asarray(ndft(seen, flat, A.image_shape)).reshape(2, *A.codomain.shape)
    assert np.abs(np.asarray(A @ xp.asarray(x)) - truth).max() <= 1e-11 * np.linalg.norm(truth)
    back = np.asarray(ndft_adjoint(xp.asarray(y.reshape(2, len(maps), -1)), flat, A.image_shape))
    back = (maps.conj() * back).sum(1)
    assert np.abs(np.asarray(A.H @ xp.asarray(y)) - back).max() <= 1e-11 * np.linalg.norm(back)


@needs_finufft
def test_agrees_with_finufft_called_by_hand():
    import finufft

    k, x = golden_radial(30, 64), noise(32, 33)
    theirs = finufft.nufft2d2(*k.reshape(-1, 2).T.copy(), x, eps=1e-14, isign=-1) / np.sqrt(x.size)
    ours = (NonCartesianMRI(k, x.shape) @ x).ravel()
    assert np.linalg.norm(ours - theirs) <= 1e-11 * np.linalg.norm(theirs)


@needs_finufft
@pytest.mark.parametrize("shape", [(8, 6), (7, 9), (5, 4, 6)])
def test_on_the_grid_it_is_the_cartesian_scan(shape):
    axes = [2 * np.pi * (np.arange(n) - n // 2) / n for n in shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    x = noise(*shape)
    wanted = CartesianMRI(np.ones(shape)) @ x
    np.testing.assert_allclose(NonCartesianMRI(points, shape) @ x, wanted, atol=1e-11)


@needs_finufft
def test_points_outside_the_half_open_range_are_periodic():
    points = np.array([[np.pi, -np.pi], [0.3, np.pi]])
    x = noise(6, 6)
    a, b = NonCartesianMRI(points, (6, 6)) @ x, NonCartesianMRI(points * [1, -1], (6, 6)) @ x
    np.testing.assert_allclose(a, b, atol=1e-11)


@needs_finufft
@pytest.mark.parametrize(
    ("eps", "dtype"), [(1e-3, np.complex64), (1e-6, np.complex128), (1e-9, np.complex128)]
)
def test_eps_is_the_accuracy_of_the_products_and_not_of_normal(eps, dtype):
    exact, quick = (NonCartesianMRI(golden_radial(40, 80), (40, 40), eps=e) for e in (None, eps))
    x = noise(40, 40)
    truth, got = exact @ x, quick @ x.astype(dtype)
    assert 1e-5 * eps < np.linalg.norm(got - truth) / np.linalg.norm(truth) < 5 * eps
    wanted = exact.H @ truth
    limit = 1e-5 if dtype == np.complex64 else 1e-11
    assert np.linalg.norm(quick.normal(x.astype(dtype)) - wanted) <= limit * np.linalg.norm(wanted)


@needs_finufft
def test_eps_beyond_single_precision_is_no_trouble():
    A = NonCartesianMRI(golden_radial(20, 40), (20, 20), eps=1e-12)
    x = noise(20, 20)
    assert np.linalg.norm(A @ x.astype(np.complex64) - A @ x) <= 1e-5 * np.linalg.norm(A @ x)


@needs_finufft
def test_threads_share_an_operator():
    """Its FINUFFT plans are made once and kept: products at the same time must not meet in their work space."""
    A = NonCartesianMRI(golden_radial(40, 128), (64, 64))
    images = noise(16, 64, 64)
    alone = [A @ x for x in images]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(A.__matmul__, images))
        back = list(pool.map(A.H.__matmul__, alone))
    assert np.array_equal(alone, together)
    assert np.array_equal(back, [A.H @ y for y in alone])


@needs_finufft
def test_norm_bound_is_close_to_the_norm():
    for A in SCANS.values():
        n = A.shape[1]
        matrix = (A @ np.eye(n).reshape(n, *A.domain.shape).astype(complex)).reshape(n, -1)
        norm = np.linalg.norm(matrix, 2)
        assert norm <= A.norm_bound() * (1 + 1e-10)
        if A.maps is None:  # the maps' own bound is taken at another pixel
            assert A.norm_bound() <= 2 * norm


@needs_finufft
def test_what_normal_keeps_stays_out_of_pickle():
    import pickle

    A = NonCartesianMRI(golden_radial(20, 64), (32, 32))
    before = len(pickle.dumps(A))
    A.normal(noise(32, 32))
    assert len(pickle.dumps(A)) == before


@needs_finufft
def test_radial_sense_reconstruction():
    """A head seen by four coils from fewer spokes than full sampling needs: CG with the Toeplitz normal finds it."""
    n = 48
    r, c = (np.indices((n, n)) - n / 2) / (n / 2)
    image = ((r**2 + c**2) < 0.6) * np.exp(0.5j * r) * (1 + (abs(c) < 0.2))
    smooth = np.stack([1 + 0.5 * np.sin(3 * c + k) + 0.3j * r * k for k in range(4)])
    A = NonCartesianMRI(golden_radial(30, 2 * n), (n, n), smooth)
    x = cgls(A, A @ image, iterations=150, tol=1e-8)
    seen = CartesianMRI(np.hypot(r, c) < 0.99)  # spokes do not reach into the corners of k-space
    assert np.linalg.norm(seen.normal(x - image)) < 0.01 * np.linalg.norm(image)
    gridded = A.H @ (radial_weights(A.points, (n, n)) * (A @ image))
    assert np.linalg.norm(seen.normal(gridded - image)) > 0.2 * np.linalg.norm(image)


# -- trajectories -----------------------------------------------------------------------------------------------


def test_trajectories_are_where_they_should_be():
    for points in (golden_radial(13, 20), radial(6, 21), spiral(4, 50, 3.5)):
        assert np.abs(points).max() <= np.pi
        assert points.shape[-1] == 2
    step = np.rad2deg(np.arctan2(*golden_radial(2, 8)[1, -1]))
    assert step % 180 == pytest.approx(111.246118, abs=1e-6)
    along_a_row = golden_radial(1, 8)[0]
    assert along_a_row[:, 0] == pytest.approx(0)
    assert along_a_row[:, 1] == pytest.approx(2 * np.pi * (np.arange(8) - 4) / 8)
    assert np.rad2deg(np.arctan2(*radial(4, 8)[1, -1])) == pytest.approx(45)
    arm = spiral(3, 400, 5)[1]
    angle = np.unwrap(np.arctan2(arm[1:, 0], arm[1:, 1]))
    assert angle[-1] - angle[0] == pytest.approx(2 * np.pi * 5 * (np.sqrt(399 / 400) - np.sqrt(1 / 400)))
    assert np.hypot(*arm[100]) == pytest.approx(np.pi / 2)
    assert np.arctan2(*arm[1]) == pytest.approx(2 * np.pi * (1 / 3 + 5 / 20), abs=2 * np.pi)


@needs_finufft
def test_radial_weights_show_the_image_at_its_size():
    r, c = (np.indices((40, 40)) - 20) / 20
    image = np.exp(-8 * ((r - 0.1) ** 2 + (c + 0.2) ** 2)) + 0j
    A = NonCartesianMRI(radial(64, 80), (40, 40))
    seen = A.H @ (radial_weights(A.points, (40, 40)) * (A @ image))
    assert np.abs(seen - image).max() < 0.02


# -- what goes wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: NonCartesianMRI(anywhere(4, 2) * 20, (8, 8)), ParameterError,
         "points must be in radians per pixel, within -pi and pi, got .* Multiply cycles per pixel by 2 pi"),
        (lambda: NonCartesianMRI(anywhere(4, 3), (8, 8)), ShapeError,
         r"points must be real, of shape \(..., 2\), got float64 \(4, 3\). The last axis goes"),
        (lambda: NonCartesianMRI(anywhere(2), (8, 8)), ShapeError, r"got float64 \(2,\)"),
        (lambda: NonCartesianMRI(anywhere(4, 4), (2, 2, 2, 2)), ShapeError,
         "NonCartesianMRI.image_shape must have 1 to 3 axes, got 4"),
        (lambda: NonCartesianMRI(np.full((4, 2), np.nan), (8, 8)), ArrayError, "points must be finite"),
        (lambda: NonCartesianMRI(anywhere(4, 2), (0, 8)), ParameterError, r"image_shape\[0\] must be > 0, got 0"),
        (lambda: NonCartesianMRI(anywhere(4, 2), (8, 8), noise(8, 8)), ShapeError,
         r"NonCartesianMRI.maps must have shape \(coils, 8, 8\), got \(8, 8\)"),
        (lambda: NonCartesianMRI(anywhere(4, 2), (8, 8), eps=1e-15), ParameterError, "eps must be >= 1e-12, got 1e-15"),
        (lambda: golden_radial(2.5, 8), ParameterError, "golden_radial.spokes must be a whole number >= 1, got 2.5"),
        (lambda: radial(4, 0), ParameterError, "radial.samples must be a whole number >= 1, got 0"),
        (lambda: spiral(True, 8, 2), ParameterError, "spiral.arms must be a whole number >= 1, got True"),
        (lambda: spiral(2, 8, 0), ParameterError, r"spiral.turns must be a finite number > 0, got 0. Take n"),
        (lambda: spiral(2, 8, np.inf), ParameterError, "spiral.turns must be a finite number > 0, got inf"),
        (lambda: radial_weights(np.zeros((3, 2)), (8, 8)), ParameterError,
         "radial_weights.points must have a point beside 0, got none"),
        (lambda: radial_weights(np.ones((4, 3)), (8, 8)), ShapeError,
         r"radial_weights.points must have shape \(..., 2\), got \(4, 3\). Other trajectories"),
        (lambda: radial_weights(np.ones((4, 2)), 8), ShapeError,
         r"radial_weights.image_shape must be \(rows, columns\), got 8"),
    ],
)  # fmt: skip
def test_error_texts(make, error, text):
    with pytest.raises(error, match=text):
        make()


@needs_finufft
def test_gradients_are_not_dropped_silently():
    A = NonCartesianMRI.example()
    with pytest.raises(ArrayError, match="must get data without gradients: its transforms record none"):
        A @ torch.ones(A.domain.shape, dtype=torch.complex128, requires_grad=True)


@needs_finufft
def test_other_devices_are_refused():
    with pytest.raises(
        KernelError, match="input must be on the CPU or a CuPy array, got meta. Move it there"
    ):
        NonCartesianMRI.example() @ torch.ones(8, 7, dtype=torch.complex64, device="meta")


def without(monkeypatch, module):
    real = builtins.__import__

    def no_such(name, *rest):
        if name == module:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(builtins, "__import__", no_such)


def test_missing_finufft_gives_the_pip_line(monkeypatch):
    without(monkeypatch, "finufft")
    A = NonCartesianMRI.example()
    with pytest.raises(
        MissingExtraError, match=r"needs finufft, which is not installed. Run: pip install 'recon-inv"
    ):
        A @ noise(*A.domain.shape)


def test_missing_cufinufft_is_named(monkeypatch):
    from recon_operators.fourier import _nufft

    without(monkeypatch, "cufinufft")
    with pytest.raises(KernelError, match="of CuPy arrays needs cufinufft, which cannot be imported"):
        _nufft._cufinufft()


@pytest.mark.parametrize(("largest", "warned"), [(0.5, True), (3.0, False)])
def test_cycles_are_noticed(largest, warned, caplog):
    with caplog.at_level(logging.WARNING, "recon"):
        NonCartesianMRI(np.linspace(-largest, largest, 10).reshape(5, 2), (8, 8))
    assert ("were cycles meant?" in caplog.text) is warned

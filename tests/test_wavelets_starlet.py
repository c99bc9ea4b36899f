"""The starlet: contract, scipy.ndimage's numbers, synthesis against adjoint, gains, frame bounds."""

import sys

import numpy as np
import pytest
import scipy.ndimage
from recon_wavelets import Starlet, UndecimatedWavelet, noise_levels

from recon.errors import ParameterError, ShapeError
from recon.linalg import dense, norm
from recon.testing import check_operator

RNG = np.random.default_rng(6)
KINDS = [(1, "mirror"), (2, "mirror"), (1, "periodic"), (2, "periodic")]
SHAPES = [(1,), (2,), (13,), (5, 4), (1, 6), (3, 2, 4)]


def lagged(n, step, mirror):
    """The matrix of H along one axis, written down from its definition."""
    H = np.zeros((n, n))
    period = max(2 * (n - 1), 1) if mirror else n
    for i in range(n):
        for k, weight in zip((-2, -1, 0, 1, 2), (1, 4, 6, 4, 1), strict=True):
            j = (i + k * step) % period
            H[i, j if j < n else period - j] += weight / 16
    return H


def matrix(shape, scales, generation, mirror):
    c, planes = np.eye(np.prod(shape)), []
    for scale in range(scales):
        H = np.eye(1)
        for n in shape:
            H = np.kron(H, lagged(n, 2**scale, mirror))
        planes.append(c - H @ c if generation == 1 else c - H @ H @ c)
        c = H @ c
    return np.vstack([*planes, c])


@pytest.mark.parametrize(("generation", "boundary"), KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_contract(shape, generation, boundary, like):
    check_operator(Starlet(shape, 3 if len(shape) == 1 else 2, generation, boundary), like=like)


def test_contract_complex(like):
    check_operator(Starlet((4, 5), 2, 2, kind="complex"), like=like)
    check_operator(Starlet.example(), like=like)


@pytest.mark.parametrize(("generation", "boundary"), KINDS)
@pytest.mark.parametrize("shape", [(9,), (6, 5), (3, 4, 2)])
def test_matrix(shape, generation, boundary):
    """Scales beyond the size of the image included."""
    wanted = matrix(shape, 4, generation, boundary == "mirror")
    np.testing.assert_allclose(dense(Starlet(shape, 4, generation, boundary)), wanted, rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("boundary", "mode"), [("mirror", "mirror"), ("periodic", "wrap")])
def test_is_ndimages(dtype, boundary, mode):
    x = RNG.standard_normal((2, 37, 50)).astype(dtype)
    c, planes = x.astype(float), []
    for scale in range(3):
        kernel = np.zeros(4 * 2**scale + 1)
        kernel[:: 2**scale] = np.array([1, 4, 6, 4, 1]) / 16
        low = c
        for axis in (1, 2):
            low = scipy.ndimage.convolve1d(low, kernel, axis=axis, mode=mode)
        planes.append(c - low)
        c = low
    w = Starlet((37, 50), 3, boundary=boundary) @ x
    assert w.dtype == dtype
    np.testing.assert_allclose(
        w, np.stack([*planes, c], axis=1), rtol=0, atol=1e-15 if dtype == np.float64 else 1e-6
    )


@pytest.mark.parametrize(("generation", "boundary"), KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_synthesis_is_exact_and_not_the_adjoint(shape, generation, boundary):
    S = Starlet(shape, 4, generation, boundary)
    x = RNG.standard_normal((3, *shape))
    np.testing.assert_allclose(S.synthesis(S @ x), x, rtol=0, atol=1e-14)
    if max(shape) > 2:
        assert np.linalg.norm(S.H @ (S @ x) - x) > 0.01 * np.linalg.norm(x)


def test_synthesis_on_other_libraries(to):
    S = Starlet((7, 8), 2, 2)
    w = RNG.standard_normal((2, 3, 7, 8))
    np.testing.assert_allclose(np.asarray(S.synthesis(to(w))), S.synthesis(w), rtol=0, atol=1e-14)
    assert S.synthesis(w.astype(np.float32)).dtype == np.float32


def test_generation_2_makes_nonnegative_images():
    w = RNG.random((5, 12, 12))
    assert (Starlet((12, 12), 4, 2).synthesis(w) >= 0).all()


@pytest.mark.parametrize(("generation", "lower"), [(1, 0.325), (2, 0.599)])
def test_frame_bounds(generation, lower):
    """Measured values of the spec at 5 scales, and the true extreme singular values of a small frame."""
    A, B = Starlet((256, 256), 5, generation, "periodic").frame_bounds()
    assert (pytest.approx(lower, abs=6e-4), pytest.approx(1.0, abs=1e-14)) == (A, B)
    for shape in ((12,), (7, 6)):
        S = Starlet(shape, 3, generation, "periodic")
        values = np.linalg.svd(dense(S), compute_uv=False) ** 2
        assert S.frame_bounds() == (pytest.approx(values[-1], rel=1e-12), pytest.approx(values[0], rel=1e-12))
        assert S.norm_bound() == 1.0


@pytest.mark.parametrize("generation", [1, 2])
def test_frame_bounds_with_mirror_borders(generation):
    """They hold where border samples count half; the plain norm is larger, so no bound is offered."""
    S = Starlet((9, 6), 3, generation)
    D = np.outer(np.r_[0.5, np.ones(7), 0.5], np.r_[0.5, np.ones(4), 0.5]).ravel() ** 0.5
    weighted = np.tile(D, 4)[:, None] * dense(S) / D
    values = np.linalg.svd(weighted, compute_uv=False) ** 2
    assert S.frame_bounds() == (pytest.approx(values[-1], rel=1e-12), pytest.approx(values[0], rel=1e-12))
    assert not hasattr(S, "norm_bound")
    assert 1.05 < norm(S) < 1.3


def test_energy_of_an_impulse():
    """A single bright pixel: plane energies are the squared noise levels, and the planes add up to the pixel."""
    S = Starlet((128, 128), 4, boundary="periodic")
    x = np.zeros((128, 128))
    x[30, 100] = 1.0
    w = S @ x
    np.testing.assert_allclose((w**2).sum(axis=(1, 2)) ** 0.5, list(noise_levels(S).values()), rtol=1e-13)
    np.testing.assert_allclose(w.sum(axis=(1, 2)), [0, 0, 0, 0, 1], atol=1e-14)  # details have no mean
    assert w[0, 30, 100] == 1 - (3 / 8) ** 2


@pytest.mark.parametrize("shape", [(9,), (6, 7), (2, 3, 4)])
@pytest.mark.parametrize("generation", [1, 2])
def test_without_numba(shape, generation, monkeypatch):
    S, x = Starlet(shape, 2, generation), RNG.standard_normal((2, *shape))
    w = S @ x
    results = S.H @ w, S.synthesis(w)
    monkeypatch.setitem(sys.modules, "recon_wavelets._starlet_numba", None)
    plain = Starlet(shape, 2, generation)
    np.testing.assert_allclose(plain @ x, w, rtol=0, atol=1e-14)
    np.testing.assert_allclose((plain.H @ w, plain.synthesis(w)), results, rtol=0, atol=1e-14)
    assert "Rolled" in type(plain._planned(x)).__name__


def test_bands_and_spread():
    S = Starlet((6, 7), 3)
    w = S @ RNG.standard_normal((2, 6, 7))
    parts = S.bands(w)
    assert list(parts) == [(1, "d"), (2, "d"), (3, "d"), (3, "a")]
    parts[2, "d"][...] = 0.0
    assert (w[:, 1] == 0).all()
    levels = S.spread({(1, "d"): 1, (2, "d"): 2, (3, "d"): 3, (3, "a"): 4}, np.zeros(1, np.float32))
    np.testing.assert_array_equal(levels, np.float32([1, 2, 3, 4]).reshape(4, 1, 1))


def test_errors():
    S = Starlet((6, 7), 2)
    for call, name in ((S.synthesis, "synthesis"), (S.bands, "bands")):
        with pytest.raises(ShapeError, match=rf"Starlet\.{name} input must have shape \(\.\.\., 3, 6, 7\)"):
            call(np.ones((6, 7)))
    with pytest.raises(
        ParameterError, match=r"Starlet\.spread values must name every band, got none for \(1, 'd'\)"
    ):
        S.spread({})
    for bad, text in (
        ({"generation": 3}, r"Starlet\.generation must be one of 1, 2, got 3"),
        ({"boundary": "zero"}, r"Starlet\.boundary must be one of 'mirror', 'periodic', got 'zero'"),
        ({"scales": 0}, r"Starlet\.scales must be >= 1, got 0"),
    ):
        with pytest.raises(ParameterError, match=text):
            Starlet((6, 7), **bad)


def test_planes_of_a_star_beat_directional_bands():
    """What the starlet is for: an isotropic blob is one large coefficient, in fewer pixels of the stack."""
    y, x = np.indices((64, 64)) - 32
    star = np.exp(-(x**2 + y**2) / (2 * 3.0**2))
    details = (Starlet((64, 64), 4, boundary="periodic") @ star)[:-1]
    wavelet = (UndecimatedWavelet((64, 64), "db4", 4) @ star)[1:]

    def half_energy(c):
        energy = np.sort((c**2).ravel())[::-1].cumsum()
        return np.searchsorted(energy, energy[-1] / 2)

    assert half_energy(details) < half_energy(wavelet)

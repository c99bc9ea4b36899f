"""Blur with downsampling, and the chain of several bands: definition, closed forms, bounds, real data, texts."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from recon_operators.convolution import BlurDownsample, Convolution, Multiband
from recon_operators.sampling import Interpolate

import recon
from recon import linalg
from recon.errors import ArrayError, ParameterError, ShapeError
from recon.testing import check_operator

BANDS = Path(__file__).resolve().parents[2] / "shared" / "data" / "astro" / "multiband"

CASES = {
    "one axis": lambda: BlurDownsample(draw(3), (12,), 4, phase=2),
    "odd": lambda: BlurDownsample(draw((3, 2)), (9, 15), 3, phase=1, center=(0, 1)),
    "sum": lambda: BlurDownsample(draw((5, 4)), (12, 8), 4, how="sum"),
    "mean, two factors": lambda: BlurDownsample(draw((3, 3)), (8, 9), (2, 3), how="mean"),
    "one pixel": lambda: BlurDownsample(draw((3, 3)), (4, 6), (4, 6), how="sum"),
    "factor one": lambda: BlurDownsample(draw((3, 3)), (5, 6), 1),
    "three axes": lambda: BlurDownsample(draw((3, 2, 2)), (4, 3, 6), (2, 1, 3), phase=(1, 0, 2)),
    "stack": lambda: BlurDownsample(draw((2, 3, 3)), (6, 8), 2, center="peak"),
    "complex": lambda: BlurDownsample(draw((3, 3)) + 1j * draw((3, 3), 1), (6, 9), 3, how="sum"),
    "complex image": lambda: BlurDownsample(draw((3, 3)), (6, 9), 3, phase=2, kind="complex"),
}


def draw(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def sample(spec, seed):
    values = draw(spec.shape, seed)
    return values + 1j * draw(spec.shape, seed + 100) if spec.kind == "complex" else values


@pytest.mark.parametrize("name", CASES)
def test_contract(name, like):
    check_operator(CASES[name](), like=like)


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_convolution_downsampled(name):
    A = CASES[name]()
    x = sample(A.domain, 1)
    blurred = Convolution(A.kernel, A.image_shape, center=A.center, kind=A.kind) @ x
    ndim = len(A.image_shape)
    stack = blurred.shape[:-ndim]
    split = [n for k in range(ndim) for n in (A.codomain.shape[len(stack) + k], A.factor[k])]
    blocks = blurred.reshape(*stack, *split)
    inner = tuple(len(stack) + 2 * k + 1 for k in range(ndim))
    if A.how == "decimate":
        wanted = blurred[(..., *(slice(p, None, s) for p, s in zip(A.phase, A.factor, strict=True)))]
    else:
        wanted = blocks.sum(axis=inner) if A.how == "sum" else blocks.mean(axis=inner)
    np.testing.assert_allclose(A @ x, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())


@pytest.mark.parametrize("rho", [0.02, 1.5])
@pytest.mark.parametrize("name", CASES)
def test_data_prox_is_what_conjugate_gradients_find(name, rho):
    A = CASES[name]()
    v, y = sample(A.domain, 2), sample(A.codomain, 3)
    b = A.H @ y + rho * v
    wanted = linalg.cg(lambda x: A.H @ (A @ x) + rho * x, b, iterations=2000, tol=1e-14)
    assert np.linalg.norm(A.data_prox(v, y, rho) - wanted) <= 1e-8 * np.linalg.norm(wanted)


def test_data_prox_keeps_single_precision_where_the_blur_loses_nearly_all():
    """A box as long as the image: what it loses, divided by a small rho, must not leak into what it keeps."""
    A, rho = BlurDownsample(np.ones(10), (5,), 1), 1e-4
    v, y = draw(5).astype(np.float32), draw(5, 1).astype(np.float32)
    x = A.data_prox(v, y, rho)
    wanted = A.data_prox(v.astype(float), y.astype(float), rho)
    assert x.dtype == np.float32
    assert np.abs(x - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("unit", [1e-20, 1e20])
def test_pinv_of_kernels_beyond_the_squares_of_single_precision(unit):
    h = draw((3, 3)) + 3 * np.eye(3)
    y = draw((4, 3), 1).astype(np.float32)
    wanted = BlurDownsample(h, (8, 9), (2, 3), how="sum").pinv(y)
    found = BlurDownsample(unit * h, (8, 9), (2, 3), how="sum").pinv(y)
    np.testing.assert_allclose(found * np.float32(unit), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("name", CASES)
def test_pinv_and_norm(name):
    A = CASES[name]()
    matrix = linalg.dense(A)
    y = sample(A.codomain, 4)
    wanted = np.linalg.pinv(matrix, rcond=1e-12) @ y.ravel()
    np.testing.assert_allclose(A.pinv(y).ravel(), wanted, rtol=0, atol=1e-9 * np.abs(wanted).max())
    assert A.norm_bound() == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-12)


def test_flux_is_kept_and_the_adjoint_of_sums_repeats():
    kernel = np.abs(draw((3, 3)))
    A = BlurDownsample(kernel / kernel.sum(), (8, 8), 2, how="sum")
    x = draw((8, 8), 1)
    assert (A @ x).sum() == pytest.approx(x.sum())
    identity = BlurDownsample(np.ones((1, 1)), (4, 4), 2, how="sum")
    y = draw((2, 2), 2)
    np.testing.assert_allclose(identity.H @ y, np.kron(y, np.ones((2, 2))), rtol=0, atol=1e-14)


def test_pinv_where_frequencies_are_lost():
    """A box as long as the factor, summed again, has zeros on the coarse grid."""
    A = BlurDownsample(np.ones((1, 4)), (2, 8), (1, 2), how="sum", center=(0, 0))
    y = draw((2, 4))
    wanted = np.linalg.pinv(linalg.dense(A), rcond=1e-12) @ y.ravel()
    assert np.linalg.matrix_rank(linalg.dense(A)) < 8
    np.testing.assert_allclose(A.pinv(y).ravel(), wanted, rtol=0, atol=1e-12)


# -- bands ------------------------------------------------------------------------------------------------


def bands():
    return Multiband(np.abs(draw((3, 5, 4))), np.abs(draw((4, 4), 1)), np.array([0.2, 0.3, 0.5]), (12, 8), 2)


def test_multiband_contract(like):
    check_operator(bands(), like=like)
    check_operator(Multiband.example(), like=like)


def test_multiband_is_its_parts():
    A = bands()
    x = draw((3, 12, 8), 2)
    coarse, broad = A @ x
    for b in range(3):
        one = BlurDownsample(A.psfs[b], (12, 8), 2, how="sum", center=A.center[b])
        np.testing.assert_allclose(coarse[b], one @ x[b], rtol=0, atol=1e-12)
    together = np.tensordot(A.fractions, x, 1)
    wide = Convolution(A.broad_psf, (12, 8), center=A.broad_center)
    np.testing.assert_allclose(broad, wide @ together, rtol=0, atol=1e-12)
    peaks = tuple(np.unravel_index(psf.argmax(), psf.shape) for psf in A.psfs)
    assert A.center == peaks


def test_multiband_bounds():
    A = bands()
    matrix = linalg.dense(A)
    assert np.linalg.norm(matrix, 2) <= A.norm_bound() <= 1.5 * np.linalg.norm(matrix, 2)
    rows, columns = A.absolute_sums(np.ones(1))
    wanted = matrix.sum(axis=1)
    np.testing.assert_allclose(np.concatenate([r.ravel() for r in rows]), wanted, rtol=1e-5)
    np.testing.assert_allclose(columns.ravel(), matrix.sum(axis=0), rtol=1e-5)


@pytest.mark.shared
@pytest.mark.skipif(not BANDS.exists(), reason="needs the developers' ../shared folder")
def test_rubin_and_euclid():
    """Real stamps: 25 steps of FISTA with x >= 0 bring every band near the HST image, then it fits the noise.

    The errors were found first by another program: exact adjoint, residuals divided by their noise, every band and the
    broad band once, a start by linear interpolation, the step that the norm of this system allows.
    """

    def load(name):
        values = np.load(BANDS / f"{name}.npy")
        return np.ascontiguousarray(np.moveaxis(values, -1, 0)) if values.ndim == 3 else values

    rubin, euclid, truth, noise = map(load, ("noisy_LSST", "euclid", "target_HST", "noisemap_LSST"))
    middle = (31, 31)  # where the data themselves say the centres are
    A = Multiband(
        load("psf_LSST"), load("psf_euclid_vis"), load("sed"), (64, 64), 2, center=middle, broad_center=middle
    )
    assert (A.domain.shape, [s.shape for s in A.codomain]) == ((3, 64, 64), [(3, 32, 32), (64, 64)])
    assert linalg.adjoint_gap(A) <= 1e-14
    weights = (1 / noise[:3, None, None] ** 2, np.full((1, 1), 1 / noise[3] ** 2))
    problem = recon.Problem(A, (rubin, euclid), recon.NonNegative(), recon.WeightedLeastSquares(weights))
    places = np.clip(np.arange(-0.25, 31.5, 0.5), 0, 31)  # of the fine pixels, in coarse ones
    points = np.stack(np.meshgrid(places, places, indexing="ij"), -1).reshape(-1, 2)
    start = (Interpolate((32, 32), points) @ rubin).reshape(3, 64, 64) / 4
    fista = recon.get("solver", "fista")(restart=False)
    # max w ||A||^2 is 7 times this
    curvature = 4 / noise[:3].min() ** 2 + (A.fractions**2).sum() / noise[3] ** 2
    assert 0.9 / curvature <= fista.init(problem).step <= 1.1 / curvature

    def errors(x):
        return ((x - truth) ** 2).sum((1, 2)) / (truth**2).sum((1, 2))

    np.testing.assert_allclose(errors(start), (0.378, 0.205, 0.158), atol=1e-3)
    found = [errors(recon.solve(problem, fista, x0=start, stop=n).x) for n in (25, 200)]
    np.testing.assert_allclose(found[0], (0.160, 0.081, 0.052), atol=1e-3)
    np.testing.assert_allclose(found[1], (0.301, 0.247, 0.256), atol=5e-3)


def test_pickle():
    for A in (BlurDownsample.example(), Multiband.example()):
        x = draw(A.domain.shape)
        twin = pickle.loads(pickle.dumps(A))
        assert str((twin @ x)[0].tolist()) == str((A @ x)[0].tolist())
        array = twin.kernel if isinstance(A, BlurDownsample) else twin.psfs
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: BlurDownsample(np.ones((3, 3)), (8, 9), 2),
            ParameterError,
            r"BlurDownsample.factor must divide the image \(8, 9\), got 2. Give one number",
        ),
        (
            lambda: BlurDownsample(np.ones((3, 3)), (8, 8), (2, 2, 2)),
            ParameterError,
            "factor must divide the image",
        ),
        (
            lambda: BlurDownsample(np.ones((3, 3)), (8, 8), 0),
            ParameterError,
            "BlurDownsample.factor must be > 0",
        ),
        (
            lambda: BlurDownsample(np.ones((3, 3)), (8, 8), 2, phase=2),
            ParameterError,
            r"BlurDownsample.phase must be below the factor \(2, 2\), and 0 unless how is 'decimate', got 2",
        ),
        (
            lambda: BlurDownsample(np.ones((3, 3)), (8, 8), 2, how="sum", phase=1),
            ParameterError,
            "and 0 unless how",
        ),
        (
            lambda: BlurDownsample(np.ones(3), (8, 8), 2),
            ShapeError,
            "BlurDownsample.kernel must have the 2 axes",
        ),
        (
            lambda: BlurDownsample(np.ones(3), (8,), 2, how="max"),
            ParameterError,
            "how must be one of 'decimate', 'sum'",
        ),
        (
            lambda: BlurDownsample(np.ones(3), (8,), 2, center=(7,)),
            ParameterError,
            "BlurDownsample.center must be",
        ),
        (
            lambda: Multiband(np.ones((3, 3, 3)), np.ones((3, 3)), np.ones(2), (8, 8)),
            ShapeError,
            r"psfs, broad_psf and fractions must have shapes \(B, K, K\), \(K', K'\) and \(B,\), got \(3, 3, 3\)",
        ),
        (
            lambda: Multiband(np.ones((2, 3, 3)), np.ones((3, 3)), [np.inf, 1], (8, 8)),
            ArrayError,
            "Multiband.fractions must be finite",
        ),
        (
            lambda: Multiband(np.ones((2, 3, 3)), 1j * np.ones((3, 3)), [0.5, 0.5], (8, 8)),
            ParameterError,
            "Multiband.psfs, broad_psf and fractions must be real, got complex numbers",
        ),
    ],
)
def test_error_texts(make, error, text):
    with pytest.raises(error, match=text):
        make()

"""The decimated and undecimated wavelet transforms and the DCT: contract, PyWavelets' numbers, reconstruction."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import pywt
import recon_wavelets
import scipy.fft
import torch
from recon_wavelets import DCT, Starlet, UndecimatedWavelet, Wavelet
from recon_wavelets._filters import filters
from recon_wavelets._layout import bands, steps

import recon
from recon.errors import ParameterError, ShapeError
from recon.testing import check_operator

RNG = np.random.default_rng(5)

DECIMATED = {
    "1-D": Wavelet((16,), "db3", 2),
    "example": Wavelet.example(),
    "one odd axis": Wavelet((9, 8), "sym4", 2),
    "axes of unequal depth": Wavelet((4, 16), "haar", 4),
    "one row": Wavelet((1, 8), "coif1"),
    "shorter than the filter": Wavelet((2, 6), "db5"),
    "3-D": Wavelet((4, 6, 2), "db2", 2),
    "3-D, middle axis odd": Wavelet((2, 3, 4), "haar", 1),
    "complex": Wavelet((8, 6), "db2", 1, "complex"),
    "biorthogonal": Wavelet((8, 12), "bior4.4", 2),
    "reverse biorthogonal, 3-D": Wavelet((4, 4, 4), "rbio3.1", 1),
}
UNDECIMATED = {
    "1-D, odd": UndecimatedWavelet((11,), "db3", 3),
    "example": UndecimatedWavelet.example(),
    "one pixel": UndecimatedWavelet((1, 1), "haar", 1),
    "one row": UndecimatedWavelet((1, 6), "db2", 2),
    "3-D": UndecimatedWavelet((2, 3, 3), "haar", 1),
    "complex": UndecimatedWavelet((5, 6), "sym2", 1, "complex"),
}
COSINE = {
    "1-D": DCT((7,)),
    "example": DCT.example(),
    "one pixel": DCT((1, 1)),
    "3-D": DCT((2, 3, 4)),
    "complex": DCT((4, 5), "complex"),
}
ALL = {
    **DECIMATED,
    **{f"undecimated {k}": v for k, v in UNDECIMATED.items()},
    **{f"dct {k}": v for k, v in COSINE.items()},
}
ORTHOGONAL = [
    name for name in pywt.wavelist(kind="discrete") if pywt.Wavelet(name).orthogonal and name != "dmey"
]


def draw(spec, *batch):
    x = RNG.standard_normal((*batch, *spec.shape))
    return x + 1j * RNG.standard_normal(x.shape) if spec.kind == "complex" else x


@pytest.mark.parametrize("name", ALL)
def test_contract(name, like):
    check_operator(ALL[name], like=like)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
@pytest.mark.parametrize("cls", [Wavelet, UndecimatedWavelet, DCT])
def test_precision_stays(cls, dtype):
    A = cls((8, 12), kind="complex" if dtype == np.complex64 else "real")
    x = RNG.standard_normal((2, 8, 12)).astype(dtype)
    y = A @ x
    assert y.dtype == (A.H @ y).dtype == dtype
    np.testing.assert_allclose(y, A @ x.astype(np.result_type(dtype, np.float64)), rtol=0, atol=3e-6)


# -- the same numbers as PyWavelets -------------------------------------------------------------------------------


def packed(x, wavelet, levels):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # levels beyond the filter's length are meant
        c = pywt.wavedecn(x, wavelet, "periodization", levels)
    return pywt.coeffs_to_array(c)[0]


@pytest.mark.parametrize(
    "wavelet", ["haar", "db2", "db4", "db8", "coif2", "db38", "bior4.4", "rbio2.2", "bior1.3"]
)
@pytest.mark.parametrize(("shape", "levels"), [((16,), 2), ((16, 24), 3), ((8, 4, 12), 2)])
def test_decimated_is_pywavelets(wavelet, shape, levels):
    x = RNG.standard_normal(shape)
    assert np.abs(
        Wavelet(shape, wavelet, levels) @ x - packed(x, wavelet, levels)
    ).max() < 1e-12 * np.linalg.norm(x)


@pytest.mark.parametrize("wavelet", ["sym2", "sym4", "sym8", "sym20"])
def test_symlets_are_pywavelets_to_the_error_of_its_tables(wavelet):
    x = RNG.standard_normal((32, 16))
    assert np.abs(Wavelet((32, 16), wavelet, 2) @ x - packed(x, wavelet, 2)).max() < 1e-11 * np.linalg.norm(x)


@pytest.mark.parametrize("wavelet", ["haar", "db3", "coif1"])
@pytest.mark.parametrize(("shape", "levels"), [((16,), 3), ((8, 16), 2), ((4, 8, 4), 2)])
def test_undecimated_is_pywavelets(wavelet, shape, levels):
    x = RNG.standard_normal(shape)
    approximation, *details = pywt.swtn(x, wavelet, levels, trim_approx=True, norm=True)
    wanted = np.stack([approximation, *(level[key] for level in details for key in sorted(level))])
    np.testing.assert_allclose(UndecimatedWavelet(shape, wavelet, levels) @ x, wanted, rtol=0, atol=1e-13)


def test_default_levels_are_pywavelets():
    for shape, wavelet in (((512, 512), "db4"), ((256, 64), "haar"), ((64,), "sym8")):
        assert Wavelet(shape, wavelet).levels == pywt.dwtn_max_level(shape, wavelet)
    assert Wavelet((24, 40), "haar").levels == 3  # 24 = 8 * 3 ends it, PyWavelets says 4
    assert Wavelet((6, 6), "db10").levels == 1


@pytest.mark.parametrize("wavelet", ORTHOGONAL)
def test_orthogonal_filters_are_orthonormal(wavelet):
    h, g = filters(wavelet, "test").analysis
    for m in range(h.size // 2):
        kept = slice(2 * m, None), slice(None, h.size - 2 * m)
        assert abs(h[kept[0]] @ h[kept[1]] - (m == 0)) < 1e-14
        assert abs(g[kept[0]] @ g[kept[1]] - (m == 0)) < 1e-14
        assert abs(h[kept[0]] @ g[kept[1]]) < 1e-14
    assert np.abs(h - pywt.Wavelet(wavelet).rec_lo).max() < 1e-11


# -- reconstruction -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wavelet", pywt.wavelist(kind="discrete"))
def test_inverse(wavelet):
    if wavelet == "dmey":
        return
    W = Wavelet((32, 12), wavelet, 2)
    x = draw(W.domain, 2)
    np.testing.assert_allclose(W.inverse(W @ x), x, rtol=0, atol=1e-10 if wavelet[1:5] == "ior5" else 5e-11)
    if W.orthonormal:
        assert np.abs(W.inverse(W @ x) - x).max() < 1e-13
        assert abs(np.linalg.norm(W @ x) - np.linalg.norm(x)) < 1e-13 * np.linalg.norm(x)


def test_biorthogonal_adjoint_is_not_the_inverse():
    W = Wavelet((16, 16), "bior4.4", 2)
    x = draw(W.domain)
    assert np.linalg.norm(W.H @ (W @ x) - x) > 0.05 * np.linalg.norm(x)
    for name in ("norm_bound", "normal", "data_prox", "svd"):
        assert not hasattr(W, name)
        assert hasattr(Wavelet((16, 16), "db4", 2), name)


@pytest.mark.parametrize(
    "A", [Wavelet.example(), DCT.example(), Wavelet((4, 8), "sym3", 1, "complex")], ids=repr
)
def test_svd(A):
    U, s, V = A.svd()
    x = draw(A.domain)
    np.testing.assert_allclose(U @ (s * (V.H @ x)), A @ x, rtol=0, atol=1e-13)
    np.testing.assert_allclose(V.H @ (V @ x), x, rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape", [(7,), (5, 9), (3, 5, 7)])
@pytest.mark.parametrize("wavelet", ["haar", "db4", "sym6"])
def test_undecimated_is_parseval_for_any_size(shape, wavelet):
    U = UndecimatedWavelet(shape, wavelet, 4)  # filters longer than the image wrap around several times
    x = draw(U.domain)
    np.testing.assert_allclose(U.H @ (U @ x), x, rtol=0, atol=1e-13)
    assert np.linalg.norm(U @ x) == pytest.approx(np.linalg.norm(x), rel=1e-13)


def test_undecimated_shifts_with_the_image():
    U = UndecimatedWavelet((9, 14), "db3", 2)
    x = draw(U.domain)
    moved = np.roll(x, (2, 5), (0, 1))
    np.testing.assert_allclose(U @ moved, np.roll(U @ x, (2, 5), (-2, -1)), rtol=0, atol=1e-14)


def test_dct_is_scipys():
    x = RNG.standard_normal((2, 6, 7))
    np.testing.assert_array_equal(DCT((6, 7)) @ x, scipy.fft.dctn(x, axes=(1, 2), norm="ortho"))
    constant = np.zeros((6, 7))
    constant[0, 0] = 1.0
    np.testing.assert_allclose(DCT((6, 7)).H @ constant, np.full((6, 7), 42**-0.5), rtol=1e-14)


@pytest.mark.parametrize(
    "A", [Wavelet((16, 12), "db2", 2), UndecimatedWavelet((5, 7)), Wavelet((2, 4, 6), "db2", 1)]
)
def test_without_numba(A, monkeypatch):
    x = draw(A.domain, 2)
    compiled, back = A @ x, A.H @ (A @ x)
    for module in ("_dwt_numba", "_undecimated_numba"):
        monkeypatch.setitem(sys.modules, f"recon_wavelets.{module}", None)
    plain = type(A)(A.image_shape, A.wavelet, A.levels)
    np.testing.assert_allclose(plain @ x, compiled, rtol=0, atol=1e-13)
    np.testing.assert_allclose(plain.H @ compiled, back, rtol=0, atol=1e-13)
    assert "Rolled" in f"{plain._planned(x).apply}"
    assert "Compiled" in f"{A._planned(x).apply}"


@pytest.mark.parametrize("A", [Wavelet((16, 12), "db2", 2), UndecimatedWavelet((5, 7)), DCT((3, 4))])
def test_strided_empty_and_read_only_input(A):
    x = RNG.standard_normal((*A.domain.shape[::-1], 3)).T
    fixed = np.ascontiguousarray(x)
    fixed.setflags(write=False)
    np.testing.assert_array_equal(A @ x, A @ fixed)
    assert (A @ x[:0]).shape == (0, *A.codomain.shape)


# -- bands --------------------------------------------------------------------------------------------------------


def test_layout():
    places = bands(steps((8, 12), 3))
    assert list(places) == [
        (3, "aa"),
        (3, "da"),
        (2, "ad"),
        (2, "da"),
        (2, "dd"),
        (1, "ad"),
        (1, "da"),
        (1, "dd"),
    ]
    assert places[1, "ad"] == (slice(4), slice(6, 12))
    assert places[3, "da"] == (slice(1, 2), slice(3))  # an odd axis stays whole
    owner = np.zeros((8, 12), int)
    for place in places.values():
        owner[place] += 1
    assert (owner == 1).all()


def test_bands_are_views_with_the_right_content():
    W = Wavelet((16, 16), "haar", 2)
    c = W @ np.tile([1.0, -1.0], (2, 16, 8))  # alternates along axis 1: all of it is fine detail there
    energy = {band: float((part**2).sum()) for band, part in W.bands(c).items()}
    assert energy[1, "ad"] == pytest.approx(512.0, rel=1e-14)
    assert sum(energy.values()) == pytest.approx(512.0, rel=1e-14)
    W.bands(c)[1, "ad"][...] = 0.0
    assert np.abs(c).max() < 1e-14
    U = UndecimatedWavelet((5, 6), "haar", 2)
    assert [part.shape for part in U.bands(draw(U.codomain, 3)).values()] == [(3, 5, 6)] * 7
    assert list(U.bands(draw(U.codomain)))[:4] == [(2, "aa"), (2, "ad"), (2, "da"), (2, "dd")]


@pytest.mark.parametrize("A", [Wavelet((16, 12), "db2", 2), UndecimatedWavelet((5, 7), "haar", 2)], ids=str)
def test_spread(A, like):
    c = np.ones(A.codomain.shape)
    values = {band: 1.0 + number for number, band in enumerate(A.bands(c))}
    for band, part in A.bands(A.spread(values) * c).items():
        assert (part == values[band]).all()
    assert type(A.spread(values, like)) is type(like)
    assert A.spread(values, np.zeros(1, np.float32)).dtype == np.float32
    values.pop((1, list(values)[-1][1]))
    with pytest.raises(
        ParameterError, match=r"spread values must name every band, got none for \(1, 'd+'\)\. Start"
    ):
        A.spread(values)


def test_thresholding_denoises_and_synthesis_solves():
    rng = np.random.default_rng(1)
    truth = np.zeros((32, 32))
    truth[8:20, 5:25] = 1.0
    data = truth + 0.2 * rng.standard_normal(truth.shape)
    W = Wavelet((32, 32), "haar", 3)
    denoised = W.H @ recon.L1().prox(W @ data, 0.4)
    assert np.linalg.norm(denoised - truth) < 0.5 * np.linalg.norm(data - truth)
    problem = recon.Problem(recon.Identity(W.domain) @ W.H, data, recon.L1(0.4))
    result = recon.solve(problem, stop=200)
    np.testing.assert_allclose(W.H @ result.x, denoised, rtol=0, atol=1e-6)


# -- what users get wrong -----------------------------------------------------------------------------------------


BAD = [
    (lambda: Wavelet((9, 7)), r"image_shape must have an axis of even length, got \(9, 7\)\. Crop or pad"),
    (
        lambda: Wavelet((24, 40), "haar", 4),
        r"must be <= 3 for image_shape \(24, 40\), got 4\. .*multiples of 16",
    ),
    (
        lambda: Wavelet((8, 8), "db0"),
        r"Wavelet\.wavelet must be a discrete wavelet.*got 'db0'\. Did you mean 'db",
    ),
    (lambda: Wavelet((8, 8), "?"), r"got '\?'\. See pywt\.wavelist"),
    (lambda: Wavelet((8, 8), "dmey"), r"Wavelet\.wavelet must invert itself, got 'dmey'.*'sym16'"),
    (lambda: Wavelet((8, 8), levels=0), r"Wavelet\.levels must be >= 1, got 0"),
    (lambda: Wavelet((8, 8, 8, 8)), r"Wavelet\.image_shape must be of length 3 or less"),
    (lambda: Wavelet((8, 8), kind="int"), r"Wavelet\.kind must be one of 'real', 'complex', got 'int'"),
    (
        lambda: UndecimatedWavelet((8,), "bior4.4"),
        r"UndecimatedWavelet\.wavelet must be orthogonal, got 'bior4\.4'\.",
    ),
    (lambda: UndecimatedWavelet((8,), "dmey"), r"UndecimatedWavelet\.wavelet must invert itself"),
    (lambda: UndecimatedWavelet((0,)), r"UndecimatedWavelet\.image_shape\[0\] must be > 0, got 0"),
    (lambda: DCT(()), r"DCT\.image_shape must be of length 1 or more"),
]


@pytest.mark.parametrize(("make", "text"), BAD)
def test_bad_parameters(make, text):
    with pytest.raises(ParameterError, match=text):
        make()


def test_bad_input():
    W, U = Wavelet((8, 8), "haar"), UndecimatedWavelet((5, 5))
    for call in (W.inverse, W.bands, W.pinv):
        with pytest.raises(
            ShapeError, match=r"Wavelet\.(inverse|bands) input must have shape \(\.\.\., 8, 8\)"
        ):
            call(np.ones((8, 9)))
    for call, name in ((U.bands, "bands"), (U.pinv, "pinv")):
        with pytest.raises(ShapeError, match=rf"UndecimatedWavelet\.{name} input must have shape"):
            call(np.ones((5, 5)))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        recon_wavelets.nothing


# -- the plugin ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wavelet", "undecimated-wavelet", "starlet", "dct"])
def test_registered(name):
    cls = recon.get("operator", name)
    assert cls.example() @ np.zeros(cls.example().domain.shape) is not None
    (entry,) = [e for e in recon.entries("operator") if e.name == name]
    assert entry.cites
    for word in ("Formula:", "Shapes:", "Units:", "Cost:", "Source:"):
        assert word in cls.__doc__


def test_importing_the_package_is_light():
    heavy = ["numba", "pywt", "scipy", "torch", "recon_wavelets.wavelet"]
    script = f"import sys, recon_wavelets; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_bench_cases_do_what_they_say(monkeypatch):
    from recon_wavelets import bench

    monkeypatch.setattr(bench, "SIZE", 128)
    found = bench.cases()
    assert len(found) == 14
    for case in found:
        ours = case.ours()
        for name, peer in case.peers.items():
            theirs = peer()
            if "ndimage" in name or "waverec" in name or "iswt2" in name:
                np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-5)


@pytest.mark.parametrize("cls", [Wavelet, UndecimatedWavelet, DCT, Starlet])
def test_gradients_of_torch_flow(cls):
    """The backward of A is A.H, and that of A.H is A."""
    A = cls.example()
    for operator in (A, A.H):
        x = torch.zeros(operator.domain.shape, dtype=torch.float64, requires_grad=True)
        y = torch.asarray(draw(operator.codomain))
        (operator @ x).backward(y)
        np.testing.assert_allclose(x.grad, operator.H @ y.numpy(), rtol=0, atol=1e-13)


@pytest.mark.parametrize(("shape", "levels"), [((20_008,), 3), ((2, 16_400), 1), ((4, 66, 64), 1)])
def test_rows_longer_than_a_chunk(shape, levels):
    """The compiled kernels work through long rows and large planes in pieces."""
    x = RNG.standard_normal(shape)
    W, U = Wavelet(shape, "db4", levels), UndecimatedWavelet(shape, "db2", 2)
    np.testing.assert_allclose(W @ x, packed(x, "db4", levels), rtol=0, atol=1e-12)
    np.testing.assert_allclose(W.H @ (W @ x), x, rtol=0, atol=1e-13)
    np.testing.assert_allclose(U @ x, np.asarray(U @ torch.asarray(x)), rtol=0, atol=1e-13)
    np.testing.assert_allclose(U.H @ (U @ x), x, rtol=0, atol=1e-13)

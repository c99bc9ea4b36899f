"""Block matching: against a plain implementation, the laws of a denoiser, and the published figures of BM3D."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recon_wavelets import BlockMatching
from scipy.fft import dctn, idctn
from scipy.linalg import hadamard

from recon.arrays import as_numpy, from_numpy
from recon.errors import ArrayError, ParameterError, ShapeError
from recon.metrics import psnr


def plainly(image, sigma, stages, stride, reach):
    """The method written down directly: patch by patch, with NumPy's sort and transforms."""
    n0, n1 = (n - 7 for n in image.shape)
    rows, columns = (sorted({*range(0, n, stride), n - 1}) for n in (n0, n1))
    window = np.outer(np.kaiser(8, 2), np.kaiser(8, 2))

    def coefficients(x):
        return np.array([[dctn(x[i : i + 8, j : j + 8], norm="ortho") for j in range(n1)] for i in range(n0)])

    noisy = guide = coefficients(image)
    for stage in range(stages):
        most = (16, 32)[stage]
        above, below = np.zeros(image.shape), np.zeros(image.shape)
        for i in rows:
            for j in columns:
                near = [
                    (p, q)
                    for p in range(max(i - reach, 0), min(i + reach + 1, n0))
                    for q in range(max(j - reach, 0), min(j + reach + 1, n1))
                ]
                near.sort(key=lambda place: ((guide[place] - guide[i, j]) ** 2).sum())
                near = near[: 2 ** int(np.log2(min(len(near), most)))]
                turn = hadamard(len(near)) / np.sqrt(len(near))
                stack = np.tensordot(turn, np.array([noisy[place] for place in near]), 1)
                if stage == 0:
                    keep = abs(stack) > 2.7 * sigma
                    keep[0, 0, 0] = True
                    stack, share = np.where(keep, stack, 0), 1 / keep.sum()
                else:
                    power = np.tensordot(turn, np.array([guide[place] for place in near]), 1) ** 2
                    gain = power / (power + sigma**2)
                    stack, share = gain * stack, 1 / (gain**2).sum()
                for (p, q), patch in zip(near, np.tensordot(turn, stack, 1), strict=True):
                    above[p : p + 8, q : q + 8] += share * window * idctn(patch, norm="ortho")
                    below[p : p + 8, q : q + 8] += share * window
        guide = coefficients(above / below)
    return above / below


@pytest.fixture(scope="module")
def noisy():
    y, x = np.indices((22, 19))
    return np.sin(0.9 * x) * (y > 8) + 0.3 * np.random.default_rng(0).standard_normal((22, 19))


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize(("stride", "reach"), [(3, 5), (4, 2), (1, 30)])
def test_equals_the_plain_method(noisy, stages, stride, reach):
    if stride == 1:
        noisy = noisy[:12, :11]
    ours = BlockMatching(stages=stages, stride=stride, reach=reach)(noisy, 0.3)
    np.testing.assert_allclose(ours, plainly(noisy, 0.3, stages, stride, reach), atol=1e-10)


@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1e20])
def test_is_scale_equivariant(noisy, scale):
    denoise = BlockMatching(reach=6)
    np.testing.assert_allclose(denoise(scale * noisy, scale * 0.3), scale * denoise(noisy, 0.3), rtol=1e-8)


def test_a_batch_is_its_images_each_with_its_noise(noisy, like):
    denoise = BlockMatching.example()
    batch = from_numpy(np.stack([noisy, noisy[::-1], 0 * noisy]), like)
    result = as_numpy(denoise(batch, np.array([0.3, 0.1, 0.3])))
    np.testing.assert_allclose(result[0], denoise(noisy, 0.3), rtol=1e-12)
    np.testing.assert_allclose(result[1], denoise(noisy[::-1].copy(), 0.1), rtol=1e-12)
    assert not result[2].any()


def test_no_noise_changes_nothing_and_precision_is_kept(noisy):
    denoise = BlockMatching.example()
    assert (denoise(noisy, 0.0) == noisy).all()
    single = denoise(noisy.astype(np.float32), 0.3)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, denoise(noisy, 0.3), atol=0.05)  # a match or a threshold may flip
    turned = denoise((1 + 2j) * noisy, 0.3)
    np.testing.assert_allclose(turned.real, denoise(noisy, 0.3), rtol=1e-12)
    np.testing.assert_allclose(turned.imag, denoise(2 * noisy, 0.3), rtol=1e-12)


def test_bad_input():
    with pytest.raises(ShapeError, match=r"images of 8 x 8 pixels or more, got \(7, 20\)"):
        BlockMatching()(np.zeros((7, 20)), 0.1)
    with pytest.raises(ParameterError, match="BlockMatching.sigma must be finite and >= 0"):
        BlockMatching()(np.zeros((9, 9)), -0.1)
    with pytest.raises(ArrayError, match="BlockMatching must get floating-point images, got uint8"):
        BlockMatching()(np.zeros((9, 9), np.uint8), 1.0)
    with pytest.raises(ShapeError, match=r"a number or have the batch axes \(3,\), got \(2,\)"):
        BlockMatching()(np.zeros((3, 9, 9)), np.ones(2))


def test_noise_far_below_rounding_is_none(noisy):
    single = noisy.astype(np.float32)
    assert (BlockMatching.example()(single, 1e-30) == single).all()


@pytest.mark.shared
@pytest.mark.parametrize(("name", "published"), [("01", 29.45), ("02", 32.85), ("05", 29.25)])
def test_published_figures_of_bm3d(name, published):
    """Set12, sigma 25/255 (K. Zhang et al., DnCNN, TIP 2017, table III): within half a decibel of the original."""
    path = Path(__file__).parents[2] / "shared/data/images/set12" / f"{name}.png"
    if not path.exists():
        pytest.skip("needs ../shared")
    image = pytest.importorskip("PIL.Image")
    truth = np.asarray(image.open(path).convert("L"), dtype=np.float32) / 255
    noise = (25 / 255) * np.random.default_rng(0).standard_normal(truth.shape).astype(np.float32)
    assert psnr(BlockMatching()(truth + noise, 25 / 255), truth, data_range=1.0) > published - 0.5

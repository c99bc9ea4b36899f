"""The datasets: contract, determinism, noise models, and the real scan against its original."""

from __future__ import annotations

import hashlib
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pluggy
import pytest
import recon_datasets
from recon_datasets import Htc2022, RandomEllipses, SheppLogan, _hooks, htc2022, phantoms

from recon import hookspecs
from recon.errors import DataError, ParameterError

ROOT = Path(__file__).parents[1]
PACKAGE = Path(recon_datasets.__file__).parent
SHARED = ROOT.parent / "shared" / "data" / "ct" / "htc2022"

needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="needs the developers' ../shared folder")


def digest(values):
    """Of data that are multiples of 2^-24."""
    words = values * 2.0**24
    assert (words == np.rint(words)).all()
    return hashlib.sha256(words.astype("<i8").tobytes()).hexdigest()[:16]


def relative(found, wanted):
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize("cls", [SheppLogan, RandomEllipses, Htc2022])
def test_contract(cls):
    dataset = cls.example()
    samples = list(dataset)
    assert len(samples) == len(dataset) >= 1
    for index, sample in enumerate(samples):
        assert sample.data.shape == sample.operator.codomain.shape
        assert sample.data.dtype == np.float64
        assert np.isfinite(sample.data).all()
        assert sample.truth is None or sample.truth.shape == sample.operator.domain.shape
        assert sample.notes["unit"]
        assert np.array_equal(dataset[index].data, sample.data)
        assert np.array_equal(dataset[index - len(dataset)].data, sample.data)
        sample.data[0] = 7  # a user's copy
        assert not np.array_equal(dataset[index].data, sample.data)
    for index in (len(dataset), -len(dataset) - 1):
        with pytest.raises(
            IndexError, match=f"{cls.__name__} index must be below {len(dataset)}, got {index}"
        ):
            dataset[index]


@pytest.mark.parametrize("geometry", ["parallel", "fan"])
@pytest.mark.parametrize("cls", [SheppLogan, RandomEllipses])
def test_operator_and_data_share_a_geometry(cls, geometry):
    """A mirrored, shifted or rescaled operator would be off by far more than the pixels are."""
    for options in ({}, {"detectors": 130}, {"arc": 70.0, "start": 33.0}):
        sample = cls(size=96, views=12, geometry=geometry, **options)[0]
        assert relative(sample.operator @ sample.truth, sample.data) < 0.025


def test_the_detector_covers_the_image():
    for geometry in ("parallel", "fan"):
        for options in ({}, {"detectors": 50}):
            sample = SheppLogan(size=32, views=9, geometry=geometry, **options)[0]
            seen = sample.operator @ np.ones((32, 32))
            assert seen[:, [0, -1]].max() < 0.15 * seen.max()
            assert sample.data.shape == (9, options.get("detectors", sample.data.shape[1]))


def test_sheppLogan_data_are_the_exact_bin_means():
    sample = SheppLogan(size=64, views=5)[0]
    exact = phantoms.parallel_sinogram(
        phantoms.shepp_logan(), np.arange(5) * np.pi / 5, sample.data.shape[1], 2 / 64, subsamples=8
    )
    np.testing.assert_allclose(sample.data, exact, atol=2.0**-24)
    assert sample.noise is None
    np.testing.assert_allclose(
        sample.data.sum(axis=1) * (2 / 64), sample.truth.sum() * (2 / 64) ** 2, rtol=2e-3
    )


def test_variant_and_arc():
    assert SheppLogan(size=64, views=3, variant="original")[0].truth.max() == pytest.approx(2.0)
    dataset = SheppLogan(size=32, views=4, arc=90.0, start=10.0)
    np.testing.assert_allclose(np.degrees(dataset.angles), [10, 32.5, 55, 77.5])
    np.testing.assert_allclose(np.degrees(SheppLogan(views=4, geometry="fan").angles), [0, 90, 180, 270])


def test_the_same_seed_gives_the_same_bits():
    """Committed digests: these data must never change, on any machine."""
    assert digest(SheppLogan(size=32, views=8)[0].data) == "9d53e8772f7d18d1"
    assert (
        digest(SheppLogan(size=32, views=8, geometry="fan", noise=0.05, seed=3)[0].data) == "311be12948efda06"
    )
    assert digest(SheppLogan(size=32, views=8, counts=1e4, seed=3)[0].data) == "b54eeb23a57ddb84"
    assert digest(RandomEllipses(size=32, views=8, seed=5)[3].data) == "457a342ed1655569"


def test_seeds_samples_and_counts_are_independent():
    short, long = RandomEllipses(size=16, views=3, count=2), RandomEllipses(size=16, views=3, count=5)
    assert np.array_equal(short[1].data, long[1].data)
    assert not np.array_equal(long[1].truth, long[2].truth)
    assert not np.array_equal(long[1].truth, RandomEllipses(size=16, views=3, seed=1)[1].truth)
    assert np.array_equal(short[0].truth, RandomEllipses(size=16, views=3, noise=0.1)[0].truth)


def test_gaussian_noise_has_the_stated_size():
    clean, noisy = (SheppLogan(size=64, views=40, noise=n)[0] for n in (0.0, 0.05))
    assert relative(noisy.data, clean.data) == pytest.approx(0.05, rel=0.04)
    assert np.std(noisy.data - clean.data) == pytest.approx(noisy.noise, rel=0.04)


def test_poisson_noise_has_the_mean_and_variance_of_its_counts():
    clean = SheppLogan(size=64, views=60)[0].data
    sample = SheppLogan(size=64, views=60, counts=500.0, seed=2)[0]
    counts, expected = sample.notes["counts"], 500.0 * np.exp(-clean)
    z = (counts - expected) / np.sqrt(expected)
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert z.var() == pytest.approx(1.0, abs=4 * np.sqrt(2 / z.size))
    np.testing.assert_allclose(sample.data, -np.log(np.maximum(counts, 1) / 500.0), atol=2.0**-24)
    residual = (sample.data - clean) / sample.noise
    assert residual.std() == pytest.approx(1.0, abs=0.05)


def test_no_photon_is_finite():
    sample = SheppLogan(size=16, views=4, counts=0.5)[0]
    assert (sample.notes["counts"] == 0).any()
    assert np.isfinite(sample.data).all()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"size": 1}, "SheppLogan.size must be >= 2, got 1"),
        ({"geometry": "cone"}, "SheppLogan.geometry must be one of 'parallel', 'fan', got 'cone'"),
        ({"counts": float("inf")}, "SheppLogan.counts must be a finite number or None, got inf"),
        ({"arc": 400}, "SheppLogan.arc must be <= 360, got 400"),
        (
            {"noise": 0.1, "counts": 10},
            "SheppLogan.counts must be None where noise > 0, got 10. Choose Gaussian",
        ),
        ({"start": float("inf")}, "SheppLogan.start must be a finite number, got inf"),
    ],
)
def test_parameters_are_checked(options, text):
    with pytest.raises(ParameterError, match=text):
        SheppLogan(**options)


# -- the real scan -------------------------------------------------------------------------------------------


def test_htc_is_small_and_says_where_it_is_from():
    shipped = [path for path in (PACKAGE / "data").iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in shipped) < 1_500_000
    licence = (PACKAGE / "data" / "LICENSE-CC-BY-4.0.txt").read_text(encoding="utf-8")
    notes = Htc2022.example()[0].notes
    for text in (licence, notes["source"]):
        for part in ("10.5281/zenodo.6984868", "Meaney", "Silva de Moura", "Siltanen", "16 bits"):
            assert part in text
    assert "https://creativecommons.org/licenses/by/4.0/" in licence
    assert notes["doi"] == "10.5281/zenodo.6984868"
    assert "CC BY 4.0" in notes["licence"]


def test_htc_views_are_rows_of_the_full_scan():
    full = Htc2022()[0]
    assert full.data.shape == (720, 560)
    rows = {"sparse60": range(0, 720, 12), "sparse30": range(0, 720, 24), "wedge90": range(181)}
    rows |= {"wedge60": range(121), "wedge30": range(61)}
    for views, wanted in rows.items():
        sample = Htc2022(views=views)[0]
        assert np.array_equal(sample.notes["rows"], wanted)
        assert np.array_equal(sample.data, full.data[list(wanted)])
        np.testing.assert_allclose(np.degrees(sample.operator.angles), np.array(wanted) / 2)


def test_htc_lies_as_its_segmentation_lies():
    """The projected segmentation explains the data; mirrored or transposed it does not."""
    sample = Htc2022(views="sparse30")[0]
    solid = sample.notes["segmentation"].astype(float)
    assert solid.shape == (512, 512)

    def misfit(image):
        projected = sample.operator @ np.ascontiguousarray(image)
        scale = np.vdot(projected, sample.data) / np.vdot(projected, projected)
        return relative(scale * projected, sample.data)

    assert misfit(solid) < 0.06
    assert min(misfit(solid[:, ::-1]), misfit(solid[::-1]), misfit(solid.T)) > 0.12


def test_htc_of_another_size_shows_the_same_field():
    small, full = Htc2022(views="sparse30", image_size=128)[0], Htc2022(views="sparse30")[0]
    assert small.notes["segmentation"].shape == (128, 128)
    assert small.notes["segmentation"].mean() == pytest.approx(full.notes["segmentation"].mean(), rel=0.01)
    assert small.notes["pixel_size"] == pytest.approx(4 * full.notes["pixel_size"])
    ones = [s.operator @ s.notes["segmentation"].astype(float) for s in (small, full)]
    assert relative(*ones) < 0.02


def test_htc_reference_is_computed_once_and_is_attenuation_per_mm():
    dataset = Htc2022(views="wedge30", image_size=128, with_truth=True)
    sample = dataset[0]
    assert sample.truth is dataset.reference()
    assert not sample.truth.flags.writeable
    assert "720 views" in sample.notes["truth"]
    assert np.median(sample.truth[sample.notes["segmentation"]]) == pytest.approx(0.034, abs=0.002)
    assert Htc2022.example()[0].truth is None


def test_htc_without_its_file_says_so(monkeypatch):
    htc2022._scan.cache_clear()
    monkeypatch.setattr(htc2022.resources, "files", lambda package: PACKAGE / "nowhere")
    with pytest.raises(
        DataError, match=r"Htc2022.data must be htc2022_ta.npz of the package, got FileNotFoundError"
    ):
        Htc2022.example()[0]


@pytest.mark.shared
@needs_shared
def test_htc_is_the_original_but_for_quantisation():
    import scipy.io

    found = scipy.io.loadmat(SHARED / "htc2022_ta_full.mat", struct_as_record=False, squeeze_me=True)
    original = found["CtDataFull"].sinogram
    error = htc2022._scan()[0] - original
    assert error.shape == (721, 560)
    assert np.abs(error).max() < 1.68e-5
    assert np.sqrt(np.mean(error**2)) < 9.7e-6


@pytest.mark.shared
@needs_shared
def test_htc_geometry_reproduces_the_reference_image():
    import scipy.io

    reference = scipy.io.loadmat(SHARED / "htc2022_ta_full_recon_fbp.mat")["reconFullFbp"]
    dataset = Htc2022(views="sparse60")
    sample = dataset[0]
    assert relative(sample.operator @ (reference / dataset.pixel_size), sample.data) < 0.042
    error = dataset.reference() * dataset.pixel_size - reference
    assert 10 * np.log10(0.005**2 / np.mean(error**2)) > 50


# -- the plugin ----------------------------------------------------------------------------------------------


def test_hooks_fit_their_specifications():
    manager = pluggy.PluginManager(hookspecs.GROUP)
    manager.add_hookspecs(hookspecs)
    manager.register(_hooks)
    manager.check_pending()
    (entries,) = manager.hook.recon_entries()
    assert {entry.name for entry in entries} == {"bodies", "shepp-logan", "random-ellipses", "htc2022"}
    for entry in entries:
        module, _, name = entry.target.partition(":")
        assert entry.kind == "dataset"
        assert getattr(importlib.import_module(module), name) is getattr(recon_datasets, name)


def test_listing_imports_nothing_heavy():
    code = (
        "import sys, recon_datasets._hooks as h; h.recon_entries(); "
        "heavy = {'scipy', 'numba', 'matplotlib', 'PIL', 'recon_operators', 'recon_datasets.htc2022'};"
        " found = heavy & set(sys.modules); sys.exit(str(sorted(found)) if found else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    classes = "from recon_datasets import Htc2022, SheppLogan"
    code = code.replace("h.recon_entries()", classes).replace(", 'recon_datasets.htc2022'", "")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_names_are_lazy():
    assert recon_datasets.__all__ == ["Bodies", "Htc2022", "RandomEllipses", "SheppLogan"]
    with pytest.raises(AttributeError, match="module 'recon_datasets' has no attribute 'Nothing'"):
        recon_datasets.Nothing

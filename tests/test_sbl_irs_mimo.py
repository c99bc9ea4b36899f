"""IRS-MIMO: the training data are those of the physics, and the rates those of simulated symbols."""

from __future__ import annotations

import numpy as np
import pytest
from recon_sbl import Komp, SeparableSbl
from recon_sbl.irs_mimo import IrsMimo, channel_nmse, symbol_error_rate
from scipy.stats import norm as normal

import recon
from recon import Problem
from recon.cli import main
from recon.errors import ArrayError, ParameterError, ShapeError
from recon.testing import check_dataset


def steering(antennas, cosine):
    return np.exp(1j * np.pi * np.arange(antennas) * cosine) / np.sqrt(antennas)


def test_contract():
    check_dataset(IrsMimo())
    check_dataset(
        IrsMimo(snr=4, count=2, users=2, base=3, elements=9, atoms=5, spread=2, pilots=2, patterns=2)
    )


def test_data_and_channels_are_those_of_two_links_over_the_surface():
    sample = IrsMimo(snr=300)[3]
    x, pilots, patterns = sample.truth, sample.notes["pilots"], sample.notes["patterns"]
    assert pilots.shape == (6, 3)
    np.testing.assert_allclose(np.sort(np.unique(np.round(np.angle(pilots) * 4 / np.pi))), [-3, -1, 1, 3])
    np.testing.assert_array_equal(np.abs(patterns), np.full((256, 6), 1 / 16))
    grid = -1 + 2 * np.arange(18) / 18
    channels = np.zeros((6, 6, 16), complex)
    for i, j, k in zip(
        *np.nonzero(x), strict=True
    ):  # one path: it leaves the surface at grid[i], meets it at grid[0]
        sends, meets = steering(256, grid[i]), steering(256, grid[0])
        for p in range(6):
            gain = x[i, j, k] * np.sum(sends.conj() * patterns[:, p] * meets)
            channels[p] += gain * np.outer(steering(6, grid[j]).conj(), steering(16, grid[k]))
    np.testing.assert_allclose(sample.notes["channel"] @ x, channels, atol=1e-9 * np.abs(channels).max())
    received = np.einsum("pub,ut->ptb", channels, pilots)
    np.testing.assert_allclose(sample.data, received, atol=1e-9 * np.abs(received).max())


def test_paths_are_a_product_of_blocks():
    for index in range(20):
        x = IrsMimo()[index].truth
        places = [np.flatnonzero(np.abs(x).sum(axis)) for axis in ((1, 2), (0, 2), (0, 1))]
        assert [len(p) for p in places] == [3, 1, 3]
        assert np.count_nonzero(x) == 9
        assert np.ptp(places[2]) == 2
        assert any(np.ptp((places[0] + turn) % 18) == 2 for turn in (0, 9))  # adjacent around the circle
        assert np.linalg.matrix_rank(x.reshape(18, -1), rtol=1e-9) == 1


def test_samples_hang_on_seed_and_number_only_and_noise_on_the_ratio():
    few, many = IrsMimo(snr=8, count=2)[1], IrsMimo(snr=8, count=9)[1]
    np.testing.assert_array_equal(few.data, many.data)
    loud = IrsMimo(snr=-12, count=2)[1]
    clean = few.operator @ few.truth
    np.testing.assert_array_equal(few.truth, loud.truth)
    np.testing.assert_allclose(loud.data - clean, 10 * (few.data - clean), rtol=1e-6)
    assert not np.array_equal(few.data, IrsMimo(snr=8, seed=1)[1].data)
    ratios = []
    for sample in IrsMimo(snr=7, count=20):
        noise = sample.data - sample.operator @ sample.truth
        power = np.mean(np.abs(sample.operator @ sample.truth) ** 2)
        assert 2 * sample.noise**2 == pytest.approx(power / 10**0.7)
        ratios.append(np.mean(noise.real**2) / sample.noise**2)
        ratios.append(np.mean(noise.imag**2) / sample.noise**2)
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.05)


# -- metrics ---------------------------------------------------------------------------------------------


def channels(seed, patterns=4, users=3, base=5):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((2, patterns, users, base)) * np.array([1, 1j])[:, None, None, None]).sum(0)


def test_nmse_is_the_mean_over_patterns():
    H = channels(0)
    assert channel_nmse(H, H) == 0.0
    assert channel_nmse(0 * H, H) == pytest.approx(1.0)
    off = H.copy()
    off[2] *= 3.0
    assert channel_nmse(off, H) == pytest.approx(4.0 / 4)


@pytest.mark.parametrize("reference", ["channel", "received"])
def test_symbol_error_rate_is_that_of_simulated_symbols(reference):
    H, rng = channels(1, patterns=2), np.random.default_rng(2)
    guess = H + 0.7 * channels(3, patterns=2)
    snr, count, wrong = 6.0, 200_000, []
    symbols = np.array([1, 1j, -1, -1j])
    for true, one in zip(H, guess, strict=True):
        left, values, right = np.linalg.svd(one.T)
        u, v = left[:, 0], right[0].conj()
        gain = u.conj() @ true.T @ v
        power = abs(gain) ** 2 if reference == "received" else np.linalg.svd(true)[1][0] ** 2
        deviation = np.sqrt(power / 10 ** (snr / 10) / 2)
        sent = rng.integers(4, size=count)
        noise = deviation * (rng.standard_normal(count) + 1j * rng.standard_normal(count))
        seen = np.abs(gain * symbols[sent] + noise - values[0] * symbols[:, None]).argmin(0)
        wrong.append(np.mean(seen != sent))
    rate = symbol_error_rate(guess, H, snr, reference)
    assert rate == pytest.approx(np.mean(wrong), abs=5 * np.sqrt(rate / count))
    assert 0.02 < rate < 0.6


def test_symbol_error_rate_of_perfect_wrong_and_no_knowledge():
    H = channels(4)
    tail = normal.sf(np.sqrt(10**0.8))
    assert symbol_error_rate(H, H, 8.0) == pytest.approx(2 * tail - tail**2)
    assert symbol_error_rate(1e-6 * H, 1e9 * H, 8.0) == pytest.approx(2 * tail - tail**2)
    assert symbol_error_rate(1j * H, H, 20.0) > 0.999  # a quarter turn: every symbol is taken for the next
    assert symbol_error_rate(0 * H, H, 20.0) == 0.75
    weak = channels(5)
    assert symbol_error_rate(weak, H, 8.0, "received") < symbol_error_rate(weak, H, 8.0)


def test_bad_input_is_one_sentence():
    H = channels(0)
    with pytest.raises(
        ShapeError, match=r"Channels must both have the shape .* got \(4, 3, 5\) and \(3, 5\)\. Write"
    ):
        channel_nmse(H, H[0])
    with pytest.raises(ShapeError, match=r"Channels must both have the shape"):
        symbol_error_rate(H[0], H, 3.0)
    with pytest.raises(ParameterError, match="reference must be 'channel' or 'received', got 'best'"):
        symbol_error_rate(H, H, 3.0, "best")
    for snr in (400.0, -400.0, np.nan, np.inf):
        with pytest.raises(ParameterError, match="symbol_error_rate.snr must be -300 to 300 dB, got"):
            symbol_error_rate(H, H, snr)
        with pytest.raises(ParameterError, match="IrsMimo.snr must be"):
            IrsMimo(snr=snr)
    off = H.copy()
    off[1] = 0.0
    with pytest.raises(ArrayError, match=r"channel_nmse.truth must not be 0 in a pattern, got such a one\."):
        channel_nmse(H, off)
    off[1, 0, 0] = np.nan
    with pytest.raises(ArrayError, match="Channels must be finite, got NaN or infinity"):
        channel_nmse(off, H)
    with pytest.raises(ArrayError, match="Channels must be finite, got NaN or infinity"):
        symbol_error_rate(H, off, 3.0)
    with pytest.raises(
        ParameterError, match=r"IrsMimo.spread must be <= atoms = 4, got 5\. Give more atoms\."
    ):
        IrsMimo(atoms=4, spread=5)
    with pytest.raises(ParameterError, match="IrsMimo.count must be >= 1"):
        IrsMimo(count=0)


# -- estimates -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", [Komp(), SeparableSbl()], ids=repr)
def test_channels_are_estimated_well_enough_to_send(solver):
    snr, errors, rates = 16.0, [], []
    for sample in IrsMimo(snr=snr, count=5):
        result = recon.solve(Problem(sample.operator, sample.data, noise=sample.noise), solver, stop=300)
        C = sample.notes["channel"]
        errors.append(channel_nmse(C @ result.x, C @ sample.truth))
        rates.append(symbol_error_rate(C @ result.x, C @ sample.truth, snr))
    assert np.median(errors) < 0.02
    assert np.median(rates) < 1e-6


def test_the_run_file_of_the_docs_runs(tmp_path, capsys):
    from pathlib import Path

    path = Path(__file__).parents[1] / "docs" / "runs" / "irs-mimo.toml"
    assert main(["run", str(path), "--output", str(tmp_path / "out")]) == 0, capsys.readouterr().err
    record = np.load(tmp_path / "out" / "result.npz")
    truth = IrsMimo(snr=12)[0].truth
    assert record["x"].shape == truth.shape
    assert np.linalg.norm(record["x"] - truth) < 0.5 * np.linalg.norm(truth)

"""Hqs, Red, plug-and-play Admm and the DnCNN denoiser: closed forms with Gaussian denoisers, one network."""

from __future__ import annotations

from pathlib import Path

import array_api_strict as strict
import numpy as np
import pytest
import torch
from recon_operators.convolution import Convolution
from recon_proximal import Admm, Fista, Hqs, Pd3o, Red, load_dncnn, load_ffdnet

import recon
from recon import L1, NonNegative, Poisson, Problem
from recon.checkpoint import load_state, save_state
from recon.errors import CapabilityError, DataError, ParameterError
from recon.priors import Denoiser
from recon.testing import check_solver

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

LAPLACE = np.abs(np.fft.fft(np.eye(1, 12).ravel() * 2 - np.eye(1, 12, 1).ravel() - np.eye(1, 12, 11).ravel()))


def wiener(v, sigma):
    """The posterior mean for periodic Gaussian signals of precision 0.1 + 2 LAPLACE."""
    xp = np if isinstance(v, np.ndarray) else None
    values = np.asarray(v)
    out = np.fft.ifft(np.fft.fft(values) / (1.0 + sigma**2 * (0.1 + 2.0 * LAPLACE))).real
    return out if xp else type_like(v, out)


def type_like(v, values):
    return torch.from_numpy(values) if isinstance(v, torch.Tensor) else strict.asarray(values)


def gaussian(prior=None, noise=0.3):
    """Periodic blur of 12 numbers with the denoiser above: its posterior mean is the Wiener filter."""
    rng = np.random.default_rng(0)
    operator = Convolution(np.array([1.0, 2.0, 1.0]) / 4.0, (12,))
    data = operator @ rng.standard_normal(12) + noise * rng.standard_normal(12)
    return Problem(operator, data, prior or Denoiser(wiener, 1.0), noise=noise)


def tikhonov(problem, weight):
    """argmin 1/2 ||A x - y||^2 + weight/2 x^T (0.1 + 2 LAPLACE) x."""
    matrix = recon.linalg.dense(problem.operator)
    precision = np.fft.ifft(np.fft.fft(np.eye(12), axis=0) * (0.1 + 2.0 * LAPLACE)[:, None], axis=0).real
    return np.linalg.solve(matrix.T @ matrix + weight * precision, matrix.T @ problem.data)


@pytest.mark.parametrize("solver", [Hqs(), Red(), Red(accelerate=False)], ids=repr)
def test_contract(solver):
    check_solver(solver)


@pytest.mark.parametrize("solver", [Admm(), Admm(penalty=2.0, adapt=False), Fista(), Pd3o()], ids=repr)
def test_plugged_into_a_convex_solver_a_gaussian_denoiser_gives_the_wiener_filter(solver):
    problem = gaussian(Denoiser(wiener, 0.09))
    x = recon.solve(problem, solver, stop=2500, every=500).x
    np.testing.assert_allclose(x, tikhonov(problem, 0.09), atol=1e-8)


@pytest.mark.parametrize("accelerate", [True, False])
def test_red_ends_at_its_equation(accelerate):
    problem = gaussian()
    solver = Red(level=0.5, accelerate=accelerate)
    x = recon.solve(problem, solver, stop=1500, every=500).x
    matrix = recon.linalg.dense(problem.operator)
    shrink = wiener(np.eye(12), 0.5)
    w = (0.3 / 0.5) ** 2
    expected = np.linalg.solve(matrix.T @ matrix + w * (np.eye(12) - shrink), matrix.T @ problem.data)
    np.testing.assert_allclose(x, expected, atol=1e-8)


def test_hqs_at_a_constant_level_ends_at_its_fixed_point():
    problem = gaussian()
    x = recon.solve(problem, Hqs(steps=1, weight=0.5), stop=2000, every=500).x
    matrix, shrink = recon.linalg.dense(problem.operator), wiener(np.eye(12), 0.3)
    # z = D (A^T A + r)^-1 (A^T y + r z)
    inverse = shrink @ np.linalg.inv(matrix.T @ matrix + 0.5 * np.eye(12))
    expected = np.linalg.solve(np.eye(12) - 0.5 * inverse, inverse @ matrix.T @ problem.data)
    np.testing.assert_allclose(x, expected, atol=1e-8)


def test_the_level_of_hqs_falls_to_the_noise_evenly_in_its_logarithm():
    seen = []

    def watch(v, sigma):
        seen.append(sigma)
        return v

    recon.solve(gaussian(Denoiser(watch), noise=0.01), Hqs(steps=4, first=0.08), stop=6)
    np.testing.assert_allclose(seen, [0.08, 0.04, 0.02, 0.01, 0.01, 0.01])


def sensed(shift=0.0, noise=None, kind="real"):
    """A white image of standard deviation 0.2 about a constant, a quarter of it measured by orthonormal rows."""
    rng = np.random.default_rng(3)
    rows = np.linalg.qr(rng.standard_normal((400, 100)))[0].T
    image = 0.2 * rng.standard_normal(400) + shift
    if kind == "complex":
        image, rows = image * np.exp(0.3j), rows.astype(complex)
    data = rows @ image + (noise or 0.0) * rng.standard_normal(100)
    return Problem(
        recon.Matrix(rows), data, Denoiser(lambda v, sigma: v / (1.0 + 25.0 * sigma**2)), noise=noise
    )


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize(("shift", "noise"), [(0.0, None), (3.0, None), (0.0, 0.02), (3.0, 0.02)])
def test_hqs_estimates_the_spread_of_a_white_image(shift, noise, kind):
    state = Hqs().init(sensed(shift, noise, kind))
    assert state.first == pytest.approx(0.2, rel=0.15)
    assert state.last == pytest.approx(noise or state.first / 100, rel=1e-3)
    height = np.exp(0.3j) if kind == "complex" else 1.0
    np.testing.assert_allclose(state.x, shift * height * np.ones(400), atol=0.05)


@pytest.mark.parametrize("noise", [None, 0.02])
def test_hqs_follows_the_units_of_data_and_image(noise):
    problem = sensed(1.0, noise)
    for data, image in ((1e3, 1.0), (1e12, 1e-12), (1e-12, 1.0)):
        rows, level = (data / image) * problem.operator.matrix, noise and noise * data
        prior = Denoiser(problem.prior.function, unit=image)
        same = Problem(recon.Matrix(rows), data * problem.data, prior, noise=level)
        expected, found = (recon.solve(p, Hqs(), stop=8).x for p in (problem, same))
        np.testing.assert_allclose(found, image * expected, atol=1e-6 * image)


def test_a_weighted_loss_is_met_at_its_own_noise_level():
    problem = sensed(1.0, 0.02)
    weights = np.full(100, 1 / 0.02**2)
    loss = recon.WeightedLeastSquares(weights)
    weighted = Problem(problem.operator, problem.data, problem.prior, loss, noise=0.02)
    for solver in (Hqs(), Hqs(sigma=0.02), Red()):
        expected, found = (recon.solve(p, solver, stop=8).x for p in (problem, weighted))
        if isinstance(solver, Red):  # its weight is in units of the loss
            found = recon.solve(weighted, Red(weight=(1 / 0.05) ** 2), stop=8).x
            assert solver.init(weighted).weight == pytest.approx((1 / 0.05) ** 2)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    weights[:50] = 0.0  # ignored entries, which may be anything
    data = np.where(weights > 0, problem.data, 1e6)
    masked = Problem(
        problem.operator, data, problem.prior, recon.WeightedLeastSquares(weights), noise=np.full(100, 0.02)
    )
    assert Hqs().init(masked).sigma == pytest.approx(1.0)
    assert Hqs().init(masked).first == pytest.approx(0.2, rel=0.3)


def test_hqs_without_anything_to_see():
    problem = sensed()
    nothing = Problem(problem.operator, 0.0 * problem.data, problem.prior)
    blind = Problem(0.0 * problem.operator, problem.data, problem.prior)
    for each in (nothing, blind):
        np.testing.assert_array_equal(recon.solve(each, Hqs(), stop=8).x, np.zeros(400))


def test_without_a_closed_form_conjugate_gradients_give_the_same():
    problem = gaussian()
    other = Problem(
        recon.Matrix(recon.linalg.dense(problem.operator)), problem.data, problem.prior, noise=0.3
    )
    for solver in (Hqs(inner=100, tol=1e-12), Red(inner=100, tol=1e-12)):
        results = [recon.solve(p, solver, stop=8).x for p in (problem, other)]
        np.testing.assert_allclose(*results, atol=1e-9)


def test_bounds_beside_a_denoiser_hold():
    problem = gaussian(NonNegative() + Denoiser(wiener))
    assert recon.solve(problem, Hqs(), stop=8).x.min() >= 0.0
    assert recon.solve(problem, Red(), stop=300).x.min() > -0.05  # the denoised image is within, x near it


@pytest.mark.parametrize("solver", [Hqs(), Red(), Admm()], ids=repr)
def test_the_same_iterates_on_every_library(solver):
    problem, iterates = gaussian(), []
    for convert in (np.asarray, strict.asarray, torch.from_numpy):
        same = Problem(problem.operator, convert(problem.data), problem.prior, noise=0.3)
        states = recon.iterate(same, solver)
        iterates.append([np.asarray(next(states).x) for _ in range(20)])
    np.testing.assert_allclose(iterates[1], iterates[0], atol=1e-12)
    np.testing.assert_allclose(iterates[2], iterates[0], atol=1e-12)


@pytest.mark.parametrize("solver", [Hqs(), Red()], ids=repr)
def test_resumed_bit_for_bit(solver, tmp_path):
    problem = type(solver).example()
    straight = recon.solve(problem, solver, stop=12).x
    part = recon.solve(problem, solver, stop=5)
    save_state(tmp_path / "state.npz", part.state, problem, solver)
    state = load_state(tmp_path / "state.npz", problem, solver)
    assert recon.solve(problem, solver, state=state, stop=12).x.tobytes() == straight.tobytes()


def test_one_noise_level_stands_for_an_array():
    problem = gaussian()
    noise = np.full(12, 0.3)
    noise[::2] = 0.4
    many = Problem(problem.operator, problem.data, problem.prior, noise=noise)
    assert Hqs().init(many).sigma == pytest.approx(np.sqrt((0.09 + 0.16) / 2))


def test_refusals_say_what_to_use():
    problem = gaussian()
    for solver in (Hqs(), Red()):
        name = type(solver).__name__
        with pytest.raises(CapabilityError, match=f"{name} needs a quadratic loss, got Poisson. Use Admm"):
            solver.init(Problem(problem.operator, np.abs(problem.data), L1(), Poisson(), noise=0.1))
        for prior in (None, NonNegative(), L1() + Denoiser(wiener)):
            with pytest.raises(
                CapabilityError, match=f"{name} needs one prior that denoises, and bounds at most"
            ):
                solver.init(Problem(problem.operator, problem.data, prior, noise=0.1))
    with pytest.raises(ParameterError, match="Red needs the noise level"):
        Red().init(Problem(problem.operator, problem.data, problem.prior))


# -- the network -----------------------------------------------------------------------------------------


def weights(tmp_path, **changes):
    """A network of three layers with random weights."""
    rng = np.random.default_rng(0)
    sizes = [(4, 1), (4, 4), (1, 4)]
    arrays = {f"w{k:02d}": rng.standard_normal((*n, 3, 3)).astype(np.float32) for k, n in enumerate(sizes)}
    arrays |= {f"b{k:02d}": rng.standard_normal(n[0]).astype(np.float32) for k, n in enumerate(sizes)}
    np.savez(tmp_path / "net.npz", **{k: v for k, v in (arrays | changes).items() if v is not None})
    return tmp_path / "net.npz", arrays


def test_the_network_is_its_formula(tmp_path):
    from scipy.signal import correlate2d

    path, arrays = weights(tmp_path)
    v = np.random.default_rng(1).standard_normal((2, 7, 9))
    denoised = load_dncnn(path)(v, 0.1)
    for image, out in zip(v, denoised, strict=True):
        z = image[None]
        for k in range(3):
            w, b = arrays[f"w{k:02d}"], arrays[f"b{k:02d}"]
            z = np.maximum(z, 0.0) if k else z
            z = np.stack(
                [sum(correlate2d(z[i], w[o, i], "same") for i in range(len(z))) + b[o] for o in range(len(w))]
            )
        np.testing.assert_allclose(out, image - z[0], rtol=1e-4, atol=1e-3)
    assert denoised.dtype == np.float64
    complex_image = v[0] + 1j * v[1]
    np.testing.assert_allclose(load_dncnn(path)(complex_image, 0.1), denoised[0] + 1j * denoised[1])
    carried = load_dncnn(path)(strict.asarray(v), 0.1)
    np.testing.assert_array_equal(np.asarray(carried), denoised)


def test_a_file_without_such_weights_is_refused(tmp_path):
    for changes, text in (
        ({"w01": np.zeros((4, 4, 3, 3))}, "float32 arrays w01"),
        ({"b02": None, "b03": np.zeros(1, np.float32)}, "float32 arrays w02"),
        (
            {"w02": np.zeros((2, 4, 3, 3), np.float32), "b02": np.zeros(2, np.float32)},
            "must give 1 channels, got 2",
        ),
    ):
        with pytest.raises(DataError, match=text):
            load_dncnn(weights(tmp_path, **changes)[0])
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(DataError, match="weights of a network must be an .npz file of arrays"):
        load_dncnn(tmp_path / "text.npz")


def test_ffdnet_takes_phases_and_the_level(tmp_path):
    # one layer whose middle taps give phase k + sigma: the image comes back brighter by sigma
    weight = np.zeros((4, 5, 3, 3), np.float32)
    weight[range(4), range(4), 1, 1] = 1.0
    weight[:, 4, 1, 1] = 1.0
    np.savez(tmp_path / "net.npz", w00=weight, b00=np.zeros(4, np.float32))
    v = np.random.default_rng(0).random((2, 7, 5))
    np.testing.assert_allclose(load_ffdnet(tmp_path / "net.npz")(v, 0.25), v + 0.25, atol=1e-6)


@pytest.mark.shared
def test_hqs_with_ffdnet_deblurs_better_than_tv():
    path, picture = SHARED / "weights" / "ffdnet_gray.npz", SHARED / "images" / "set12" / "01.png"
    if not path.exists() or not picture.exists():
        pytest.skip("needs ../shared/data")
    Image = pytest.importorskip("PIL.Image")
    clean = np.asarray(Image.open(picture), dtype=np.float64)[64:192, 64:192] / 255.0
    steps = np.arange(-6, 7)
    kernel = np.exp(-(steps[:, None] ** 2 + steps**2) / (2 * 1.6**2))
    operator = Convolution(kernel / kernel.sum(), clean.shape)
    data = operator @ clean + 0.01 * np.random.default_rng(0).standard_normal(clean.shape)
    plugged = Problem(operator, data, Denoiser(load_ffdnet(path)), noise=0.01)
    with_tv = Problem(operator, data, recon.TV(5e-4) + NonNegative())
    scores = [
        recon.metrics.psnr(recon.solve(p, s, stop=n).x, clean, data_range=1.0)
        for p, s, n in ((plugged, Hqs(), 8), (with_tv, Pd3o(), 150))
    ]
    assert scores[0] > scores[1]


@pytest.mark.shared
def test_dncnn_denoises_as_published():
    path, picture = SHARED / "weights" / "dncnn_25.npz", SHARED / "images" / "set12" / "01.png"
    if not path.exists() or not picture.exists():
        pytest.skip("needs ../shared/data")
    Image = pytest.importorskip("PIL.Image")
    clean = np.asarray(Image.open(picture), dtype=np.float64) / 255.0
    noisy = clean + 25 / 255 * np.random.default_rng(0).standard_normal(clean.shape)
    denoised = Denoiser(load_dncnn(path), level=25 / 255).denoise(noisy, 25 / 255)
    before, after = (recon.metrics.psnr(x, clean, data_range=1.0) for x in (noisy, denoised))
    assert before == pytest.approx(20.18, abs=0.01)
    assert after == pytest.approx(30.18, abs=0.15)  # published for this image, with other noise

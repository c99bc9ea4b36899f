"""A network as a prior: D against diffusers' own formulas, derivatives, arrays of every library, errors."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from diffusion_networks import image, scheduler, unet
from recon_diffusion.laws import EdmLaw, NoiseLaw, law_of_scheduler, levels_of_scheduler, linear_law
from recon_diffusion.network import Network
from recon_diffusion.prior import DiffusionPrior

import recon
from recon.arrays import ArraySpec
from recon.checkpoint import fingerprint
from recon.errors import ParameterError, ShapeError
from recon.params import describe
from recon.testing import check_prior

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")


def prior(prediction="epsilon", channels=1, outputs=None, seed=0, options=None, **more):
    network = Network.from_diffusers(unet(channels, outputs, seed), scheduler(prediction), **more)
    return DiffusionPrior.of(network, **(options or {}))


# -- the formula ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("t", [3, 250, 700])
def test_estimate_is_that_of_diffusers(prediction, t):
    module, law = unet(), scheduler(prediction)
    made = DiffusionPrior.of(Network.from_diffusers(module, law))
    s = float(made.network.law.levels[t])
    x = torch.from_numpy(image(2, 1, 8, 8)).float()
    with torch.no_grad():
        out = module(x, t).sample
        law.set_timesteps(1000)
        expected = law.step(out, t, x).pred_original_sample
    got = made.denoise((x * (1 + s * s) ** 0.5)[:, 0], s)
    np.testing.assert_allclose(got, expected[:, 0], rtol=0, atol=2e-5 * float(expected.abs().max()))


def test_edm_is_that_of_diffusers():
    from diffusers.schedulers import EDMEulerScheduler

    module, law = unet(), EDMEulerScheduler(sigma_data=0.4)
    made = DiffusionPrior.of(Network.from_diffusers(module, law))
    assert isinstance(made.network.law, EdmLaw)
    z, s = torch.from_numpy(image(1, 1, 8, 8)).float(), 1.7
    with torch.no_grad():
        out = module(law.precondition_inputs(z, s), law.precondition_noise(s)).sample
        expected = law.precondition_outputs(z, out, s)
    np.testing.assert_allclose(made.denoise(z[:, 0], s), expected[:, 0], rtol=0, atol=1e-6)


def test_discrete_levels_are_rounded_everywhere_and_continuous_ones_are_not():
    made, z = prior(), image()
    levels = made.network.law.levels
    between = float(np.sqrt(levels[400] * levels[401]) * 0.9999)
    np.testing.assert_array_equal(made.denoise(z, between), made.denoise(z, float(levels[400])))
    assert made.level(between) == levels[400]
    fluent = prior(continuous=True)
    assert fluent.level(between) == between
    assert fluent.network.law.step(between) == pytest.approx(400.5, abs=0.02)
    assert np.abs(fluent.denoise(z, between) - fluent.denoise(z, float(levels[400]))).max() > 1e-6
    np.testing.assert_array_equal(made.denoise(z, 1e-9), made.denoise(z, float(levels[0])))
    np.testing.assert_allclose(made.denoise(z, 0.0), z, atol=1e-7)


def test_a_learned_variance_is_left_out():
    module = unet(1, 2)
    made = DiffusionPrior.of(Network.from_diffusers(module, scheduler()))
    first = unet()
    weights = module.state_dict()
    first.load_state_dict({k: v[:1] if k.startswith("conv_out") else v for k, v in weights.items()})
    alone = DiffusionPrior.of(Network.from_diffusers(first, scheduler()))
    np.testing.assert_allclose(made.denoise(image(), 0.8), alone.denoise(image(), 0.8), atol=1e-6)


def test_units_of_the_image():
    low, high, unit, offset = -2.0, 6.0, 0.25, 3.0
    z, s = image(), 0.5
    plain, own = prior(), prior(low=low, high=high, options={"unit": unit, "offset": offset})
    scale, centre = unit * (high - low) / 2, offset + unit * (low + high) / 2
    assert own.scale == scale
    assert own.level(s * scale) == pytest.approx(scale * plain.level(s))
    np.testing.assert_allclose(
        own.denoise(centre + scale * z, scale * s), centre + scale * plain.denoise(z, s), atol=1e-6
    )
    np.testing.assert_allclose(own.score(z, s), (own.denoise(z, s) - z) / s**2)
    np.testing.assert_array_equal(own.prox(z, 0.0), z)


def test_fold_is_pixel_unshuffle():
    module = unet(4)
    made = DiffusionPrior.of(Network.from_diffusers(module, scheduler(), fold=2))
    s = float(made.network.law.levels[500])
    z = torch.from_numpy(image(16, 16)).float()
    folded = torch.stack([z[i::2, j::2] for i in range(2) for j in range(2)])[None]
    with torch.no_grad():
        clean = folded - s * module(folded / (1 + s * s) ** 0.5, 500).sample
    expected = torch.empty(16, 16)
    for k, (i, j) in enumerate((i, j) for i in range(2) for j in range(2)):
        expected[i::2, j::2] = clean[0, k]
    np.testing.assert_allclose(made.denoise(z, s), expected, atol=1e-5)
    assert made.network.multiple == 4


def test_spread_is_wider_than_the_measured_errors():
    table = ((0.1, 0.05), (1.0, 0.2))
    made = prior(spreads=table, low=0.0, high=1.0)
    assert made.spread(1.0) == pytest.approx(0.7 * 0.5 / 1.25**0.5)
    assert all(made.spread(0.5 * level) > 0.5 * error for level, error in table)


# -- derivatives and arrays ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["grey", "colour", "complex"])
def test_vjp_against_finite_differences(kind):
    channels = {"grey": 1, "colour": 3, "complex": 2}[kind]
    made = prior("v_prediction", channels, complex_images=kind == "complex", low=0.0, high=4.0)
    shape = (8, 8, 3) if kind == "colour" else (8, 8)
    values = [image(*shape, seed=k) for k in range(6)]
    v, d, c = values[:3] if kind != "complex" else [values[2 * k] + 1j * values[2 * k + 1] for k in range(3)]
    clean, pull = made.denoise_vjp(v, 0.9)
    np.testing.assert_allclose(clean, made.denoise(v, 0.9), atol=1e-6)
    step = 3e-3
    along = (made.denoise(v + step * d, 0.9) - made.denoise(v - step * d, 0.9)) / (2 * step)
    expected = np.vdot(c, along).real
    for _ in range(2):  # may be called again
        assert np.vdot(pull(c), d).real == pytest.approx(expected, rel=3e-3)
    assert pull(c).dtype == v.dtype


def test_volumes_and_batches_are_images():
    made, z = prior(options={"batch": 2}), image(2, 3, 8, 8)
    together = made.denoise(z, 0.7)
    for i in range(2):
        for j in range(3):
            np.testing.assert_allclose(together[i, j], made.denoise(z[i, j], 0.7), atol=1e-6)
    one = prior(options={"batch": 6})
    np.testing.assert_allclose(one.denoise(z, 0.7), together, atol=1e-6)
    np.testing.assert_allclose(one.denoise_vjp(z, 0.7)[1](z), made.denoise_vjp(z, 0.7)[1](z), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_library_gives_the_same(dtype):
    made, z = prior(low=0.0, high=1.0), image().astype(dtype)
    expected = made.denoise(z, 0.3)
    assert expected.dtype == z.dtype
    got = made.denoise(torch.from_numpy(z), 0.3)
    assert isinstance(got, torch.Tensor)
    assert got.dtype == getattr(torch, dtype)
    np.testing.assert_array_equal(got.numpy(), expected)
    z.flags.writeable = False
    np.testing.assert_array_equal(made.denoise(z, 0.3), expected)
    np.testing.assert_allclose(made.denoise(z.T, 0.3), made.denoise(z.T.copy(), 0.3))
    strict = pytest.importorskip("array_api_strict")
    got = made.denoise(strict.asarray(z.copy()), 0.3)
    assert type(got).__module__.startswith("array_api_strict")
    np.testing.assert_array_equal(np.asarray(got), expected)


def test_complex_images_are_two_channels():
    made = prior(channels=2, complex_images=True)
    z = image() + 1j * image(seed=1)
    s = float(made.network.law.levels[300])
    x = torch.from_numpy(np.stack([z.real, z.imag])[None]).float()
    with torch.no_grad():
        clean = (x - s * made.network.module(x / (1 + s * s) ** 0.5, 300).sample)[0]
    np.testing.assert_allclose(made.denoise(z, s), clean[0] + 1j * clean[1], atol=1e-5)
    np.testing.assert_allclose(
        made.denoise(torch.from_numpy(z).conj(), s), made.denoise(z.conj(), s), atol=1e-6
    )


def test_it_is_a_prior_and_solves():
    check_prior(prior(), spec=ArraySpec((8, 8)), search=False)
    problem = recon.Problem(recon.Identity(ArraySpec((8, 8))), image(), prior(), noise=0.5)
    from recon_diffusion.diffpir import DiffPir

    first, second = (recon.solve(problem, DiffPir(steps=4), seed=1).x for _ in range(2))
    np.testing.assert_array_equal(first, second)


# -- identity ------------------------------------------------------------------------------------------------------


def test_weights_are_part_of_a_run(tmp_path):
    from recon_diffusion.diffpir import DiffPir
    from recon_diffusion.files import save_prior

    def mark():
        source = DiffusionPrior(str(tmp_path / "own"))
        return fingerprint(
            recon.Problem(recon.Identity(ArraySpec((8, 8))), image(), source, noise=0.5), DiffPir()
        )

    save_prior(tmp_path / "own", unet(seed=0), scheduler())
    before = mark()
    assert mark() == before
    save_prior(tmp_path / "own", unet(seed=1), scheduler())
    after = mark()
    assert after["prior"] != before["prior"]
    assert {key for key in before if before[key] != after[key]} == {"prior"}
    assert prior(seed=0).digest() == prior(seed=0).digest() != prior(seed=1).digest()
    bare = DiffusionPrior.of(Network(unet(), linear_law()))
    assert bare.digest() == prior().digest()


def test_a_prior_as_a_parameter_is_described_with_its_weights():
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Holder:
        prior: DiffusionPrior

    told = describe(Holder(prior()))["prior"]
    assert told["source"] == "given"
    assert told["digest"] == prior().digest()


def test_given_networks_are_pickled_whole():
    made = DiffusionPrior.of(prior().network, "mine")
    for other in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        np.testing.assert_array_equal(other.denoise(image(), 0.4), made.denoise(image(), 0.4))
    assert "_network" not in pickle.loads(pickle.dumps(DiffusionPrior("nowhere"))).__dict__


# -- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "spec", "text"),
    [
        (prior, ArraySpec((8, 7)), "needs real images (rows, columns), rows and columns multiples of 2, got"),
        (prior, ArraySpec((8,)), "Pad the image, or train a prior for it."),
        (prior, ArraySpec((8, 8), "complex"), "needs real images"),
        (prior, (ArraySpec((8, 8)), ArraySpec((8, 8))), "needs real images"),
        (lambda: prior(channels=3), ArraySpec((8, 8)), "(rows, columns, 3)"),
        (lambda: prior(channels=2, complex_images=True), ArraySpec((8, 8)), "needs complex images"),
    ],
)
def test_images_that_do_not_fit(make, spec, text):
    with pytest.raises(ShapeError) as caught:
        make().check_spec(spec)
    assert text in str(caught.value)


def test_arrays_that_do_not_fit():
    with pytest.raises(ShapeError, match="DiffusionPrior 'given' needs real images"):
        prior().denoise(image(8, 9), 0.5)
    with pytest.raises(ShapeError, match="needs real images"):
        prior().denoise_vjp(image() + 0j, 0.5)


def test_networks_that_do_not_fit():
    with pytest.raises(ParameterError, match="must be unconditional, got one with class labels"):
        Network.from_diffusers(unet(num_class_embeds=3), scheduler())
    text = "must have fold\\^2 channels for each channel of an image"
    for module, options in ((unet(3), {"fold": 2}), (unet(2), {}), (unet(1, 3), {})):
        with pytest.raises(ParameterError, match=text):
            Network.from_diffusers(module, scheduler(), **options)


def test_schedulers_that_do_not_fit():
    from diffusers.schedulers import EDMEulerScheduler, FlowMatchEulerDiscreteScheduler

    with pytest.raises(ParameterError, match="must have alphas_cumprod, got FlowMatchEulerDiscreteScheduler"):
        law_of_scheduler(FlowMatchEulerDiscreteScheduler())
    with pytest.raises(ParameterError, match="prediction_type must be 'epsilon', got 'v_prediction'"):
        law_of_scheduler(EDMEulerScheduler(prediction_type="v_prediction"))
    odd = scheduler()
    odd.register_to_config(prediction_type="flow")
    with pytest.raises(ParameterError, match="must be 'epsilon', 'v_prediction' or 'sample', got 'flow'"):
        law_of_scheduler(odd)
    with pytest.raises(ParameterError, match="must have alphas_cumprod or sigmas, got object"):
        levels_of_scheduler(object())


def test_levels_of_schedulers():
    np.testing.assert_allclose(levels_of_scheduler(scheduler()), linear_law().levels, rtol=2e-4)
    zero = scheduler("v_prediction", rescale_betas_zero_snr=True)
    levels = levels_of_scheduler(zero)
    assert np.isfinite(levels).all()
    assert (np.diff(levels) > 0).all()
    assert isinstance(law_of_scheduler(zero)[0], NoiseLaw)
    from diffusers.schedulers import EDMEulerScheduler

    edm = EDMEulerScheduler()
    edm.set_timesteps(10)
    grid = levels_of_scheduler(edm)
    assert len(grid) == 10
    assert grid[-1] == pytest.approx(80.0)
    law = law_of_scheduler(edm)[0]
    assert law.step(np.e) == pytest.approx(0.25)
    assert law.level(1e9) == pytest.approx(80.0)


@pytest.mark.parametrize("scale", [0.05, 300.0])
def test_unit_and_offset_are_an_affine_map(scale):
    """D and J^T of x = unit v + offset are those of v: exactly, but for rounding."""
    plain, mapped = prior(), prior(options={"unit": scale, "offset": -3.0 * scale})
    v, c = image(2, 8, 8), image(2, 8, 8, seed=1)
    x, s = scale * v - 3.0 * scale, 0.4
    np.testing.assert_allclose(mapped.denoise(x, scale * s) / scale + 3.0, plain.denoise(v, s), atol=3e-6)
    clean, pull = mapped.denoise_vjp(x, scale * s)
    expected, own = plain.denoise_vjp(v, s)
    np.testing.assert_allclose(clean / scale + 3.0, expected, atol=3e-6)
    np.testing.assert_allclose(pull(c), own(c), atol=3e-6)  # unit / unit = 1
    assert mapped.spread(scale * s) == pytest.approx(scale * plain.spread(s))


@pytest.mark.parametrize("dtype", ["float16", "int32", "uint8", "bool"])
def test_other_numbers_are_taken_for_what_they_are(dtype):
    """Whole numbers give an estimate with fractions, as they would after a conversion by hand."""
    values = np.round(2.0 * image()).clip(0, 3)
    values = (values > 0).astype(dtype) if dtype == "bool" else values.astype(dtype)
    got = prior().denoise(values, 0.4)
    assert got.dtype == ("float16" if dtype == "float16" else "float32")
    expected = prior().denoise(values.astype(np.float32), 0.4)
    np.testing.assert_allclose(got, expected, atol=2e-3 if dtype == "float16" else 0)
    tensor = prior().denoise(torch.tensor(values), 0.4)
    assert str(tensor.dtype) == f"torch.{got.dtype}"
    np.testing.assert_array_equal(tensor.numpy(), got)


def test_threads_may_share_a_prior():
    from concurrent.futures import ThreadPoolExecutor

    shared, v = prior(), image()
    expected = shared.denoise(v, 0.4)
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: shared.denoise(v, 0.4), range(8)):
            np.testing.assert_array_equal(got, expected)


def test_a_device_that_is_not_there_is_said():
    for name in ("nope", "cuda:77"):
        with pytest.raises(
            ParameterError, match="DiffusionPrior.device must be one that torch has here, got"
        ):
            prior(options={"device": name}).denoise(image(), 0.4)


# -- precision -----------------------------------------------------------------------------------------------------


def test_bfloat16_is_near_float32_in_and_out_of_the_library():
    """Within the rounding of 8 bits of what the network adds; arrays and gradients keep their own precision."""
    network = Network.from_diffusers(unet(), scheduler("v_prediction"))
    full, half = DiffusionPrior.of(network), DiffusionPrior.of(network, precision="bfloat16")
    z = image(3, 8, 8).astype(np.float32)
    one, other = full.denoise(z, 0.5), half.denoise(z, 0.5)
    assert other.dtype == np.float32
    assert 0.0 < np.linalg.norm(other - one) < 0.02 * np.linalg.norm(one - z)
    pulled = [made.denoise_vjp(z, 0.5)[1](z) for made in (full, half)]
    assert np.linalg.norm(pulled[1] - pulled[0]) < 0.05 * np.linalg.norm(pulled[0])
    assert next(network.module.parameters()).dtype == torch.float32  # the one given is left as it was
    assert DiffusionPrior("probe-64", precision="bfloat16").network.spreads


def test_precision_needs_weights_to_cast():
    law = NoiseLaw(np.geomspace(0.01, 100.0, 50))
    with pytest.raises(ParameterError, match="must be float32 for a network without torch weights"):
        DiffusionPrior.of(Network(lambda x, t: x, law), precision="bfloat16")

"""Samplers of deepinv and ours, with one network on the same data: ``recon bench diffusion``.

A slice of a body, [0, 1], and three operators: half of the pixels, a periodic Gaussian blur (both with noise 0.05),
and parallel beams from 16 directions with 1 % noise. deepinv's own operators are used on its side; its tomography
agrees with ours to 0.13 % at 128^2. A case is a whole run, so that all that is not the network counts; the same number
of calls of the network alone stands beside it.

deepinv is compared with where it can be imported: ``tools/diffusion_peers.py`` says how to install it, and compares
the images too.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

import recon
from recon.bench import Case
from recon_diffusion.ddrm import Ddrm
from recon_diffusion.diffpir import DiffPir
from recon_diffusion.dps import Dps
from recon_diffusion.network import Network
from recon_diffusion.prior import DiffusionPrior

__all__ = ["PROBLEMS", "cases", "decomposed", "network_alone", "problem", "theirs"]

STEPS = 20
PROBLEMS = ("inpainting", "blur", "ct")

Floats = np.ndarray[Any, Any]
Run = Callable[[], Any]


def cases(prior: DiffusionPrior | None = None, size: int = 128, steps: int = STEPS) -> list[Case]:
    """The cases, set up: DiffPir on all three problems, Dps on two, Ddrm on the two with closed forms."""
    from recon_datasets.bodies import body_slice, random_body

    prior = prior or DiffusionPrior("ct-128")
    truth = body_slice(random_body(500), size)
    made = []
    for name in PROBLEMS:
        posed = problem(name, truth, prior)
        for solver in (DiffPir(steps=steps), Dps(steps=steps), Ddrm(steps=steps)):
            if name == "ct" and isinstance(solver, Ddrm):
                continue  # no singular values at hand
            method = type(solver).__name__
            peers = {f"{steps} calls of the network": network_alone(prior.network, size, steps)}
            if _importable():
                peers[f"deepinv {version('deepinv')}"] = theirs(name, method, posed, steps)
            ours = _ours(decomposed(posed) if isinstance(solver, Ddrm) else posed, solver)
            ours()  # loads, compiles, finds the norm
            note = "Dps: the network's gradient comes on top of its calls" if isinstance(solver, Dps) else ""
            made.append(Case(f"{method} {name} {size}^2, {steps} steps", ours, peers, note))
    return made


def _ours(posed: recon.Problem, solver: recon.Solver) -> Run:
    return lambda: recon.solve(posed, solver, every=1000).x


def network_alone(network: Network, size: int, calls: int) -> Run:
    """So many calls of the network with nothing around them."""
    import torch

    levels = np.geomspace(10.0, 0.02, calls)

    def run() -> None:
        z = torch.zeros((1, network.channels, size, size))
        with torch.no_grad():
            for s in levels:
                network.estimate(z, float(s))

    return run


def problem(
    name: str, truth: Floats, prior: Any, seed: int = 0, views: int = 16, noise: float = 0.05
) -> recon.Problem:
    """One of ``PROBLEMS``, in single precision; ``noise`` is that of images, 1 % of the maximum that of sinograms."""
    rng = np.random.default_rng((seed, PROBLEMS.index(name)))
    operator = _operator(name, truth.shape, views, rng)
    clean = operator @ truth.astype(np.float64)
    level = 0.01 * float(clean.max()) if name == "ct" else noise
    data = clean + level * rng.standard_normal(clean.shape)
    return recon.Problem(operator, data.astype(np.float32), prior, noise=level)


def _operator(name: str, shape: tuple[int, ...], views: int, rng: np.random.Generator) -> recon.Operator:
    from recon_operators.convolution import Convolution
    from recon_operators.sampling import Mask
    from recon_operators.tomography import ParallelBeam

    if name == "inpainting":
        return Mask(rng.random(shape) < 0.5)
    if name == "blur":
        return Convolution(_gaussian(), shape, boundary="periodic")
    bins = int(np.ceil(np.sqrt(2.0) * max(shape)))  # as deepinv has them
    return ParallelBeam(shape, np.arange(views) * np.pi / views, bins)


def decomposed(posed: recon.Problem) -> recon.Problem:
    """The same problem with singular values at hand: the blur as a matrix for each axis."""
    from recon_operators.convolution import Convolution

    if not isinstance(posed.operator, Convolution):
        return posed
    line = _gaussian().sum(axis=0)
    matrices = []
    for n in posed.operator.domain.shape:  # type: ignore[union-attr]
        place = (np.arange(n)[:, None] + np.arange(-(line.size // 2), line.size // 2 + 1)) % n
        matrix = np.zeros((n, n))
        np.add.at(matrix, (np.arange(n)[:, None], place), line)
        matrices.append(recon.Matrix(matrix))
    return dataclasses.replace(posed, operator=recon.Kronecker((matrices[0], matrices[1])))


def _gaussian(width: float = 2.0, reach: int = 6) -> Floats:
    line = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    kernel = np.outer(line, line)
    return kernel / kernel.sum()


# -- deepinv ---------------------------------------------------------------------------------------------


def _importable() -> bool:
    """Whether deepinv is there and its torchvision works."""
    if importlib.util.find_spec("deepinv") is None:
        return False
    try:
        import deepinv  # noqa: F401
    except (ImportError, RuntimeError):
        return False
    return True


def theirs(name: str, method: str, posed: recon.Problem, steps: int, **options: Any) -> Run:
    """deepinv's sampler of that name on the same data, with so many calls of the network; gives a NumPy image.

    Parameters
    ----------
    name, posed
        As given to and by :func:`problem`.
    method
        ``"DiffPir"``, ``"Dps"`` or ``"Ddrm"``.
    steps
        Calls of the network.
    **options
        Handed to deepinv's class; and ``seed``.
    """
    import deepinv
    import torch

    seed = options.pop("seed", 1)
    prior: Any = posed.prior
    physics, data = _physics(name, posed)
    denoiser = _denoiser(prior.network)
    if method == "DiffPir":
        fidelity = deepinv.optim.data_fidelity.L2()
        sigma = physics.noise_model.sigma
        sampler = deepinv.sampling.DiffPIR(denoiser, fidelity, sigma=sigma, max_iter=steps, **options)
    elif method == "Ddrm":
        levels = {"sigmas": np.geomspace(5.0, 0.01, steps)} | options  # half of ours: of images in [0, 1]
        sampler = deepinv.sampling.DDRM(denoiser, **levels)
    else:
        sampler = deepinv.sampling.DPS(denoiser, num_steps=steps + 1, **options)

    def run() -> Floats:
        torch.manual_seed(seed)
        found: Floats = sampler(data, physics, seed=seed)[0, 0].detach().numpy()
        return found

    return run


def _physics(name: str, posed: recon.Problem) -> tuple[Any, Any]:
    """deepinv's operator and the data as it has them: (1, 1, rows, columns), sinograms turned and of norm 1."""
    import torch
    from deepinv import physics

    operator: Any = posed.operator
    shape = (1, *operator.domain.shape)
    data = torch.from_numpy(np.array(posed.data))[None, None]
    noise = physics.GaussianNoise(posed.noise)
    if name == "inpainting":
        mask = torch.from_numpy(operator.mask.astype(np.float32))[None]
        return physics.Inpainting(img_size=shape, mask=mask, noise_model=noise), data
    if name == "blur":
        kernel = torch.from_numpy(_gaussian().astype(np.float32))[None, None]
        return physics.BlurFFT(img_size=shape, filter=kernel, noise_model=noise), data
    degrees = torch.from_numpy(np.rad2deg(operator.angles).astype(np.float32))
    found = physics.Tomography(angles=degrees, img_width=shape[-1], circle=False, normalize=True)
    inside = np.hypot(*np.meshgrid(*(np.linspace(-1.0, 1.0, n) for n in shape[1:]), indexing="ij")) < 0.9
    image = inside.astype(np.float32)
    one, other = (operator @ image).T, found.A(torch.from_numpy(image)[None, None])[0, 0].numpy()
    scale = float(np.vdot(one, other) / np.vdot(one, one))
    found.noise_model = physics.GaussianNoise(float(posed.noise) * scale)  # type: ignore[arg-type]
    return found, scale * data.movedim(-1, -2).contiguous()


def _denoiser(network: Network) -> Any:
    """The network as deepinv calls one, (images in [0, 1], noise level) to images, with as little around as can be.

    Of v-prediction only, as the priors that are shipped, and with its weights laid out as diffusers has them. deepinv's
    own wrapper of networks costs a fifth of a call.
    """
    import copy

    import torch
    from torch.nn.functional import pixel_shuffle, pixel_unshuffle

    module = copy.deepcopy(network.module).to(memory_format=torch.contiguous_format)

    class Wrapped(torch.nn.Module):
        def forward(self, x: Any, sigma: Any, **_: Any) -> Any:
            v = pixel_unshuffle(2.0 * x - 1.0, network.fold)
            s = network.law.level(2.0 * float(sigma))
            kept = 1.0 / (1.0 + s * s)
            t = torch.full((len(v),), network.law.step(s))
            out = module(kept**0.5 * v, t).sample
            return 0.5 * pixel_shuffle(kept * v - s * kept**0.5 * out, network.fold) + 0.5

    return Wrapped()

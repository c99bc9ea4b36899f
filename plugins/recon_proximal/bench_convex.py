"""Six convex problems to a relative objective gap of 1e-4: ``solve`` with nothing set, against peers.

Every row is the CPU time of as many iterations as bring the objective within 1e-4 of its minimum, set-up and step
sizes included; how many, each method tells in a run that is not timed. Ours is ``solve(problem)`` with the solver of
its own choice. The peers work on the same objective with the same operators (ours, or the same matrix), from 0, and
get what their users must find by hand: the norm of the operator, and of PDHG the best ratio of its two steps on a
ladder. One-shot methods solve another problem: they stand in the table with their PSNR.

    lasso          n = 2048, m = 614, 70 spikes                     1/2 ||A x - y||^2 + w ||x||_1
    ct             256^2, 60 views, exact line integrals, 1 % noise 1/2 ||A x - y||^2 + w TV(x)
    deconvolution  512^2, Gaussian of 2 pixels, 1 % noise           1/2 ||A W^T c - y||^2 + w ||c||_1
    mri            256^2, every fourth line, 1 % noise              the same, complex
    inpainting     256^2, half the pixels                           as ct
    denoising      256^2, noise 0.1                                 as ct
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

import recon
from recon.bench import Case
from recon.metrics import psnr
from recon_proximal._peers import (
    by_hand,
    modopt_fista,
    odl_pdhg,
    pylops_fista,
    pyproximal_fista,
    pyproximal_pdhg,
    sigpy_fista,
    sklearn_lasso,
)

__all__ = ["cases"]

GAP = 1e-4
LIMIT = 2000  # iterations after which a method counts as not arriving

Floats = np.ndarray[Any, Any]
Peer = Callable[..., Any]


@dataclass(frozen=True)
class _Setting:
    """A problem with its minimum, what to compare with, and the way from the unknown to an image."""

    name: str
    problem: recon.Problem
    minimum: float
    truth: Floats
    peers: dict[str, Peer] = field(default_factory=dict)
    baselines: dict[str, Callable[[], Floats]] = field(default_factory=dict)
    image: Callable[[Any], Floats] = np.asarray


def cases() -> list[Case]:
    """The cases, with the iterations that every method needs found."""
    makers = (_lasso, _ct, _deconvolution, _mri, _inpainting, _denoising)
    return [_case(make()) for make in makers]


def _case(setting: _Setting) -> Case:
    problem, goal = setting.problem, setting.minimum * (1.0 + GAP)
    if problem.objective(recon.solve(problem, stop=5).x) < setting.minimum * (1.0 - 1e-7):
        raise ValueError(f"the stored minimum of {setting.name} is too high")
    solver = recon.solve(problem, stop=1).solver
    x, count = problem.start(), 0
    for state in islice(recon.iterate(problem, solver), LIMIT):
        x, count = state.x, state.iteration
        if problem.objective(x) <= goal:
            break
    ours = f"{setting.name}: {type(solver).__name__}, {count} it., {_quality(setting, x)}"
    peers: dict[str, Callable[[], Any]] = {}
    for name, run in setting.peers.items():
        watch = _Watch(problem.objective, goal)
        try:
            run(LIMIT, watch)
        except _Arrived:
            told = f"{name}, {watch.count} it., {_quality(setting, watch.x)}"
            peers[told] = partial(run, watch.count, None)
        else:
            peers[f"{name}, gap {watch.value / setting.minimum - 1:.0e} after {LIMIT} it."] = partial(
                run, LIMIT, None
            )
    for name, method in setting.baselines.items():
        peers[f"{name}, one shot, {_decibels(setting, method())}"] = method
    note = "relative objective gap 1e-4 in all iterative methods; one-shot methods minimise something else"
    return Case(ours, lambda: recon.solve(problem, stop=count).x, peers, note)


class _Arrived(Exception):
    pass


class _Watch:
    """Called with x after every iteration of a peer; raises at the goal."""

    def __init__(self, objective: Callable[[Any], float], goal: float) -> None:
        self.objective, self.goal = objective, goal
        self.count, self.value = 0, np.inf
        self.x: Any = None

    def __call__(self, x: Any) -> None:
        self.count, self.x, self.value = self.count + 1, x, self.objective(x)
        if self.value <= self.goal:
            raise _Arrived


def _quality(setting: _Setting, x: Any) -> str:
    return _decibels(setting, setting.image(x))


def _decibels(setting: _Setting, image: Any) -> str:
    peak = float(np.abs(setting.truth).max())
    return f"{psnr(np.abs(image), np.abs(setting.truth), data_range=peak):.1f} dB"


# -- the problems ----------------------------------------------------------------------------------------


def _lasso() -> _Setting:
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((614, 2048)) / np.sqrt(614)
    x = np.zeros(2048)
    x[rng.choice(2048, 70, replace=False)] = rng.standard_normal(70)
    data = matrix @ x + 0.01 * rng.standard_normal(614)
    weight = 0.02 * float(np.abs(matrix.T @ data).max())
    problem = recon.Problem(recon.Matrix(matrix), data, recon.L1(weight))
    peers = {"scikit-learn Lasso": partial(sklearn_lasso, matrix, data, weight)}
    found = _fistas(problem, weight) | _installed(peers)
    return _Setting("lasso 614 x 2048", problem, MINIMA["lasso"], x, found)


def _ct() -> _Setting:
    from recon_operators.tomography import fbp

    sample = recon.get("dataset", "shepp-logan")(size=256, views=60, noise=0.01)[0]
    weight = 6.0 * (2.0 / 256) ** 2  # 6 in units of pixels
    problem = recon.Problem(sample.operator, sample.data, recon.TV(weight))
    baselines = {"FBP": lambda: fbp(sample.operator, sample.data)}
    return _tv("TV-CT 256^2 x 60", problem, MINIMA["ct"], sample.truth, RATIOS["ct"], baselines)


def _deconvolution() -> _Setting:
    from recon_operators.convolution import Convolution, wiener
    from recon_wavelets import Wavelet

    truth = _photograph(512)
    rng = np.random.default_rng(1)
    offsets = np.arange(-8, 9)
    kernel = np.exp(-(offsets[:, None] ** 2 + offsets**2) / 8.0)
    blur = Convolution(kernel / kernel.sum(), truth.shape)
    blurred = blur @ truth
    data = blurred + 0.01 * rng.standard_normal(truth.shape)
    wavelet = Wavelet(truth.shape, "db4", 4)
    weight = 2e-4
    problem = recon.Problem(blur @ wavelet.H, data, recon.L1(weight))
    return _Setting(
        "wavelet deconvolution 512^2",
        problem,
        MINIMA["deconvolution"],
        truth,
        _fistas(problem, weight),
        {"Wiener, weight by GCV": lambda: wiener(blur, data)},
        lambda c: wavelet.H @ c,
    )


def _mri() -> _Setting:
    from recon_operators.fourier import CartesianMRI
    from recon_operators.fourier.masks import variable_density
    from recon_wavelets import Wavelet

    rng = np.random.default_rng(2)
    truth = _photograph(256).astype(complex)
    scan = CartesianMRI(variable_density(truth.shape, 4.0))
    clean = scan @ truth
    noise = rng.standard_normal(clean.shape) + 1j * rng.standard_normal(clean.shape)
    data = clean + 0.01 * noise * (np.abs(clean) > 0)
    wavelet = Wavelet(truth.shape, "db4", 4, kind="complex")
    weight = 0.01
    problem = recon.Problem(scan @ wavelet.H, data, recon.L1(weight))
    return _Setting(
        "CS-MRI 256^2",
        problem,
        MINIMA["mri"],
        truth,
        _fistas(problem, weight),
        {"zero-filled": lambda: scan.H @ data},
        lambda c: wavelet.H @ c,
    )


def _inpainting() -> _Setting:
    truth = _photograph(256)
    rng = np.random.default_rng(3)
    mask = (rng.random(truth.shape) < 0.5).astype(float)
    data = mask * (truth + 0.01 * rng.standard_normal(truth.shape))
    problem = recon.Problem(recon.Diagonal(mask, truth.shape), data, recon.TV(0.01))

    def biharmonic() -> Floats:
        from skimage.restoration import inpaint_biharmonic

        return np.asarray(inpaint_biharmonic(data, mask == 0))

    baselines = {"scikit-image biharmonic": biharmonic}
    return _tv("TV inpainting 256^2", problem, MINIMA["inpainting"], truth, RATIOS["inpainting"], baselines)


def _denoising() -> _Setting:
    truth = _photograph(256)
    data = truth + 0.1 * np.random.default_rng(4).standard_normal(truth.shape)
    problem = recon.Problem(recon.Identity(recon.ArraySpec(truth.shape)), data, recon.TV(0.08))
    return _tv("TV denoising 256^2", problem, MINIMA["denoising"], truth, RATIOS["denoising"], {})


def _tv(
    name: str,
    problem: recon.Problem,
    minimum: float,
    truth: Floats,
    ratio: float,
    baselines: dict[str, Callable[[], Floats]],
) -> _Setting:
    peers = {
        "PyProximal PrimalDual": partial(pyproximal_pdhg, problem, ratio),
        "ODL pdhg": partial(odl_pdhg, problem, ratio),
        "PDHG by hand in NumPy": partial(by_hand, problem, ratio),
    }
    return _Setting(name, problem, minimum, truth, _installed(peers), baselines)


def _fistas(problem: recon.Problem, weight: float) -> dict[str, Peer]:
    return _installed(
        {
            "PyLops FISTA": partial(pylops_fista, problem, weight),
            "PyProximal FISTA": partial(pyproximal_fista, problem, weight),
            "SigPy FISTA": partial(sigpy_fista, problem, weight),
            "ModOpt ForwardBackward": partial(modopt_fista, problem, weight),
        }
    )


_MODULES = {
    "PyLops": "pylops",
    "PyProximal": "pyproximal",
    "ODL": "odl",
    "SigPy": "sigpy",
    "ModOpt": "modopt",
    "scikit-learn": "sklearn",
}


def _installed(peers: dict[str, Peer]) -> dict[str, Peer]:
    return {
        name: run
        for name, run in peers.items()
        if importlib.util.find_spec(_MODULES.get(name.split()[0], "numpy")) is not None
    }


def _photograph(size: int) -> Floats:
    """The camera image of scikit-image, in [0, 1]."""
    import skimage.data

    image = skimage.data.camera() / 255.0
    step = 512 // size
    return np.asarray(image.reshape(size, step, size, step).mean(axis=(1, 3)))


MINIMA = {
    "lasso": 3.3179872635983,
    "ct": 0.5698057,
    "deconvolution": 13.869062,
    "mri": 33.6551295911,
    "inpainting": 18.94548,
    "denoising": 418.66017,
}
"""From runs of 1500 to 3000 iterations, whose last half changed them by less than 1e-5."""

RATIOS = {"ct": 30.0, "inpainting": 1.0, "denoising": 0.01}
"""tau / sigma of the PDHG of the peers: the best of ladders (CT 10, 30, 50, 80, 150; inpainting 0.2, 0.3, 0.5, 0.7, 1,
1.5, 2, 3; denoising 0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.3), which their users must find."""

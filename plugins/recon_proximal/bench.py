"""What ``solve`` costs beyond the mathematics: our solvers against NumPy loops written by hand.

Same problem, same operator, same number of iterations, same result (checked when the cases are made). The
hand-written loops keep no history; ours record the objective every 20 iterations, as by default.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import recon
from recon.bench import Case
from recon_proximal.fista import Fista
from recon_proximal.pdhg import Pdhg

__all__ = ["cases"]

ITERATIONS = 100
INNER = 16
WEIGHT = 0.02


@dataclass(frozen=True, eq=False)
class _Blur(recon.Operator):
    """Periodic convolution with a Gaussian of 2 pixels: real FFT, multiply, back."""

    shape_: tuple[int, int]

    def __post_init__(self) -> None:
        spec = recon.ArraySpec(self.shape_)
        rows, columns = np.fft.fftfreq(self.shape_[0]), np.fft.rfftfreq(self.shape_[1])
        gain = np.exp(-2.0 * (2.0 * np.pi) ** 2 * (rows[:, None] ** 2 + columns**2))
        for name, value in (("domain", spec), ("codomain", spec), ("gain", gain)):
            object.__setattr__(self, name, value)

    def _forward(self, x: Any) -> Any:
        return np.fft.irfft2(self.gain * np.fft.rfft2(x), s=self.shape_)  # type: ignore[attr-defined]

    _adjoint = _forward


def cases() -> list[Case]:
    """TV-PDHG on tomography, FISTA on tomography and on deblurring, at 256^2."""
    beam, sinogram = _tomography()
    blur, blurred = _deblurring()
    return [
        _pdhg_case("TV-PDHG, CT 256^2 x 60", beam, sinogram),
        _fista_case("FISTA l1, CT 256^2 x 60", beam, sinogram),
        _fista_case("FISTA l1, deblurring 256^2", blur, blurred),
    ]


def _tomography() -> tuple[recon.Operator, Any]:
    sample = recon.get("dataset", "shepp-logan")(size=256, views=60)[0]
    return sample.operator, sample.data


def _deblurring() -> tuple[recon.Operator, Any]:
    rng = np.random.default_rng(0)
    blur = _Blur((256, 256))
    image = (rng.random((256, 256)) < 0.02) * rng.random((256, 256))
    return blur, blur @ image + 0.001 * rng.standard_normal((256, 256))


def _case(name: str, ours: Callable[[], Any], loop: Callable[[], Any]) -> Case:
    np.testing.assert_allclose(ours(), loop(), rtol=1e-9, atol=1e-12)
    note = f"{ITERATIONS} iterations, equal results; the loop records nothing"
    return Case(name, ours, {"NumPy loop by hand": loop}, note)


def _fista_case(name: str, operator: Any, data: Any) -> Case:
    step = 1.0 / recon.linalg.norm(operator) ** 2
    problem = recon.Problem(operator, data, recon.L1(WEIGHT * float(np.abs(operator.H @ data).max())))

    def loop() -> Any:
        x = before = np.zeros(operator.domain.shape)
        threshold, t = step * problem.prior.weight, 1.0  # type: ignore[union-attr]
        for _ in range(ITERATIONS):
            following = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * t * t))
            z = x + (t - 1.0) / following * (x - before)
            z = z - step * operator._adjoint(operator._forward(z) - data)
            before, x, t = x, z - np.clip(z, -threshold, threshold), following
        return x

    solver = Fista(step_size=step, restart=False)
    return _case(name, lambda: recon.solve(problem, solver, stop=ITERATIONS).x, loop)


def _pdhg_case(name: str, operator: Any, data: Any) -> Case:
    weight = 1e-3 * float(np.abs(operator.H @ data).max())
    problem = recon.Problem(operator, data, recon.TV(weight))
    solver = Pdhg(balance=0.05, relaxation=1.0, inner=INNER)
    first = solver.init(problem)
    tau, sigma = first.tau, first.sigma
    step = 1.0 / (8.0 * tau)

    def image(z: Any, p: Any) -> Any:
        x = z.copy()
        x[:-1] += tau * p[0, :-1]
        x[1:] -= tau * p[0, :-1]
        x[:, :-1] += tau * p[1, :, :-1]
        x[:, 1:] -= tau * p[1, :, :-1]
        return x

    def loop() -> Any:
        x = ahead = np.zeros(operator.domain.shape)
        y, p = np.zeros(data.shape), np.zeros((2, *x.shape))
        field = np.zeros_like(p)
        for _ in range(ITERATIONS):
            y = (y + sigma * (operator._forward(ahead) - data)) / (1.0 + sigma)
            z, q = x - tau * operator._adjoint(y), p
            for n in range(INNER):
                inside = image(z, q)
                field[0, :-1] = inside[1:] - inside[:-1]
                field[1, :, :-1] = inside[:, 1:] - inside[:, :-1]
                new = q + step * field
                new = new / np.maximum(np.sqrt(new[0] ** 2 + new[1] ** 2) / weight, 1.0)
                q, p = new + n / (n + 5.0) * (new - p), new
            after = image(z, p)
            ahead, x = 2.0 * after - x, after
        return x

    return _case(name, lambda: recon.solve(problem, solver, stop=ITERATIONS).x, loop)

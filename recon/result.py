"""What ``solve`` returns: the reconstruction, how the run ended, its history, and how to go on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recon.arrays import Array, as_numpy, is_complex, leaves, tmap
from recon.errors import CapabilityError, ConvergenceError, ParameterError
from recon.params import describe
from recon.solver import Record, Solver, State, Status
from recon.storage import write_npz

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Result"]

_SHOWN = 4  # samples in a picture


@dataclass(frozen=True)
class Result:
    """What ``solve`` returns.

    Parameters
    ----------
    x
        The reconstruction, of the library and device of the data.
    status
        How the run ended; ``status.value`` is a sentence.
    history
        Records of objective, loss and certificates; ``result.series("objective")`` gives one of them.
    state
        To go on: ``solve(problem, solver, state=result.state)``.
    seconds
        Wall time of the run.
    solver
        The solver that ran.
    provenance
        Versions, parameters, seed, and why this solver was chosen where ``solve`` chose.
    samples, variance
        Posterior draws, one after another along a first axis, and pointwise variance, from solvers that give them.
    hyperparameters
        What the solver learned beside x, by name: prior variances, noise, the path of the evidence.
    """

    x: Array
    status: Status
    history: tuple[Record, ...]
    state: State
    seconds: float
    solver: Solver
    provenance: Mapping[str, Any] = field(default_factory=dict)
    samples: Array | None = None
    variance: Array | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def iterations(self) -> int:
        return self.state.iteration

    @property
    def objective(self) -> float:
        """The last objective recorded."""
        return self.history[-1]["objective"]

    @property
    def support(self) -> Array:
        """Where x is not 0, as booleans: what a sparse method has kept."""
        return tmap(lambda leaf: leaf != 0, self.x)

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """Iterations and values of one recorded figure, for plotting."""
        rows = [record for record in self.history if name in record.values]
        return [r.iteration for r in rows], [r.values[name] for r in rows]

    def interval(self, level: float = 0.9) -> tuple[Array, Array]:
        """Lower and upper ends of pointwise credible intervals, x -+ z sqrt(variance) with the normal quantile z.

        Where mean and variance are those of K ``samples``, z is t sqrt(1 + 1/K), t the quantile of Student's law with
        K - 1 degrees of freedom: so few samples make wider intervals, and 90 % of them still hold the truth. Right
        where the posterior of an entry is near a normal one. For complex images it is refused: take ``variance``,
        which is that of real and imaginary part together.

        Raises
        ------
        CapabilityError
            When the solver gave no variance, or the image is complex.
        ParameterError
            For a level outside (0, 1).
        """
        if not 0.0 < level < 1.0:
            raise ParameterError(f"Result.interval.level must be between 0 and 1, got {level}.")
        if self.variance is None or any(map(is_complex, leaves(self.x))):
            what = "a variance" if self.variance is None else "a real image"
            raise CapabilityError(
                f"Result.interval needs {what}, which {type(self.solver).__name__} did not give. "
                "Sample a real image: SkRock, PerturbAndSolve, or several chains of a diffusion sampler."
            )
        z = self._quantile(0.5 + 0.5 * level)
        reach = tmap(lambda v: z * v**0.5, self.variance)
        return tmap(lambda x, r: x - r, self.x, reach), tmap(lambda x, r: x + r, self.x, reach)

    @property
    def _draws(self) -> int:
        return 0 if self.samples is None else int(leaves(self.samples)[0].shape[0])

    def _quantile(self, p: float) -> float:
        """Of the truth's distance from x, in units of sqrt(variance)."""
        from statistics import NormalDist

        count = self._draws
        if count < 2:
            return NormalDist().inv_cdf(p)
        from scipy.special import stdtrit

        return float(stdtrit(count - 1, p)) * math.sqrt(1.0 + 1.0 / count)

    def check(self) -> Result:
        """Raise a ConvergenceError when the run did not end well; return self otherwise."""
        if not self.status.good:
            raise ConvergenceError(
                f"{type(self.solver).__name__} ended with status {self.status.name} after {self.iterations} "
                f"iterations. {self.status.value}"
            )
        return self

    def plot(self, **panels: Array) -> Figure:
        """The reconstruction (and further images by name) beside the course of the objective.

        With a variance the standard deviation has a panel of its own, and real signals their 90 % intervals. Where
        there are several samples, x is their mean, and the first four of them are shown in the gray levels of x.
        """
        from recon.plotting import draw_run, gray_levels

        name = type(self.solver).__name__
        if self._draws > 1:
            name = f"{name}, mean of {self._draws}"
        images: dict[str, Array] = {name: self.x}
        bands, levels = {}, None
        if self.variance is not None:
            images["standard deviation"] = np.sqrt(as_numpy(leaves(self.variance)[0]))
            if not any(map(is_complex, leaves(self.x))):
                bands[name] = self.interval()
        if self._draws > 1:
            draws = leaves(self.samples)[0]
            some = {f"sample {k + 1}": draws[k, ...] for k in range(min(self._draws, _SHOWN))}
            levels = dict.fromkeys([name, *some], gray_levels(self.x))
            images |= some
        return draw_run(images | panels, *self.series("objective"), bands, levels)

    def save(self, path: str | Path) -> None:
        """Write x, variance and hyperparameters where there are any, and the record as one .npz file, atomically."""
        arrays: dict[str, Any] = {}
        found = {name: getattr(self, name) for name in ("x", "variance", "samples")}
        found |= {f"hyperparameters.{name}": value for name, value in self.hyperparameters.items()}
        for name, value in found.items():
            if isinstance(value, tuple):
                arrays |= {f"{name}.{k}": as_numpy(part) for k, part in enumerate(value)}
            elif value is not None:
                arrays[name] = as_numpy(value) if hasattr(value, "shape") else np.asarray(value)
        for name in sorted({key for record in self.history for key in record.values}):
            arrays[f"history.{name}"] = np.array(self.series(name), dtype=np.float64)
        write_npz(Path(path), arrays, {"format": 1, **self.record()})

    def record(self) -> dict[str, Any]:
        """Everything that is not an array, as JSON data."""
        return {
            "status": self.status.name,
            "help": self.status.value,
            "iterations": self.iterations,
            "seconds": self.seconds,
            "solver": {"class": type(self.solver).__name__, **describe(self.solver)},
            "provenance": dict(self.provenance),
            "last": dict(self.history[-1].values) if self.history else {},
        }

    def __repr__(self) -> str:
        shape = (
            tuple(self.x.shape) if not isinstance(self.x, tuple) else tuple(tuple(a.shape) for a in self.x)
        )
        last = (
            f", objective {self.objective:.6g}"
            if self.history and "objective" in self.history[-1].values
            else ""
        )
        return (
            f"<Result of {type(self.solver).__name__}: x {shape}, {self.status.name} after {self.iterations} "
            f"iterations{last}, {self.seconds:.2f} s>"
        )

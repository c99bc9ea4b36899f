"""A problem: an operator, its data, and what we believe of image and noise; checked when it is made.

    objective(x) = loss(A x, y) + prior(x)

Solvers, stopping rules and results all report this one objective, computed by the same objects whose gradient
and prox the steps use.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from array_api_compat import is_array_api_obj

from recon.arrays import (
    Array,
    as_numpy,
    batch_of,
    broadcasts,
    check_array,
    finite,
    leaves,
    namespace,
    tmap,
    zeros,
)
from recon.errors import ArrayError, CapabilityError, ParameterError, ShapeError
from recon.losses import LeastSquares, Loss
from recon.operator import Operator, capability
from recon.params import short
from recon.priors.base import Prior

__all__ = ["Problem"]


@dataclass(frozen=True, eq=False)
class Problem:
    """Find x from y = A x + noise.

    Parameters
    ----------
    operator
        The forward operator A.
    data
        y, of the codomain's shape (batch axes in front allowed), floating point, finite, of any array library.
    prior
        What we believe of x; None for the plain least-squares problem.
    loss
        What we believe of the noise; ``LeastSquares()`` is 1/2 ||A x - y||^2.
    noise
        Standard deviation of the noise: a number > 0, an array like the data or broadcast to it (one number per
        sample: batch axes, then axes of length 1), ``"estimate"``, or None. Weight selection, the discrepancy rule,
        sparse Bayesian learning and samplers read it.

    Raises
    ------
    ShapeError, ArrayError, ParameterError
        In one sentence, when the parts do not fit each other.
    """

    operator: Operator
    data: Array
    prior: Prior | None = None
    loss: Loss = field(default_factory=LeastSquares)
    noise: float | Array | Literal["estimate"] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.operator, Operator):
            raise ParameterError(
                f"Problem.operator must be an Operator, got {type(self.operator).__name__}. "
                "Wrap a matrix with recon.Matrix."
            )
        if self.prior is not None and not isinstance(self.prior, Prior):
            raise ParameterError(f"Problem.prior must be a Prior, got {type(self.prior).__name__}.")
        if not isinstance(self.loss, Loss):
            raise ParameterError(f"Problem.loss must be a Loss, got {type(self.loss).__name__}.")
        check_array(self.data, self.operator.codomain, "Problem.data")
        if 0 in self.batch:
            raise ShapeError(f"Problem.data must hold at least one sample, got batch axes {self.batch}.")
        if any(getattr(leaf, "requires_grad", False) for leaf in leaves(self.data)):
            raise ArrayError(
                "Problem.data must not require gradients: solvers would keep the graph of the whole run. "
                "Give data.detach()."
            )
        if not finite(self.data):
            raise ArrayError(
                f"Problem.data must be finite, got {_count_bad(self.data)}. Mask or replace those entries first."
            )
        self.loss.check_data(self.data)
        check = capability(self.prior, "check_spec")
        if check:
            check(self.operator.domain)
        self._check_noise()

    def _check_noise(self) -> None:
        noise = self.noise
        if noise is None or (isinstance(noise, str) and noise == "estimate"):
            return
        if isinstance(noise, str):
            raise ParameterError(f"Problem.noise must be a number, an array or 'estimate', got {noise!r}.")
        if isinstance(noise, numbers.Real) and not isinstance(noise, bool):
            if not (float(noise) > 0 and np.isfinite(float(noise))):
                raise ParameterError(
                    f"Problem.noise must be > 0, got {noise}. Leave it out when it is not known."
                )
            return
        if not all(is_array_api_obj(leaf) for leaf in leaves(noise)):
            raise ParameterError(
                f"Problem.noise must be a number, an array or 'estimate', got {short(noise)}."
            )
        values = [as_numpy(leaf) for leaf in leaves(noise)]
        shapes = [tuple(leaf.shape) for leaf in leaves(self.data)]
        if len(values) != len(shapes) or not all(
            broadcasts(v.shape, shape) for v, shape in zip(values, shapes, strict=True)
        ):
            raise ShapeError(
                f"Problem.noise must have the shape of the data, got {[v.shape for v in values]}. "
                "Axes of length 1 stand for all of their entries."
            )
        if not all(v.dtype.kind in "fiu" and (v > 0).all() and np.isfinite(v).all() for v in values):
            raise ParameterError("Problem.noise must be real, > 0 and finite everywhere, got other entries.")

    def __repr__(self) -> str:
        shape = tuple(tuple(leaf.shape) for leaf in leaves(self.data))
        return (
            f"<Problem: {self.operator!r}, data {shape if isinstance(self.data, tuple) else shape[0]}, "
            f"prior {self.prior!r}, loss {type(self.loss).__name__}>"
        )

    # -- the objective -----------------------------------------------------------------------------------

    def objective(self, x: Array, prediction: Array | None = None) -> float:
        """loss(A x, y) + prior(x); pass ``prediction = A x`` where it is at hand, to save one product."""
        prediction = self.operator @ x if prediction is None else prediction
        return self.loss.value(prediction, self.data) + self.penalty(x)

    @property
    def valued(self) -> bool:
        """Whether there is an objective: False where the prior has no value, as a plugged-in denoiser."""
        return self.prior is None or capability(self.prior, "value") is not None

    def penalty(self, x: Array) -> float:
        """The prior's value, 0 without a prior."""
        if self.prior is None:
            return 0.0
        value = capability(self.prior, "value")
        if value is None:
            raise CapabilityError(
                f"Problem.objective needs {type(self.prior).__name__}.value, which it has not. "
                "Use a solver and stopping rule that need no objective."
            )
        return float(value(x))

    def gradient(self, x: Array) -> Array:
        """Gradient of the loss part: A^H loss'(A x, y).

        For least squares and an operator with a fast ``normal``: A^H A x - A^H y, where A^H y is kept.
        """
        normal = capability(self.operator, "normal") if type(self.loss) is LeastSquares else None
        if normal is None:
            return self.operator.H @ self.loss.gradient(self.operator @ x, self.data)
        check_array(x, self.operator.domain, f"{self.operator!s} input")
        return tmap(lambda new, old: new - old, normal(x), self._back_projection)

    @cached_property
    def _back_projection(self) -> Array:
        return self.operator.H @ self.data

    def kept(self, key: str, make: Callable[[], Any]) -> Any:
        """What ``make`` gives, made once and kept with the problem; pickle leaves it behind."""
        found: dict[str, Any] = self.__dict__.setdefault("_kept", {})
        if key not in found:
            found[key] = make()
        return found[key]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}

    # -- for solvers -------------------------------------------------------------------------------------

    @property
    def batch(self) -> tuple[int, ...]:
        """The batch axes of the data."""
        return batch_of(self.data, self.operator.codomain)

    def start(self, x0: Array | None = None) -> Array:
        """A checked start: x0, or zeros in the library, device and precision of the data."""
        if x0 is None:
            return zeros(self.operator.domain, self.data, self.batch)
        batch = check_array(x0, self.operator.domain, "The start x0")
        namespace(*leaves(x0), *leaves(self.data))
        if batch != self.batch:
            raise ShapeError(f"The start x0 must have the batch axes {self.batch} of the data, got {batch}.")
        dtype = leaves(zeros(self.operator.domain, self.data))[0].dtype
        if leaves(x0)[0].dtype != dtype:
            raise ArrayError(
                f"The start x0 must have the precision of the data, {dtype}, got {leaves(x0)[0].dtype}. Convert it."
            )
        if not finite(x0):
            raise ArrayError("The start x0 must be finite, got NaN or infinity.")
        return x0

    def require(self, owner: Any, name: str, solver: str, alternatives: str) -> Any:
        """A method that a solver needs of the operator, prior or loss, or a CapabilityError that says what to do."""
        method = capability(owner, name)
        if method is None:
            what = type(owner).__name__ if not isinstance(owner, Operator) else str(owner)
            raise CapabilityError(
                f"{solver} needs {what}.{name}, which it has not. Use {alternatives} instead."
            )
        return method


def _count_bad(data: Array) -> str:
    total = sum(
        leaf.size if isinstance(leaf, np.ndarray) else int(np.prod(leaf.shape)) for leaf in leaves(data)
    )
    bad = sum(int((~np.isfinite(as_numpy(leaf))).sum()) for leaf in leaves(data))
    return f"{bad} of {total} entries NaN or infinite"

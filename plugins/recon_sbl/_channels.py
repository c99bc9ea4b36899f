"""What approximate message passing needs of an operator: its products, and how variances go through it.

tau_p = |A|^2 v          spread: variances of x to those of A x
1 / tau_r = |A|^2T t     gather: precisions of the data to those of the entries

full       |A|^2 entry by entry                                      a Matrix; two products with |A|^2 more
mean       ||A||_F^2 / m mean(v),  ||A||_F^2 / n sum(t)              any operator
unitary    y' = U^H y,  A' = diag(l) V^H,  l_k^2 mean(v),  sum(l^2 t) / n
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from recon import Matrix, Operator, Problem
from recon.arrays import Array, as_numpy, device_of, from_numpy, namespace, norm, real_like
from recon.errors import CapabilityError
from recon.operator import capability
from recon_sbl._active import total
from recon_sbl._noise import whitened

__all__ = ["Channel", "Form", "channel"]

Form = Literal["auto", "full", "mean", "unitary"]

_PROBES = 16
"""Random signs by which ||A||_F^2 of an operator without a matrix is measured."""


@dataclass(frozen=True, eq=False)
class Channel:
    """y = A x + n, in the form that message passing works on.

    Parameters
    ----------
    data
        y or U^H y, batch axes in front.
    right, values
        A' is right, or diag(values) right in unitary form.
    squares
        |A|^2 as an operator ("full"), or None.
    power, powers
        ||A||_F^2 over n, and ||a_i||^2 of every entry where A is a Matrix (1 where that is 0), else power for all.
    count, rest
        Number of data of one sample, and the energy that U^H y leaves out, over all samples.
    s2
        Noise variance, None where it must be learned.
    """

    data: Array
    right: Operator
    values: Array
    squares: Operator | None
    power: float
    powers: Array
    count: int
    rest: float
    s2: float | None

    def forward(self, x: Array) -> Array:
        """A x."""
        image = self.right @ x
        return image if self.values is None else self.values * image

    def adjoint(self, s: Array) -> Array:
        """A^H s."""
        return self.right.H @ (s if self.values is None else self.values * s)

    def spread(self, v: Array) -> Array:
        """Variances of A x, given those of x."""
        if self.squares is not None:
            return self.squares @ v
        xp, mean = namespace(v), total(v) / float(np.prod(v.shape))
        if self.values is not None:
            return mean * self.values**2
        codomain: Any = self.right.codomain
        share = mean * self.power * float(np.prod(v.shape)) / self.count
        return share * xp.ones(codomain.shape, dtype=v.dtype, device=device_of(v))

    def gather(self, t: Array) -> Array:
        """Variances of the entries as the data see them, given precisions of the data."""
        domain: Any = self.right.domain
        xp = namespace(t)
        if self.squares is not None:
            precision = self.squares.H @ t
            largest = xp.max(precision)  # columns that are 0 are told nothing
            least = float(xp.finfo(t.dtype).eps) * xp.where(largest > 0, largest, xp.ones_like(largest))
            return 1.0 / xp.where(precision > least, precision, least + 0.0 * precision)
        if self.values is not None:
            precision = total(self.values**2 * t) / domain.size
        else:
            precision = self.power * total(t) / self.count
        return xp.ones(domain.shape, dtype=t.dtype, device=device_of(t)) / (precision or 1.0)


def channel(problem: Problem, form: Form, solver: str) -> Channel:
    """The channel of a problem; decompositions and squares are made once and kept with the operator.

    Raises
    ------
    CapabilityError
        For a form that the operator cannot serve.
    """
    operator, data, s2 = _white(problem, solver)
    rows, columns = operator.shape
    tight = capability(operator, "row_scale")
    svd = capability(operator, "svd")
    wide = isinstance(operator, Matrix) and min(operator.shape) > _LARGEST
    if form == "auto":
        small = tight or (svd and not wide)
        form = "unitary" if small else ("full" if isinstance(operator, Matrix) else "mean")
    if form == "full":
        if not isinstance(operator, Matrix):
            raise CapabilityError(
                f"{solver} with form 'full' needs a Matrix, got {operator!r}. Use form='auto'."
            )
        squares = operator._once("sbl squares", lambda: _squares(operator))
        power = float(np.sum(np.abs(operator.matrix) ** 2, dtype=np.float64)) / columns
        return Channel(data, operator, None, squares, power, _powers(operator, power, data), rows, 0.0, s2)
    if form == "mean":
        power = _power(operator, data)
        return Channel(data, operator, None, None, power, _powers(operator, power, data), rows, 0.0, s2)
    if tight:  # A A^H = c I: the operator is unitary already
        root, power = float(tight()) ** 0.5, float(tight()) * rows / columns
        values = real_like(np.full(_shape(operator.codomain), root), data)
        right = operator * (1.0 / (root or 1.0))
        return Channel(data, right, values, None, power, _powers(operator, power, data), rows, 0.0, s2)
    if not svd:
        raise CapabilityError(
            f"{solver} with form 'unitary' needs {operator!s}.svd or row_scale, which it has not. Use form='auto'."
        )
    found = svd()
    turned = found.U.H @ data
    values = real_like(np.broadcast_to(np.asarray(found.s), _shape(found.U.domain)), data)
    rest = max(norm(data) ** 2 - norm(turned) ** 2, 0.0)
    power = total(values**2) / columns
    return Channel(turned, found.V.H, values, None, power, _powers(operator, power, data), rows, rest, s2)


_LARGEST = 4000
"""Rows or columns up to which "auto" takes the singular value decomposition of a Matrix."""


def _powers(operator: Operator, power: float, like: Array) -> Array:
    """||a_i||^2 of every entry of a Matrix, else their mean."""
    domain: Any = operator.domain
    if isinstance(operator, Matrix):
        values = operator._once(
            "sbl powers", lambda: np.sum(np.abs(operator.matrix) ** 2, 0, dtype=np.float64)
        )
        return real_like(np.where(values > 0, values, 1.0).reshape(domain.shape), like)
    return real_like(np.full(domain.shape, power or 1.0), like)


def _white(problem: Problem, solver: str) -> tuple[Operator, Array, float | None]:
    """Operator, data and s2 of white noise; a whitened Matrix stays one."""
    operator, data, s2 = whitened(problem, solver)
    own = problem.operator
    if operator is own or not isinstance(own, Matrix):
        return operator, data, s2
    scale = as_numpy(operator.left.values).reshape(-1, 1)  # type: ignore[attr-defined]
    key = "sbl whitened " + hashlib.sha256(scale.tobytes()).hexdigest()
    made = own._once(key, lambda: Matrix(scale * own.matrix, own.domain_shape, own.codomain_shape))
    return made, data, s2


def _squares(operator: Matrix) -> Matrix:
    return Matrix(np.abs(operator.matrix) ** 2, operator.domain_shape, operator.codomain_shape)


def _power(operator: Operator, like: Array) -> float:
    """||A||_F^2 / n: exact where A A^H = c I, else by random signs."""
    rows, columns = operator.shape
    tight = capability(operator, "row_scale")
    if tight:
        return float(tight()) * rows / columns
    if isinstance(operator, Matrix):
        return float(np.sum(np.abs(operator.matrix) ** 2, dtype=np.float64)) / columns

    def measure() -> float:
        domain: Any = operator.domain
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (_PROBES, *domain.shape))
        return norm(operator @ from_numpy(signs, like, dtype=like.dtype)) ** 2 / (_PROBES * columns)

    return float(operator._once(f"sbl power {like.dtype}", measure))


def _shape(spec: Any) -> tuple[int, ...]:
    return spec.shape  # type: ignore[no-any-return]

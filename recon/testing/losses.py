"""The contract of losses.

    gradient(p, y)              agrees with central differences of value(p, y)
    curvature(y)                bounds the change of the gradient (infinity promises nothing)
    prox(v, t, y)               no swept point has a smaller value(p, y) + ||p - v||^2 / (2 t)
    prox_conjugate(v, s, y)     = v - s prox(v / s, 1 / s, y)                                 (Moreau)

``prox`` and ``prox_conjugate`` are checked where a loss has them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.arrays import (
    Array,
    ArraySpec,
    Spec,
    as_numpy,
    from_numpy,
    is_complex,
    leaves,
    namespace,
    norm,
    tmap,
)
from recon.errors import CapabilityError
from recon.losses import Loss
from recon.operator import capability
from recon.testing._common import (
    at_precision,
    check_kept,
    distance,
    draw,
    expect,
    fail,
    likes,
    quiet_division,
    real_size,
    same_bits,
    unchanged,
)
from recon.testing._prox import check_on_grid, check_sweeps
from recon.testing._smooth import check_gradient, check_lipschitz

__all__ = ["check_loss"]

_DATA = np.array([1.5, 0.0, 2.25, 4.0])
_TOL = 0.0  # closed forms: exact to rounding


def check_loss(
    loss: Loss, data: Array | None = None, *, like: Array | None = None, search: bool = True
) -> None:
    """Check that a loss keeps the contract of :class:`recon.Loss`.

    Parameters
    ----------
    loss
        The loss.
    data
        Data that it accepts, of the order of 1; by default four numbers >= 0. One or two numbers are compared
        with a dense grid, more are swept.
    like
        An array whose library and device to work in; that of the data by default.
    search
        Whether to search for points better than the prox.

    Raises
    ------
    AssertionError
        One sentence that names the loss and the rule it breaks.
    """
    expect(loss, Loss)
    data = _DATA if data is None else data
    for one in likes(data if like is None else like):
        y = _converted(data, one)
        with quiet_division():
            _check_calls(loss, y, one)
            if not at_precision(one, 0.0, 1.0):
                _check_mathematics(loss, y, one, search)


def _converted(data: Array, like: Any) -> Array:
    def convert(leaf: Any) -> Any:
        xp = namespace(like)
        single = at_precision(like, 0.0, 1.0)
        real, wide = (xp.float32, xp.complex64) if single else (xp.float64, xp.complex128)
        return from_numpy(as_numpy(leaf), like, dtype=wide if is_complex(leaf) else real)

    return tmap(convert, data)


def _spec(data: Array) -> Spec:
    parts = tuple(
        ArraySpec(tuple(leaf.shape), "complex" if is_complex(leaf) else "real") for leaf in leaves(data)
    )
    return parts if isinstance(data, tuple) else parts[0]


def _prediction(y: Array, like: Any, seed: int) -> Array:
    """A prediction at a distance of about 1 above the data, where every loss is finite."""
    noise = draw(_spec(y), like, seed)
    return tmap(lambda leaf, n: leaf + 0.5 + (n if is_complex(n) else namespace(n).abs(n)), y, noise)


def _check_calls(loss: Loss, y: Array, like: Any) -> None:
    loss.check_data(y)
    p = _prediction(y, like, 0)
    value = unchanged(loss, "value(p, y)", loss.value, p=p, y=y)
    if isinstance(value, bool) or not isinstance(value, float):
        fail(loss, f"give a Python float from value(p, y), not a {type(value).__name__}", "Write float(...).")
    maps: dict[str, Any] = {"gradient(p, y)": loss.gradient} if _has_gradient(loss, p, y) else {}
    prox: Any = capability(loss, "prox")
    if prox:
        maps["prox(v, t, y)"] = lambda v, y: prox(v, 0.8, y)
    for call, function in maps.items():
        out = unchanged(loss, call, function, p=p, y=y)
        check_kept(loss, call, out, _spec(y), p, ())
        if not same_bits(out, function(p, y)):
            fail(loss, f"give the same bits for the same input: a second {call} differs")


def _has_gradient(loss: Loss, p: Array, y: Array) -> bool:
    """A set has none and says so, but must have a prox."""
    try:
        loss.gradient(p, y)
    except CapabilityError:
        if capability(loss, "prox") is None:
            fail(loss, "have a gradient or a prox")
        return False
    return True


def _check_mathematics(loss: Loss, y: Array, like: Any, search: bool) -> None:
    spec = _spec(y)
    p, direction = _prediction(y, like, 1), draw(spec, like, 2)
    direction = tmap(lambda leaf: 0.3 * leaf / norm(direction), direction)
    if _has_gradient(loss, p, y):
        check_gradient(loss, lambda q: loss.value(q, y), lambda q: loss.gradient(q, y), p, direction)
    constant = loss.curvature(y)
    if constant is not None and not math.isinf(constant):
        check_lipschitz(loss, lambda q: loss.gradient(q, y), constant, p, direction)
    prox: Any = capability(loss, "prox")
    conjugate: Any = capability(loss, "prox_conjugate")
    if prox is None:
        if conjugate is not None:
            fail(loss, "have a prox where it has a prox_conjugate")
        return
    if conjugate is not None:
        _check_moreau(loss, prox, conjugate, y, like)
    if not search:
        return
    if isinstance(spec, ArraySpec) and real_size(spec) <= 2:
        check_on_grid(loss, lambda v, t: prox(v, t, y), lambda q: loss.value(q, y), spec, like, _TOL, True)
    check_sweeps(loss, lambda v, t: prox(v, t, y), lambda q: loss.value(q, y), spec, like, _TOL)


def _check_moreau(loss: Loss, prox: Any, conjugate: Any, y: Array, like: Any) -> None:
    for seed, s in enumerate((0.2, 1.0, 3.0)):
        v = draw(_spec(y), like, seed)
        inner = prox(tmap(lambda a, s=s: a / s, v), 1 / s, y)
        wanted = tmap(lambda a, b, s=s: a - s * b, v, inner)
        got = unchanged(loss, "prox_conjugate", lambda v, y, s=s: conjugate(v, s, y), v=v, y=y)
        if not distance(got, wanted) <= 1e-12 * (norm(v) + norm(wanted)):
            fail(
                loss,
                f"have prox_conjugate(v, s, y) = v - s prox(v/s, 1/s, y) (Moreau), which fails at s = {s}",
            )

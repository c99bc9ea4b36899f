"""The contract of operators.

    linear          A (a x + b z) = a A x + b A z
    adjoint         |<A x, y> - <x, A^H y>| <= 1e-12 ||A x|| ||y||  (1e-6 in single precision), and entry
                    by entry: matrix of A.H = conjugate transpose of that of A, to 1e-12 of the largest
    batch           A applied to a batch = A applied to each of its samples
    kept            input, library, device, precision; the same bits after a round trip through pickle

Everything is asked for in both precisions, of A and of A.H.
"""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np

from recon.arrays import Array, ArraySpec, Spec, leaves, members, namespace, norm, tmap
from recon.errors import ArrayError, ShapeError
from recon.linalg import adjoint_gap, axpy
from recon.operator import Operator
from recon.testing._capabilities import check_absolute_sums, check_capabilities
from recon.testing._common import (
    at_precision,
    check_kept,
    distance,
    draw,
    expect,
    fail,
    from_real,
    likes,
    real_size,
    same_bits,
    split_batch,
    to_real,
    unchanged,
)

__all__ = ["check_operator"]

_SEEDS = (0, 1, 2)
_BATCH = (2, 3)
_DENSE_LIMIT = 1_000_000  # entries of the real matrix
_REPR_LIMIT = 300


def check_operator(A: Operator, *, like: Array | None = None, batch: bool = True, dense: bool = True) -> None:
    """Check that an operator keeps the contract of :class:`recon.Operator`.

    Parameters
    ----------
    A
        The operator; small, where its dense matrix is compared (at most a million entries).
    like
        An array whose library and device to work in; NumPy by default. Both precisions are checked, unless
        ``like`` is of single precision.
    batch
        Whether to check batch axes.
    dense
        Whether to compare the matrices of A and A.H entry by entry.

    Raises
    ------
    AssertionError
        One sentence that names the operator and the rule it breaks.
    """
    expect(A, Operator)
    _check_specs(A)
    _check_text(A)
    for one in likes(like):
        _check_products(A, one)
        _check_linear(A, one)
        _check_gap(A, one)
        if batch:
            _check_batch(A, one)
        check_capabilities(A, one, _BATCH if batch else ())
    first = likes(like)[0]
    _check_refusals(A, first)
    _check_pickle(A, first)
    if dense:
        _check_dense(A, first)


def _check_specs(A: Operator) -> None:
    for name in ("domain", "codomain"):
        spec = getattr(A, name, None)
        parts = spec if isinstance(spec, tuple) else (spec,)
        if not parts or not all(isinstance(part, ArraySpec) for part in parts):
            fail(type(A), f"have a {name} that is an ArraySpec or a tuple of them")
    if (A.H.domain, A.H.codomain) != (A.codomain, A.domain):
        fail(A, "have an adjoint A.H whose specs are those of A, exchanged")


def _check_text(A: Operator) -> None:
    for name, text in (("repr", repr(A)), ("str", str(A))):
        if "\n" in text or len(text) > _REPR_LIMIT or "array(" in text or "tensor(" in text:
            fail(
                type(A),
                f"have a {name} of one line, at most {_REPR_LIMIT} characters, and no numbers of an array",
                "Define a short __str__.",
            )


def _both_ways(A: Operator) -> tuple[tuple[str, Operator, Spec, Spec], ...]:
    return ("A @ x", A, A.domain, A.codomain), ("A.H @ y", A.H, A.codomain, A.domain)


def _check_products(A: Operator, like: Any) -> None:
    for call, operator, source, target in _both_ways(A):
        x = draw(source, like, 0)
        out = unchanged(A, call, operator.__matmul__, x=x)
        check_kept(A, call, out, target, x, ())
        if not same_bits(out, operator @ x):
            fail(A, f"give the same bits for the same input: a second {call} differs")


def _check_linear(A: Operator, like: Any) -> None:
    tol = at_precision(like, 1e-12, 1e-5)
    kinds = {s.kind for s in (*members(A.domain), *members(A.codomain))}
    a, b = (0.7 - 0.4j, -1.3 + 0.2j) if kinds == {"complex"} else (0.7, -1.3)
    for call, operator, source, _ in _both_ways(A):
        x, z = draw(source, like, 3), draw(source, like, 4)
        together = operator @ axpy(a, x, tmap(lambda leaf: b * leaf, z))
        ax, az = operator @ x, operator @ z
        apart = axpy(a, ax, tmap(lambda leaf: b * leaf, az))
        if not distance(together, apart) <= tol * (abs(a) * norm(ax) + abs(b) * norm(az)):
            fail(A, f"be linear: {call} of a sum is not the sum of the products")


def _check_gap(A: Operator, like: Any) -> None:
    limit = at_precision(like, 1e-12, 1e-6)
    for seed in _SEEDS:
        gap = adjoint_gap(A, like=like, seed=seed)
        if not gap <= limit:
            fail(A, f"have an exact adjoint: the gap is {gap:.1e} and may be {limit:.0e} for {like.dtype}")


def _check_batch(A: Operator, like: Any) -> None:
    tol = at_precision(like, 1e-12, 1e-5)
    for call, operator, source, target in _both_ways(A):
        x = draw(source, like, 5, _BATCH)
        out = unchanged(A, f"{call} of a batch", operator.__matmul__, x=x)
        check_kept(A, f"{call} of a batch", out, target, x, _BATCH)
        for sample, image in zip(split_batch(x, source), split_batch(out, target), strict=True):
            alone = operator @ sample
            if not distance(image, alone) <= tol * max(norm(alone), norm(image)):
                fail(A, f"treat the axes in front as batch axes: {call} of a batch differs from a loop")


def _check_refusals(A: Operator, like: Any) -> None:
    for call, operator, source, _ in _both_ways(A):
        x = draw(source, like, 6)
        for wrong, error, what in _wrong_inputs(x, source):
            try:
                operator @ wrong
            except error:
                continue
            except Exception as other:
                fail(A, f"raise {error.__name__} in {call} for {what}, not {type(other).__name__}")
            fail(A, f"raise {error.__name__} in {call} for {what}", "Leave __matmul__ to the base class.")


def _wrong_inputs(x: Array, spec: Spec) -> list[tuple[Any, type[Exception], str]]:
    xp = namespace(*leaves(x))
    cases: list[tuple[Any, type[Exception], str]] = [
        (
            tmap(lambda leaf: xp.astype(xp.real(leaf) if _complex(xp, leaf) else leaf, xp.int64), x),
            ArrayError,
            "an integer array",
        ),
    ]
    if isinstance(spec, tuple):
        cases.append((x[0], ShapeError, "one array instead of a tuple"))
        cases.append(((*x, x[0]), ShapeError, "a tuple with a member too many"))
    if all(one.ndim for one in members(spec)):
        longer = tmap(lambda leaf: xp.concat([leaf, leaf], axis=-1), x)
        cases.append((longer, ShapeError, "a wrong shape"))
        cases.append((tmap(lambda leaf: leaf[0, ...], x), ShapeError, "a missing axis"))
    return cases


def _complex(xp: Any, leaf: Any) -> bool:
    return bool(xp.isdtype(leaf.dtype, "complex floating"))


def _check_pickle(A: Operator, like: Any) -> None:
    try:
        data = pickle.dumps(A)
        twin = pickle.loads(data)
    except Exception as error:
        fail(
            A,
            f"survive pickle, which raised {type(error).__name__}: {error}",
            "Keep no lambda and no open file.",
        )
    if b"_plans" in data:
        fail(A, "leave its plans behind when it is pickled", "Call super().__getstate__ in your own.")
    for call, operator, source, _ in _both_ways(A):
        x = draw(source, like, 7)
        other = twin if operator is A else twin.H
        if not same_bits(operator @ x, other @ x):
            fail(A, f"be the same after a round trip through pickle: {call} differs")


def _check_dense(A: Operator, like: Any) -> None:
    rows, columns = real_size(A.codomain), real_size(A.domain)
    if rows * columns > _DENSE_LIMIT:
        fail(A, "be small for the dense check", "Give a smaller operator, or dense=False.")
    forward, adjoint = _real_matrix(A, like), _real_matrix(A.H, like)
    check_absolute_sums(A, like, forward)
    largest = float(np.abs(forward).max())
    tol = at_precision(like, 1e-12, 1e-5)
    error = float(np.abs(adjoint - forward.T).max())
    if not error <= tol * largest:
        row, column = np.unravel_index(np.abs(adjoint - forward.T).argmax(), adjoint.shape)
        fail(
            A,
            f"have the conjugate transpose as its adjoint: entry ({row}, {column}) of the matrix of A.H "
            f"is off by {error / largest if largest else error:.1e} of the largest entry",
        )


def _real_matrix(A: Operator, like: Any) -> np.ndarray[Any, Any]:
    """The matrix on real numbers (real and imaginary parts), column by column: also right where only one side
    is complex, and where the operator is linear over the reals only."""
    count = real_size(A.domain)
    columns = [to_real(A @ from_real(unit, A.domain, like)) for unit in np.eye(count)]
    return np.stack(columns, axis=1)

"""What an operator offers beyond its two products must be true.

    normal(x)               = A^H A x
    norm_bound()            >= ||A||
    row_scale()             c with A A^H = c I; that of A.H is column_scale(), A^H A = c I
    normal_scale()          c with (A^H A)^2 = c A^H A
    absolute_sums(like)     at least the row and column sums of |A|
    data_prox(v, y, rho)    A^H (A x - y) + rho (x - v) = 0
    pinv(y)                 A^H (A x - y) = 0, and x has no part in the null space of A
    svd()                   A = U diag(s) V^H, U^H U = V^H V = identity, s >= 0
    factors                 A = kron(factors[0], factors[1], ...)

Each is checked where the operator has it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.arrays import Array, Spec, as_numpy, leaves, members, norm, real_like, tmap, vdot
from recon.kronecker import Kronecker
from recon.linalg import axpy
from recon.linalg import norm as operator_norm
from recon.operator import Operator, capability
from recon.testing._common import at_precision, check_kept, distance, draw, fail, unchanged

__all__ = ["check_absolute_sums", "check_capabilities"]

_RHOS = (0.05, 1.0, 20.0)


class _Bare(Operator):
    """The two products of an operator and nothing else: what the capabilities are compared with."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.domain, self.codomain = operator.domain, operator.codomain

    def _forward(self, x: Array) -> Array:
        return self.operator @ x

    def _adjoint(self, y: Array) -> Array:
        return self.operator.H @ y


def check_capabilities(A: Operator, like: Any, batch: tuple[int, ...]) -> None:
    """Check every capability that an operator has, on single samples and on a batch."""
    _check_norm_bound(A, like)
    for axes in {(), batch}:
        _check_normal(A, like, axes)
        _check_row_scale(A, like, axes)
        _check_row_scale(A.H, like, axes)
        _check_normal_scale(A, like, axes)
        _check_data_prox(A, like, axes)
        _check_pinv(A, like, axes)
        _check_svd(A, like, axes)
        _check_factors(A, like, axes)


def _check_norm_bound(A: Operator, like: Any) -> None:
    method = capability(A, "norm_bound")
    if method is None:
        return
    bound = method()
    if isinstance(bound, bool) or not isinstance(bound, int | float) or not 0 <= bound < math.inf:
        fail(A, "give a finite number >= 0 from norm_bound()")
    estimate = operator_norm(_Bare(A), like=like, iterations=100, tol=1e-7, margin=1.0)
    if not estimate <= bound * (1 + at_precision(like, 1e-10, 1e-5)):
        fail(A, f"have a norm_bound that is no less than its norm: {bound:.6g} against {estimate:.6g}")


def check_absolute_sums(A: Operator, like: Any, matrix: np.ndarray[Any, Any]) -> None:
    """Check the sums of |A| that an operator offers against those of its dense matrix (real form)."""
    method = capability(A, "absolute_sums")
    if method is None:
        return
    size = np.abs(matrix)
    for offered, spec, axis, name in zip(
        method(like), (A.codomain, A.domain), (1, 0), ("row", "column"), strict=True
    ):
        parts = offered if isinstance(offered, tuple) else tuple(offered for _ in members(spec))
        for part, wanted in zip(parts, _members_of(size.sum(axis), spec), strict=True):
            given = as_numpy(part) if hasattr(part, "shape") else np.asarray(float(part))
            if not (given + at_precision(like, 1e-10, 1e-5) * size.max() >= wanted).all():
                fail(A, f"have absolute_sums that are no less than its {name} sums of |A|")


def _members_of(sums: np.ndarray[Any, Any], spec: Spec) -> list[np.ndarray[Any, Any]]:
    """The sums per member; for complex entries a lower bound, 1 / sqrt(2) of those of the real form."""
    found, start = [], 0
    for one in members(spec):
        parts = 2 if one.kind == "complex" else 1
        block = sums[start : start + parts * one.size].reshape(parts, *one.shape)
        found.append(block.max(axis=0) / math.sqrt(parts))
        start += parts * one.size
    return found


def _check_normal(A: Operator, like: Any, batch: tuple[int, ...]) -> None:
    method = capability(A, "normal")
    if method is None:
        return
    x = draw(A.domain, like, 11, batch)
    out = unchanged(A, "normal", method, x=x)
    check_kept(A, "normal", out, A.domain, x, batch)
    wanted = A.H @ (A @ x)
    if not distance(out, wanted) <= at_precision(like, 1e-11, 1e-5) * norm(wanted):
        fail(A, "have a normal(x) that equals A.H @ (A @ x)")


def _check_row_scale(A: Operator, like: Any, batch: tuple[int, ...]) -> None:
    method = capability(A, "row_scale")
    if method is None:
        return
    c = method()
    if isinstance(c, bool) or not isinstance(c, int | float) or not 0 <= c < math.inf:
        fail(A, "give a finite number >= 0 from row_scale()")
    y = draw(A.codomain, like, 19, batch)
    wanted = tmap(lambda leaf: c * leaf, y)
    if not distance(A @ (A.H @ y), wanted) <= at_precision(like, 1e-11, 1e-5) * norm(wanted):
        fail(A, "have a row_scale() c with A A^H = c I")


def _check_normal_scale(A: Operator, like: Any, batch: tuple[int, ...]) -> None:
    method = capability(A, "normal_scale")
    if method is None:
        return
    once = A.H @ (A @ draw(A.domain, like, 23, batch))
    wanted = tmap(lambda leaf: method() * leaf, once)
    if not distance(A.H @ (A @ once), wanted) <= at_precision(like, 1e-11, 1e-5) * norm(wanted):
        fail(A, "have a normal_scale() c with (A^H A)^2 = c A^H A")


def _check_data_prox(A: Operator, like: Any, batch: tuple[int, ...]) -> None:
    method = capability(A, "data_prox")
    if method is None:
        return
    v, data = draw(A.domain, like, 12, batch), draw(A.codomain, like, 13, batch)
    for rho in _RHOS:
        x = unchanged(A, "data_prox", lambda v, data, rho=rho: method(v, data, rho), v=v, data=data)
        check_kept(A, "data_prox", x, A.domain, v, batch)
        back = A.H @ axpy(-1.0, data, A @ x)
        pull = tmap(lambda a, b, rho=rho: rho * (a - b), x, v)
        scale = norm(A.H @ data) + norm(A.H @ (A @ x)) + rho * (norm(v) + norm(x))
        if not norm(axpy(1.0, back, pull)) <= at_precision(like, 1e-10, 1e-4) * scale:
            fail(
                A, f"have a data_prox that solves A^H (A x - y) + rho (x - v) = 0, which fails at rho = {rho}"
            )


def _check_pinv(A: Operator, like: Any, batch: tuple[int, ...]) -> None:
    method = capability(A, "pinv")
    if method is None:
        return
    data = draw(A.codomain, like, 14, batch)
    x = unchanged(A, "pinv", method, data=data)
    check_kept(A, "pinv", x, A.domain, data, batch)
    residual = A.H @ axpy(-1.0, data, A @ x)
    scale = norm(A.H @ data) + norm(A.H @ (A @ x))
    if not norm(residual) <= at_precision(like, 1e-10, 1e-4) * scale:
        fail(A, "have a pinv whose result is a least-squares solution: A^H (A pinv(y) - y) = 0")
    # the projection of another x on the null space; where there is none, what is left is rounding
    other = draw(A.domain, like, 15, batch)
    null = axpy(-1.0, method(A @ other), other)
    if not abs(vdot(null, x).real) <= at_precision(like, 1e-9, 1e-3) * norm(other) * norm(x):
        fail(A, "have a pinv whose result is of least norm: it has a part in the null space of A")


def _check_svd(A: Operator, like: Any, batch: tuple[int, ...]) -> None:
    method = capability(A, "svd")
    if method is None:
        return
    U, s, V = method()
    if U.domain != V.domain or (U.codomain, V.codomain) != (A.codomain, A.domain):
        fail(
            A, "have an svd() = (U, s, V) with U and V from the same coefficients to its codomain and domain"
        )
    if any(np.iscomplexobj(one) or not (np.asarray(one) >= 0).all() for one in leaves(s)):
        fail(A, "have real singular values >= 0 in its svd()")
    tol = at_precision(like, 1e-11, 1e-5)
    coefficients = draw(U.domain, like, 16, batch)
    for name, basis in (("U", U), ("V", V)):
        if not distance(basis.H @ (basis @ coefficients), coefficients) <= tol * norm(coefficients):
            fail(A, f"have an svd() whose {name} has orthonormal columns")
    x = draw(A.domain, like, 17, batch)
    out = U @ tmap(lambda c, values: real_like(values, c) * c, V.H @ x, s)
    wanted = A @ x
    check_kept(A, "svd", out, A.codomain, x, batch)
    if not distance(out, wanted) <= tol * max(norm(wanted), norm(out)):
        fail(A, "have an svd() for which U diag(s) V^H is the operator")


def _check_factors(A: Operator, like: Any, batch: tuple[int, ...]) -> None:
    factors = getattr(A, "factors", None)
    if factors is None:
        return
    if not isinstance(factors, tuple) or not all(isinstance(one, Operator) for one in factors):
        fail(A, "have factors that are a tuple of operators, one per axis")
    product = Kronecker(factors)
    if (product.domain, product.codomain) != (A.domain, A.codomain):
        fail(A, "have factors whose Kronecker product has its specs")
    x = draw(A.domain, like, 18, batch)
    wanted = A @ x
    if not distance(product @ x, wanted) <= at_precision(like, 1e-11, 1e-5) * norm(wanted):
        fail(A, "have factors whose Kronecker product is the operator")

"""The contract of priors.

    prox(v, t)          no point of a global grid has a smaller f(z) + ||z - v||^2 / (2 t)
    prox_conjugate      v = prox(v, t) + t prox_conjugate(v / t, 1 / t)                       (Moreau)
    convex f            ||prox(v) - prox(w)||^2 <= <prox(v) - prox(w), v - w>
    f_s = s^2 f(. / s)  prox of f_s at s v is s prox of f at v, also for s = 1e20 and 1e-20
    gradient            agrees with central differences, and its Lipschitz constant with ``curvature()``
    split               f(x) = g(K x), with a sound operator K

Only what a prior has is checked; the last four in double precision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recon.arrays import Array, ArraySpec, Kind, Spec, norm, tmap, vdot
from recon.errors import ReconError
from recon.operator import Operator, capability
from recon.priors.base import Prior
from recon.testing._common import (
    at_precision,
    check_kept,
    distance,
    draw,
    expect,
    fail,
    likes,
    quiet_division,
    same_bits,
    split_batch,
    unchanged,
)
from recon.testing._prox import check_prox_global, check_prox_within
from recon.testing._smooth import check_smooth
from recon.testing.operators import check_operator

__all__ = ["check_prior"]

Scaling = Callable[[float], Prior]

_STEPS = (0.2, 1.0, 3.0)
_BATCH = (2, 2)
_SHAPES = ((4, 3), (6,), (2, 3, 4), (2, 2, 2, 3), (16, 16))  # the last for networks
_KNOWN = ("value", "prox", "gradient", "split", "denoise", "score")


def check_prior(
    prior: Prior,
    *,
    spec: Spec | None = None,
    convex: bool | None = None,
    rescale: Scaling | None = None,
    like: Array | None = None,
    tol: float | None = None,
    search: bool = True,
) -> None:
    """Check that a prior keeps the contract of :class:`recon.Prior`.

    Parameters
    ----------
    prior
        The prior, with weights and bounds of the order of 1.
    spec
        Arrays for the tests on random data; by default a small real and a complex one.
    convex
        Whether the prior claims to be convex; by default what its ``convex`` says.
    rescale
        s -> the prior s^2 f(x / s), for example ``lambda s: L1(s * w)``; None leaves out the test of scale.
    like
        An array whose library and device to work in; NumPy by default.
    tol
        Relative excess of the objective that the prox may have; by default the prior's own ``tol`` where it
        has one (an inner iteration), else 0: a closed form, exact to rounding.

    search
        Whether to search grids for points better than the prox: some 20,000 values per shape.

    Raises
    ------
    AssertionError
        One sentence that names the prior and the rule it breaks.
    """
    expect(prior, Prior)
    if not any(capability(prior, name) for name in _KNOWN):
        fail(prior, f"have at least one of {', '.join(_KNOWN)}")
    tol = tol if tol is not None else _declared(prior)
    convex = prior.convex if convex is None else convex
    specs = [spec] if spec is not None else _accepted(prior)
    with quiet_division():
        for one in likes(like):
            for each in specs:
                _check_calls(prior, each, one, tol)
        double = likes(like)[0]
        if at_precision(double, 0.0, 1.0):
            return  # the mathematics below is checked in double precision
        for each in specs:
            _check_moreau(prior, each, double, tol)
            _check_firm(prior, each, double, tol, convex)
            check_smooth(prior, capability(prior, "value"), draw(each, double, 5), draw(each, double, 6))
            _check_split(prior, each, double)
            if rescale is not None:
                _check_scale(prior, rescale, each, double, tol)
        if not search:
            return
        check_prox_global(prior, specs, double, tol, convex)
        check_prox_within(prior, double, tol)


def _declared(prior: Any) -> float:
    """The largest ``tol`` among a prior and its parts, 0 where there is none."""
    parts = [*getattr(prior, "terms", ()), *([prior.prior] if hasattr(prior, "prior") else [])]
    own = getattr(prior, "tol", None)
    found = [own] if isinstance(own, float) else []
    return max([0.0, *found, *map(_declared, parts)])


def _accepted(prior: Prior) -> list[Spec]:
    """The first real and the first complex shape that the prior takes."""
    check = capability(prior, "check_spec")
    found: list[Spec] = []
    kinds: tuple[Kind, ...] = ("real", "complex")
    for kind in kinds:
        for shape in _SHAPES:
            spec = ArraySpec(shape, kind)
            if check is None or _accepts(prior, check, spec):
                found.append(spec)
                break
    if not found:
        fail(
            prior,
            f"accept one of the shapes {', '.join(map(str, _SHAPES))}",
            "Else give spec=ArraySpec(...).",
        )
    return found


def _accepts(prior: Prior, check: Callable[[Spec], None], spec: Spec) -> bool:
    try:
        check(spec)
    except ReconError:
        return False
    except Exception as error:
        fail(prior, f"refuse a spec by a ReconError in check_spec, not by {type(error).__name__}")
    return True


# -- what every method keeps -----------------------------------------------------------------------------


def _check_calls(prior: Prior, spec: Spec, like: Any, tol: float) -> None:
    value, prox, gradient = (capability(prior, name) for name in ("value", "prox", "gradient"))
    x = draw(spec, like, 0)
    if value:
        got = unchanged(prior, "value(x)", value, x=x)
        if isinstance(got, bool) or not isinstance(got, float):
            fail(prior, f"give a Python float from value(x), not a {type(got).__name__}", "Write float(...).")
    maps: dict[str, Callable[[Array], Array]] = {}
    if prox:
        maps["prox(v, t)"] = lambda v: prox(v, 0.8)
    if gradient:
        maps["gradient(x)"] = gradient
    for call, function in maps.items():
        out = unchanged(prior, call, function, x=x)
        check_kept(prior, call, out, spec, x, ())
        if not same_bits(out, function(x)):
            fail(prior, f"give the same bits for the same input: a second {call} differs")
        _check_batch(prior, call, function, spec, like, tol)
    if value and prox:
        point = prox(x, 0.8)
        if not value(point) < float("inf"):
            fail(
                prior, "have a finite value at its own prox", "Allow for rounding when you judge feasibility."
            )


def _check_batch(
    prior: Prior, call: str, function: Callable[[Array], Array], spec: Spec, like: Any, tol: float
) -> None:
    x = draw(spec, like, 1, _BATCH)
    out = unchanged(prior, f"{call} of a batch", function, x=x)
    check_kept(prior, f"{call} of a batch", out, spec, x, _BATCH)
    slack = _slack(tol, at_precision(like, 1e-12, 1e-5))
    for sample, image in zip(split_batch(x, spec), split_batch(out, spec), strict=True):
        alone = function(sample)
        if not distance(image, alone) <= slack * (norm(alone) + norm(sample)):
            fail(prior, f"treat the axes in front as batch axes: {call} of a batch differs from a loop")


def _slack(tol: float, floor: float) -> float:
    """Relative error of a prox whose objective is ``tol`` too large: its square is of that order."""
    single = floor > 1e-6
    return max(floor, 3.0 * max(tol, 2e-6 if single else 0.0) ** 0.5) if tol else floor


# -- identities ------------------------------------------------------------------------------------------


def _check_moreau(prior: Prior, spec: Spec, like: Any, tol: float) -> None:
    prox, conjugate = capability(prior, "prox"), capability(prior, "prox_conjugate")
    if conjugate is None:
        return
    if prox is None:
        fail(prior, "have a prox where it has a prox_conjugate")
    for seed, t in enumerate(_STEPS):
        v = draw(spec, like, seed)
        q = unchanged(
            prior, "prox_conjugate", lambda u, t=t: conjugate(u, 1 / t), u=tmap(lambda a, t=t: a / t, v)
        )
        check_kept(prior, "prox_conjugate", q, spec, v, ())
        total = tmap(lambda a, b, t=t: a + t * b, prox(v, t), q)
        if not distance(total, v) <= _slack(tol, 1e-12) * norm(v):
            fail(
                prior,
                f"keep Moreau's identity v = prox(v, t) + t prox_conjugate(v/t, 1/t), which fails at t = {t}",
            )


def _check_firm(prior: Prior, spec: Spec, like: Any, tol: float, convex: bool) -> None:
    prox = capability(prior, "prox")
    if prox is None or not convex:
        return
    for seed, t in enumerate(_STEPS):
        v = draw(spec, like, 10 + seed)
        for far in (3.0, 0.1):
            w = tmap(lambda a, b, far=far: a + far * b, v, draw(spec, like, 20 + seed))
            moved = tmap(lambda a, b: a - b, prox(v, t), prox(w, t))
            apart = tmap(lambda a, b: a - b, v, w)
            slack = _slack(tol, 1e-12) * (norm(v) + norm(w)) * norm(apart)
            if not vdot(moved, moved).real <= vdot(moved, apart).real + slack:
                fail(
                    prior,
                    f"be firmly nonexpansive in its prox, which fails at t = {t}",
                    "Else say convex=False.",
                )


def _check_scale(prior: Prior, rescale: Scaling, spec: Spec, like: Any, tol: float) -> None:
    prox, value = capability(prior, "prox"), capability(prior, "value")
    if prox is None:
        return
    v = draw(spec, like, 30)
    for s in (1e20, 1e-20, 3.0):
        other: Any = rescale(s)
        wanted, got = prox(v, 0.8), other.prox(tmap(lambda a, s=s: s * a, v), 0.8)
        if not distance(tmap(lambda a, s=s: a / s, got), wanted) <= _slack(tol, 1e-12) * norm(v):
            fail(prior, f"be scale equivariant: prox of s^2 f(x/s) at s v is not s prox(v) for s = {s:g}")
        if value:
            left, right = other.value(got) / s / s, value(tmap(lambda a, s=s: a / s, got))
            if not abs(left - right) <= 1e-9 * abs(right):
                fail(prior, f"be scale equivariant: the rescaled value is not s^2 f(x/s) for s = {s:g}")


def _check_split(prior: Prior, spec: Spec, like: Any) -> None:
    split, value = capability(prior, "split"), capability(prior, "value")
    if split is None:
        return
    outer, operator = split(spec)
    if not isinstance(outer, Prior) or not isinstance(operator, Operator):
        fail(prior, "give a Prior and an Operator from split(spec)")
    if capability(outer, "prox") is None:
        fail(prior, f"split into a prior with a prox, which {type(outer).__name__} has not")
    check_operator(operator, like=like)
    x = draw(spec, like, 40)
    if value:
        inner: Any = outer
        if not abs(inner.value(operator @ x) - value(x)) <= 1e-10 * abs(value(x)):
            fail(prior, "split truly: value(x) is not the outer value of K x")

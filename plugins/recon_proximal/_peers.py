"""Solvers of other libraries, and PDHG by hand, on our problems: what `bench_convex` compares with.

Each is called with a number of iterations and a function that is given x after each one, or None. Not here: ODL's
accelerated proximal gradient (1.0.0 refuses the NumPy number that its own momentum is), SigPy's primal-dual method for
TV (its differences are circular) and its wavelets (extended by zeros), deepinv's FISTA for TV (`docs/benchmarks.md`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import recon
from recon import linalg

__all__ = [
    "by_hand",
    "modopt_fista",
    "odl_pdhg",
    "pylops_fista",
    "pyproximal_fista",
    "pyproximal_pdhg",
    "sigpy_fista",
    "sklearn_lasso",
]

Floats = np.ndarray[Any, Any]
Watch = Callable[[Any], None] | None


def _steps(operator: recon.Operator, ratio: float) -> tuple[float, float, float]:
    """tau, sigma and c for the stacked operator (A, c G) with ||A|| = c ||G||: tau sigma 2 ||A||^2 = 1."""
    size = linalg.norm(operator)
    return (ratio / 2.0) ** 0.5 / size, 1.0 / ((2.0 * ratio) ** 0.5 * size), size / 8.0**0.5


def by_hand(problem: Any, ratio: float, iterations: int, watch: Watch) -> Floats:
    """PDHG (Chambolle and Pock 2011) for 1/2 ||A x - y||^2 + w TV(x), both terms dual."""
    operator, data, weight = problem.operator, problem.data, problem.prior.weight
    tau, sigma, c = _steps(operator, ratio)
    x = ahead = np.zeros(operator.domain.shape)
    y, p, slope = np.zeros_like(data), np.zeros((2, *x.shape)), np.zeros((2, *x.shape))
    for _ in range(iterations):
        y = (y + sigma * (operator._forward(ahead) - data)) / (1.0 + sigma)
        slope[0, :-1] = ahead[1:] - ahead[:-1]
        slope[1, :, :-1] = ahead[:, 1:] - ahead[:, :-1]
        p += (c * c * sigma) * slope
        p /= np.maximum(np.sqrt(p[0] ** 2 + p[1] ** 2) / weight, 1.0)
        back = np.array(operator._adjoint(y))  # a copy: the adjoint of the identity is its argument
        back[:-1] -= p[0, :-1]
        back[1:] += p[0, :-1]
        back[:, :-1] -= p[1, :, :-1]
        back[:, 1:] += p[1, :, :-1]
        new = x - tau * back
        ahead, x = 2.0 * new - x, new
        if watch:
            watch(x)
    return x


def pyproximal_pdhg(problem: Any, ratio: float, iterations: int, watch: Watch) -> Any:
    """PrimalDual of PyProximal on the stacked operator (A, gradient)."""
    import pylops
    import pyproximal

    operator, shape, m = problem.operator, problem.operator.domain.shape, problem.data.size
    tau, sigma, c = _steps(operator, ratio)
    gradient = c * pylops.Gradient(shape, sampling=1.0, kind="forward", edge=False, dtype="float64")
    stacked = pylops.VStack([_linear(operator), gradient])
    outer = pyproximal.VStack(
        [
            pyproximal.L2(b=problem.data.ravel()),
            pyproximal.L21(ndim=2, sigma=problem.prior.weight / c),
        ],
        nn=[m, 2 * int(np.prod(shape))],
    )
    return pyproximal.optimization.primaldual.PrimalDual(
        pyproximal.Box(-1e30, 1e30),
        outer,
        stacked,
        x0=np.zeros(int(np.prod(shape))),
        tau=tau,
        mu=sigma,
        niter=iterations,
        gfirst=True,
        callback=None if watch is None else lambda x: watch(np.reshape(x, shape)),
    )


def odl_pdhg(problem: Any, ratio: float, iterations: int, watch: Watch) -> Any:
    """pdhg of ODL on the stacked operator (A, gradient)."""
    import odl

    shape = problem.operator.domain.shape
    tau, sigma, c = _steps(problem.operator, ratio)
    space = odl.uniform_discr([0.0] * len(shape), shape, shape)  # cells of size 1
    operator = _odl(problem.operator, space, odl.rn(problem.data.shape))
    gradient = c * odl.Gradient(space, method="forward", pad_mode="symmetric")
    stacked = odl.BroadcastOperator(operator, gradient)
    outer = odl.functionals.SeparableSum(
        0.5 * odl.functionals.L2NormSquared(operator.range).translated(problem.data),
        (problem.prior.weight / c) * odl.functionals.GroupL1Norm(gradient.range),
    )
    x = space.zero()
    odl.solvers.pdhg(
        x,
        odl.functionals.ZeroFunctional(space),
        outer,
        stacked,
        niter=iterations,
        tau=tau,
        sigma=sigma,
        callback=_odl_watch(watch),
    )
    return x.asarray()


def _linear(operator: Any) -> Any:
    """Our operator as one of PyLops."""
    import pylops

    dtype = np.complex128 if operator.domain.kind == "complex" else np.float64
    return pylops.FunctionOperator(
        lambda x: operator._forward(np.reshape(x, operator.domain.shape)).ravel(),
        lambda y: operator._adjoint(np.reshape(y, operator.codomain.shape)).ravel(),
        recon.arrays.size(operator.codomain),
        recon.arrays.size(operator.domain),
        dtype=dtype,
    )


def pylops_fista(problem: Any, weight: float, iterations: int, watch: Watch) -> Any:
    """fista of PyLops; its threshold is half of what it calls eps times the step."""
    import pylops

    shape = problem.operator.domain.shape
    return pylops.optimization.sparsity.fista(
        _linear(problem.operator),
        problem.data.ravel(),
        niter=iterations,
        eps=2.0 * weight,
        alpha=1.0 / linalg.norm(problem.operator) ** 2,
        tol=0.0,
        callback=None if watch is None else lambda x: watch(np.reshape(x, shape)),
    )[0]


def pyproximal_fista(problem: Any, weight: float, iterations: int, watch: Watch) -> Any:
    """ProximalGradient of PyProximal with the momentum of FISTA."""
    import pyproximal

    operator, shape = _linear(problem.operator), problem.operator.domain.shape
    return pyproximal.optimization.primal.ProximalGradient(
        pyproximal.L2(Op=operator, b=problem.data.ravel()),
        pyproximal.L1(sigma=weight),
        x0=np.zeros(operator.shape[1], problem.data.dtype),
        tau=1.0 / linalg.norm(problem.operator) ** 2,
        niter=iterations,
        acceleration="fista",
        callback=None if watch is None else lambda x: watch(np.reshape(x, shape)),
    )


def _odl(operator: Any, space: Any, range_: Any) -> Any:
    """Our operator as one of ODL."""
    import odl

    class Wrapped(odl.Operator):  # type: ignore[misc]
        def __init__(self, apply: Any, back: Any, domain: Any, range: Any) -> None:
            super().__init__(domain, range, linear=True)
            self.apply, self.back = apply, back

        def _call(self, x: Any) -> Any:
            return self.apply(x.asarray())

        @property
        def adjoint(self) -> Any:
            return Wrapped(self.back, self.apply, self.range, self.domain)

    return Wrapped(operator._forward, operator._adjoint, space, range_)


def _odl_watch(watch: Watch) -> Any:
    return None if watch is None else lambda x: watch(x.asarray())


def sigpy_fista(problem: Any, weight: float, iterations: int, watch: Watch) -> Any:
    """GradientMethod of SigPy, accelerated."""
    import sigpy

    operator, data = problem.operator, problem.data
    x = np.zeros(operator.domain.shape, data.dtype)
    method = sigpy.alg.GradientMethod(
        lambda v: operator._adjoint(operator._forward(v) - data),
        x,
        1.0 / linalg.norm(operator) ** 2,
        proxg=sigpy.prox.L1Reg(x.shape, weight),
        accelerate=True,
        max_iter=iterations,
    )
    while not method.done():
        method.update()
        if watch:
            watch(method.x)
    return method.x


def modopt_fista(problem: Any, weight: float, iterations: int, watch: Watch) -> Any:
    """ForwardBackward of ModOpt with its FISTA rule."""
    from modopt.opt.algorithms import ForwardBackward
    from modopt.opt.gradient import GradBasic
    from modopt.opt.linear import Identity
    from modopt.opt.proximity import SparseThreshold

    operator = problem.operator
    step = 1.0 / linalg.norm(operator) ** 2
    start = np.zeros(operator.domain.shape, problem.data.dtype)
    gradient = GradBasic(problem.data, operator._forward, operator._adjoint, verbose=False)
    prox = SparseThreshold(Identity(), weight)
    algorithm = ForwardBackward(
        start,
        gradient,
        prox,
        cost=None,
        beta_param=step,
        auto_iterate=False,
        metric_call_period=None,
        progress=False,
    )
    if watch is None:
        algorithm.iterate(max_iter=iterations)
        return algorithm.x_final
    for _ in range(iterations):
        algorithm._update()
        watch(algorithm._x_new)
    return algorithm._x_new


def sklearn_lasso(matrix: Floats, data: Floats, weight: float, iterations: int, watch: Watch) -> Any:
    """Coordinate descent of scikit-learn; an iteration is a sweep."""
    import warnings

    from sklearn.linear_model import Lasso

    def run(sweeps: int) -> Any:
        model = Lasso(weight / len(data), fit_intercept=False, max_iter=sweeps, tol=1e-14)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return model.fit(matrix, data).coef_

    if watch is None:
        return run(iterations)
    for sweeps in range(1, iterations + 1):
        watch(run(sweeps))
    return None

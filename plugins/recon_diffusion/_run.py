"""A problem as samplers see it: white noise of one level, an operator of norm 1, several chains, two clocks.

    A / L,   y / L,   sigma / L,       L = ||A||

so that one set of defaults serves CT, MRI and blur, and units of the data change nothing. Noise of different levels
is whitened first. Chains lie on one axis in front of the batch axes.

Noise depends on the seed, the number of the step and that of the chain, never on the batch: an image comes out the
same in any batch, and the first chains are the same however many there are. Images of one batch share the noise.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from recon import Diagonal, LeastSquares, Operator, Problem, WeightedLeastSquares, block_diag
from recon.arrays import (
    Array,
    ArraySpec,
    as_numpy,
    from_numpy,
    leaves,
    members,
    namespace,
    per_member,
    random_normal,
    real_like,
    tmap,
    zeros,
)
from recon.errors import CapabilityError
from recon.linalg import norm
from recon.noise import known
from recon.operator import capability
from recon.params import short
from recon_diffusion._each import conjugate_gradients, dots

__all__ = ["Clock", "Run", "check_problem", "operator_norm"]

_WIDE: dict[str, Any] = {"real": np.float64, "complex": np.complex128}


@dataclass
class Clock:
    """Seconds in the network and in the operator, since the run began in this process."""

    network: float = 0.0
    operator: float = 0.0


@dataclass(frozen=True)
class Run:
    """One step at work: the problem with norm 1, the chains, and what the step has cost.

    Parameters
    ----------
    problem
        As the user gave it.
    norm
        L.
    chains, seed, step
        How many chains; the seed of the run; the number of this step.
    """

    problem: Problem
    norm: float
    chains: int
    seed: int
    step: int
    calls: list[int] = field(default_factory=lambda: [0])

    # -- the problem -------------------------------------------------------------------------------------

    @cached_property
    def operator(self) -> Operator:
        """A / L, whitened."""
        made: Operator = self.problem.kept(
            f"unit operator {self.norm!r}", lambda: _whitened(self.problem).operator * (1.0 / self.norm)
        )
        return made

    @cached_property
    def data(self) -> Array:
        """y / L, whitened, with the chains in front."""
        white = self.problem.kept(
            f"unit data {self.norm!r}",
            lambda: tmap(lambda leaf: leaf * (1.0 / self.norm), _whitened(self.problem).data),
        )

        def repeat(leaf: Any) -> Any:
            return namespace(leaf).broadcast_to(leaf[None, ...], (self.chains, *leaf.shape))

        return tmap(repeat, white)

    @cached_property
    def sigma(self) -> float:
        """Noise level of y / L."""
        return _whitened(self.problem).sigma / self.norm

    @property
    def domain(self) -> ArraySpec:
        return self.problem.operator.domain  # type: ignore[return-value]

    @property
    def clock(self) -> Clock:
        made: Clock = self.problem.kept("clock", Clock)
        return made

    @property
    def scale(self) -> float:
        """What 1 is in the network, in units of the image."""
        return float(getattr(self.problem.prior, "scale", 1.0))

    # -- the prior ---------------------------------------------------------------------------------------

    def denoise(self, z: Array, s: float) -> Array:
        """D(z, s), counted and timed."""
        begin = time.perf_counter()
        prior: Any = self.problem.prior
        clean = prior.denoise(z, s)
        self._count(begin)
        return clean

    def denoise_vjp(self, z: Array, s: float) -> tuple[Array, Callable[[Array], Array]]:
        """D(z, s), and the function c -> J^T c of its Jacobian; counted as one call, and one for each J^T c."""
        begin = time.perf_counter()
        prior: Any = self.problem.prior
        clean, pull = prior.denoise_vjp(z, s)
        self._count(begin)

        def timed(cotangent: Array) -> Array:
            begin = time.perf_counter()
            value = pull(cotangent)
            self._count(begin)
            return value

        return clean, timed

    def spread(self, s: float) -> float:
        """r: typical standard deviation of x given z, of the prior, or s d / sqrt(s^2 + d^2) with d its scale."""
        own = capability(self.problem.prior, "spread")
        return float(own(s)) if own else s * self.scale / float(np.hypot(s, self.scale))

    def _count(self, begin: float) -> None:
        self.clock.network += time.perf_counter() - begin
        self.calls[0] += 1

    # -- the operator ------------------------------------------------------------------------------------

    def forward(self, x: Array) -> Array:
        return self.timed(self.operator.__matmul__, x)

    def adjoint(self, y: Array) -> Array:
        return self.timed(self.operator.H.__matmul__, y)

    def normal(self, x: Array) -> Array:
        fast = capability(self.operator, "normal")
        return self.timed(fast, x) if fast else self.adjoint(self.forward(x))

    def residual(self, x: Array, data: Array | None = None) -> Array:
        """A x - y, or A x less other data, the noise of a draw added."""
        return tmap(lambda a, b: a - b, self.forward(x), self.data if data is None else data)

    def reached(self) -> Array:
        """1 where an image can change the data, 0 elsewhere: outside a mask, in rows of zeros. All 1 for A = 0."""
        found: Array = self.problem.kept("reached data", self._find_reached)
        return found

    def _find_reached(self) -> Array:
        seen = self.forward(random_normal(self.domain, self.problem.data, np.random.default_rng(0)))
        some = any(bool(namespace(leaf).any(leaf != 0)) for leaf in leaves(seen))
        return tmap(lambda leaf: real_like((as_numpy(leaf) != 0.0) | (not some), leaf), seen)

    def count_reached(self) -> float:
        """How many real numbers the data are that an image can change."""
        doubled = [2.0 if one.kind == "complex" else 1.0 for one in members(self.problem.operator.codomain)]
        return sum(
            n * float(namespace(w).sum(w)) for n, w in zip(doubled, leaves(self.reached()), strict=True)
        )

    def gradient(self, x: Array, data: Array | None = None) -> Array:
        """A^H (A x - y)."""
        return self.adjoint(self.residual(x, data))

    def prox(
        self, v: Array, rho: float, iterations: int, tol: float = 1e-6, data: Array | None = None
    ) -> Array:
        """argmin 1/2 ||A x - y||^2 + rho/2 ||x - v||^2: in closed form, or by conjugate gradients from v."""
        closed = capability(self.operator, "data_prox")
        if closed:
            return self.timed(closed, v, self.data if data is None else data, rho)
        step = conjugate_gradients(
            lambda x: rho * x + self.normal(x),
            -1.0 * self.gradient(v, data),
            self.domain,
            iterations=iterations,
            tol=tol,
        )
        return v + step

    def timed(self, function: Callable[..., Array], *arguments: Any) -> Array:
        begin = time.perf_counter()
        value = function(*arguments)
        self.clock.operator += time.perf_counter() - begin
        return value

    # -- noise -------------------------------------------------------------------------------------------

    def noise(self, use: int = 0, spec: Any = None) -> Array:
        """Standard normal numbers like z (or of another spec), ones for each use within a step.

        For complex images real and imaginary part have variance 1 each.
        """
        spec = self.domain if spec is None else spec
        like, batch = self.problem.data, self.problem.batch
        made = [np.empty((self.chains, *one.shape), _WIDE[one.kind]) for one in members(spec)]
        # Philox with a counter per chain: a generator seeded by a hash for each would cost more than its numbers
        key = np.random.SeedSequence((self.seed, self.step, use)).generate_state(2, np.uint64)
        for chain in range(self.chains):
            rng = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, chain]))
            for drawn in made:
                parts = (drawn.real, drawn.imag) if drawn.dtype.kind == "c" else (drawn,)
                for part in parts:
                    part[chain] = rng.standard_normal(part.shape[1:])

        def moved(drawn: Any, like: Any) -> Any:
            values = from_numpy(drawn, like, dtype=like.dtype)
            if not batch:
                return values
            shape = tuple(drawn.shape[1:])
            values = namespace(values).reshape(values, (self.chains, *(1,) * len(batch), *shape))
            return namespace(values).broadcast_to(values, (self.chains, *batch, *shape))

        return tmap(moved, tuple(made) if isinstance(spec, tuple) else made[0], zeros(spec, like))

    def size(self, x: Array, spec: Any = None) -> Any:
        """||x|| of each image."""
        spec = self.domain if spec is None else spec
        squares = dots(x, x, spec)
        return namespace(squares).sqrt(squares)


def check_problem(problem: Problem, owner: str, vjp: bool = False) -> None:
    """Refuse a problem that is no quadratic loss of known noise, or whose prior is no single denoiser.

    Raises
    ------
    CapabilityError
        Naming the sampler and what it lacks.
    ParameterError
        When the noise level is not known.
    """
    if not isinstance(problem.loss, LeastSquares | WeightedLeastSquares):
        raise CapabilityError(
            f"{owner} needs a quadratic loss, got {type(problem.loss).__name__}. Use Pdhg or SkRock instead."
        )
    if capability(problem.prior, "denoise") is None:
        raise CapabilityError(
            f"{owner} needs a prior that denoises, got {short(problem.prior)}. "
            "Give a DiffusionPrior, a GaussianPrior or recon.priors.Denoiser(function)."
        )
    if vjp and capability(problem.prior, "denoise_vjp") is None:
        raise CapabilityError(
            f"{owner} needs {type(problem.prior).__name__}.denoise_vjp, which it has not. Use DiffPir or Dds instead."
        )
    if isinstance(problem.operator.domain, tuple):
        raise CapabilityError(f"{owner} needs one image, got a tuple of them. Use Pdhg instead.")
    if not isinstance(problem.loss, WeightedLeastSquares):
        known(problem, owner)


def operator_norm(problem: Problem) -> float:
    """||A|| of the whitened operator."""
    return norm(_whitened(problem).operator, like=problem.data) or 1.0


class _White(NamedTuple):
    """A, y and their one noise level."""

    operator: Operator
    data: Array
    sigma: float


def _whitened(problem: Problem) -> _White:
    """W^(1/2) A, W^(1/2) y and noise 1; A and y themselves where all entries have one noise level. Kept."""
    found: _White = problem.kept("whitened", lambda: _made_white(problem))
    return found


def _made_white(problem: Problem) -> _White:
    if isinstance(problem.loss, WeightedLeastSquares):
        given = per_member(problem.loss.weights, problem.data)
        roots = [np.sqrt(as_numpy(w).astype(np.float64)) for w in leaves(given)]
    else:
        sigma = known(problem, "A sampler")
        if isinstance(sigma, float):
            return _White(problem.operator, problem.data, sigma)
        roots = [1.0 / as_numpy(s).astype(np.float64) for s in leaves(per_member(sigma, problem.data))]
    level = float(roots[0].flat[0])
    if level > 0 and all((root == level).all() for root in roots):
        return _White(problem.operator, problem.data, 1.0 / level)
    parts = members(problem.operator.codomain)
    diagonals = tuple(
        Diagonal(_of_one_image(root, one.ndim), one.shape, one.kind)
        for root, one in zip(roots, parts, strict=True)
    )
    whiten = block_diag(*diagonals) if isinstance(problem.operator.codomain, tuple) else diagonals[0]
    return _White(whiten @ problem.operator, whiten @ problem.data, 1.0)


def _of_one_image(root: Any, ndim: int) -> Any:
    """Without batch axes, where all images have the same."""
    while root.ndim > ndim:
        if not (root == root[:1]).all():
            raise CapabilityError(
                "A sampler needs the same noise levels for all images of a batch, got different ones. "
                "Solve the images one by one."
            )
        root = root[0]
    return root

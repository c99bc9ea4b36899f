"""Volumes from a prior of slices: what DDS-3D and DiffusionMBIR share, a total variation between the slices.

    min over x   1/2 ||A x - y||^2 + gamma/2 ||x - x0||^2 + rho t ||D x||_1,     (D x)[k] = x[k + 1] - x[k]

with gamma = lambda sigma^2 / s^2, by one iteration of ADMM at each noise level s, from x0, d = soft(D x0, t) and
u = D x0 - d (as published, split d and multiplier u go on from level to level):

    x <- some conjugate gradients on (A^H A + gamma + rho D^T D) x = A^H y + gamma x0 + rho D^T (d - u)
    d <- soft(D x + u, t)
    u <- u + D x - d

One array w = D x + u holds both: d = soft(w, t), u = w - d; where they begin anew it is D x0, and not kept. Where A
acts slice by slice (``EachSlice``) the equation is solved slab by slab, the neighbours held (block Gauss-Seidel, up and
down in turn). So a step needs x and some slabs, and network and operator see one slab at a time: the volume may be
larger than a GPU.

Noise depends on seed, step, chain and slice: it is drawn again where it is needed, and never kept.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from annotated_types import Ge, Gt

from recon import LeastSquares, Problem
from recon.arrays import Array, ArraySpec, clip, from_numpy, is_complex, leaves, namespace, vdot
from recon.errors import ShapeError
from recon.linalg import norm, normal
from recon.noise import known
from recon.params import Doc
from recon_diffusion._each import conjugate_gradients
from recon_diffusion._examples import gaussian_blur
from recon_diffusion._run import Run, check_problem, operator_norm
from recon_diffusion.laws import noise_levels
from recon_diffusion.sampler import Sampler, SamplerState, discrepancy

__all__ = ["Boundary", "Slabs", "VolumeSampler", "VolumeState", "blurred_volume"]

Boundary: TypeAlias = Literal["neumann", "periodic"]
"""What follows the last slice: itself, or the first one."""

_FAR = 10.0  # a noise level that hides any image, in units of the prior's scale


@dataclass(frozen=True)
class VolumeState(SamplerState):
    """What a run on a volume goes on from.

    ``split`` is w = D x + u of each chain, slice k for the step from k to k + 1; () where it begins anew. ``z`` is the
    next noisy volume without what is drawn anew; where nothing else is in it, it is ``clean`` itself. ``x`` is
    ``clean`` itself for one chain. Of :class:`DiffusionMbir` ``z`` is the noise alone.
    """

    split: Array | tuple[()] = ()


@dataclass(frozen=True)
class VolumeSampler(Sampler):
    """Base of the samplers of volumes (slices, rows, columns) with a prior of slices.

    Parameters
    ----------
    steps, chains, high, low, grid, diversity
        See :class:`Sampler`. The first level is that of half the range of the values: from higher ones few steps have
        less to spend where the image takes shape.
    coupling
        rho, weight of the coupling between slices, for an operator of norm 1.
    threshold
        t, steps between slices up to this size are smoothed away; in units of the prior's scale.
    boundary
        ``"neumann"``, or ``"periodic"`` as in the papers' code: it couples the first slice with the last.
    balance
        lambda of gamma = lambda sigma^2 / s^2: the larger, the more the prior counts against the data; 0 as in the
        papers, for data without noise.
    inner
        Conjugate gradients of a data step.
    slab
        Slices that the data step solves for at once, where the operator acts slice by slice.
    in_place
        Work in the arrays of the state that a step is given: two volumes instead of four, and the state is used up.
    """

    high: Annotated[float, Gt(0), Doc("first noise level, in units of the prior's scale")] = 1.0
    coupling: Annotated[float, Gt(0), Doc("rho, weight of the coupling between slices")] = 0.05
    threshold: Annotated[
        float, Ge(0), Doc("steps between slices that vanish, in units of the prior's scale")
    ] = 0.02
    boundary: Annotated[Boundary, Doc("what follows the last slice: itself, or the first one")] = "neumann"
    balance: Annotated[float, Ge(0), Doc("lambda, weight of the prior in the data step")] = 0.1
    inner: Annotated[int, Ge(1), Doc("conjugate gradients of a data step")] = 5
    slab: Annotated[int, Ge(1), Doc("slices that the data step solves for at once")] = 4
    in_place: Annotated[bool, Doc("work in the arrays of the state given, which is used up")] = False

    state_type = VolumeState

    # -- the run -----------------------------------------------------------------------------------------

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> VolumeState:
        """x0, or about the mean of the prior, as the estimate around which the first step draws its noise."""
        owner = type(self).__name__
        check_problem(problem, owner, self.needs_vjp)
        spec: Any = problem.operator.domain
        if spec.ndim < 3:
            raise ShapeError(
                f"{owner} needs a volume (slices, rows, columns), got {spec}. "
                "Make one operator for all slices: EachSlice(operator, count)."
            )
        x = problem.start(x0)
        if x0 is not None:
            x = x + 0.0  # a step in place must not touch the caller's
        scale = float(getattr(problem.prior, "scale", 1.0))
        levels = noise_levels(problem.prior, self.grid, self.steps, self.high * scale, self.low * scale)
        clean = x[None, ...]
        if self.chains > 1:
            clean = namespace(x).broadcast_to(clean, (self.chains, *x.shape)) + 0.0
        run = Run(problem, volume_norm(problem), self.chains, seed, 0)
        if x0 is None:
            clean += self._mean_image(run, clean)
        state = VolumeState(0, self.mean(clean), clean, clean, levels, 0, run.norm, seed, False)
        return self.begin(run, state)

    def _mean_image(self, run: Run, like: Array) -> Array:
        """About the mean of the prior, for all slices: one image denoised from noise far above those of images.

        What no data see would else remember for many steps that it began at 0.
        """
        s = noise_levels(run.problem.prior, "log", 1, _FAR * run.scale, self.low * run.scale)[0]
        return run.denoise(s * Slabs(run, 1).noise(0, 1, 2, like), s)

    def begin(self, run: Run, state: Any) -> VolumeState:
        """The first state; the first step draws the noise."""
        begun: VolumeState = state
        return begun

    def step(self, problem: Problem, state: Any) -> Any:
        if state.settled:
            return replace(state, iteration=state.iteration + 1)
        run = Run(problem, state.norm, self.chains, state.seed, state.iteration + 1)
        s, after = state.levels[state.iteration], state.levels[state.iteration + 1]
        new = self.advance(run, state, s, after)
        done = state.iteration + 1
        settled = done + 1 == len(state.levels)
        x = state.x if new.clean is state.clean and self.chains == 1 else self.mean(new.clean)
        fit = self._discrepancy(run, new.clean) if settled else 0.0
        return replace(new, iteration=done, x=x, settled=settled, discrepancy=fit)

    def measure(self, problem: Problem, state: Any) -> dict[str, float]:
        """As for all samplers, slab by slab where the operator acts slice by slice."""
        if slice_operator(problem) is None:
            return super().measure(problem, state)
        run = Run(problem, state.norm, self.chains, state.seed, state.iteration)
        volume, one = Slabs(run, self.slab), problem.operator.slice_operator  # type: ignore[attr-defined]
        loss = 0.0
        for lo, hi in volume.parts():
            data = problem.data[volume.at(lo, hi, one.codomain.ndim + 1)]
            loss += problem.loss.value(one @ state.x[volume.at(lo, hi)], data)
        return {
            "objective": loss + (problem.penalty(state.x) if problem.valued else 0.0),
            "loss": loss,
            "sigma": state.levels[min(state.iteration, len(state.levels) - 1)],
            "discrepancy": state.discrepancy or self._discrepancy(run, state.clean),
            "calls": float(state.calls),
            "network_seconds": run.clock.network,
            "operator_seconds": run.clock.operator,
        }

    def _discrepancy(self, run: Run, clean: Array) -> float:
        """||A x - y|| / (sigma sqrt(m)), as for all samplers."""
        volume, data = Slabs(run, self.slab), run.problem.data
        if volume.slice_operator is None:
            return discrepancy(run, clean)
        misfits = (volume.residual(clean[volume.at(lo, hi)], lo, hi) for lo, hi in volume.parts())
        squares = sum(float(np.real(vdot(one, one))) for one in misfits)
        numbers = math.prod(data.shape) * self.chains * (2 if is_complex(data) else 1)
        return math.sqrt(squares / numbers) / run.sigma

    # -- what the methods are made of --------------------------------------------------------------------

    def mean(self, clean: Array) -> Array:
        """The mean over the chains; one chain as it is, without a copy."""
        return clean[0, ...] if self.chains == 1 else namespace(clean).mean(clean, axis=0)

    def output(self, x: Array) -> Array:
        """Where the next x goes: x itself in place, else a new array."""
        return x if self.in_place else namespace(x).empty_like(x)

    def data_step(self, run: Run, x: Array, split: Array | None, s: float) -> Array | None:
        """One iteration of ADMM at level s; x is changed in place, the next w is returned.

        Without w it begins anew, at w = D x and u = 0, and nothing is kept.
        """
        volume = Slabs(run, self.slab)
        size, gamma = self.threshold * run.scale, self.balance * (run.sigma / s) ** 2
        order = list(volume.parts())
        before = _Before(volume, x, self.boundary)
        for lo, hi in order if run.step % 2 else order[::-1]:
            part = volume.at(lo, hi)
            here = x[part]
            aim = before.steps(x, lo, hi) if split is None else self._kept_steps(volume, split, lo, hi)
            fall = self._pull(volume, x, _aim(aim, size), lo, hi)
            fall *= -self.coupling
            fall -= volume.gradient(here, lo, hi)
            spec = ArraySpec((hi - lo, *run.domain.shape[1:]), run.domain.kind)
            ends = self._ends(lo, hi, volume.count)

            def apply(p: Array, ends: Any = ends) -> Array:
                left, right = (None if place is None else p[volume.at(place, place + 1)] for place in ends)
                out = volume.second(p, left, right)
                out *= self.coupling
                out += volume.normal(p)
                out += gamma * p
                return out

            x[part] = here + conjugate_gradients(apply, fall, spec, iterations=self.inner)
        return None if split is None else self._next_split(volume, x, split, size)

    def _ends(self, lo: int, hi: int, count: int) -> tuple[int | None, int | None]:
        """Which slices of a direction of search lie beside its first and last; None: slices that are held."""
        whole = self.boundary == "periodic" and (lo, hi) == (0, count)
        mirror = self.boundary == "neumann"
        left = hi - lo - 1 if whole else (0 if lo == 0 and mirror else None)
        right = 0 if whole else (hi - lo - 1 if hi == count and mirror else None)
        return left, right

    def _kept_steps(self, volume: Slabs, split: Array, lo: int, hi: int) -> Array:
        """w of the steps to and from the slices of a slab: one more than there are slices."""
        below = lo - 1 if lo > 0 else volume.count - 1  # 0 there, unless periodic
        parts = (split[volume.at(below, below + 1)], split[volume.at(lo, hi)])
        return namespace(split).concat(parts, axis=-volume.run.domain.ndim)

    def _pull(self, volume: Slabs, x: Array, aim: Array, lo: int, hi: int) -> Array:
        """D^T (D x - aim) on a slab."""
        last = volume.count - 1
        periodic = self.boundary == "periodic"
        left = lo - 1 if lo > 0 else (last if periodic else 0)
        right = hi if hi <= last else (0 if periodic else last)
        total = volume.second(
            x[volume.at(lo, hi)], x[volume.at(left, left + 1)], x[volume.at(right, right + 1)]
        )
        total += aim[volume.at(1, None)]
        total -= aim[volume.at(None, -1)]
        return total

    def _next_split(self, volume: Slabs, x: Array, split: Array, size: float) -> Array:
        """w = D x + u."""
        new = self.output(split)
        for lo, hi in volume.parts():
            steps = -1.0 * x[volume.at(lo, hi)]
            end = min(hi + 1, volume.count)
            steps[volume.at(0, end - lo - 1)] += x[volume.at(lo + 1, end)]
            if hi == volume.count:
                steps[volume.at(hi - lo - 1, None)] += (
                    x[volume.at(0, 1)] if self.boundary == "periodic" else x[volume.at(hi - 1, hi)]
                )
            new[volume.at(lo, hi)] = steps + _clipped(split[volume.at(lo, hi)], size)
        return new


class _Before:
    """Steps between slices as they were before a data step, of which the neighbours of a slab are kept."""

    def __init__(self, volume: Slabs, x: Array, boundary: Boundary) -> None:
        self.volume, self.boundary = volume, boundary
        self.ends = {k: x[volume.at(k, k + 1)] + 0.0 for k in {0, volume.count - 1}}
        self.near: dict[int, Array] = {}

    def steps(self, x: Array, lo: int, hi: int) -> Array:
        """D x at lo - 1 to hi - 1, as it was; to be asked once for each slab, upwards or downwards."""
        volume, last = self.volume, self.volume.count - 1
        periodic = self.boundary == "periodic"
        left = lo - 1 if lo > 0 else (last if periodic else 0)
        right = hi if hi <= last else (0 if periodic else last)
        here = x[volume.at(lo, hi)]
        kept = self.ends | self.near
        beside = [kept[k] if k in kept else x[volume.at(k, k + 1)] for k in (left, right)]
        self.near = {k: x[volume.at(k, k + 1)] + 0.0 for k in (lo, hi - 1)}
        xp = namespace(x)
        whole = xp.concat((beside[0], here, beside[1]), axis=-volume.run.domain.ndim)
        return whole[volume.at(1, None)] - whole[volume.at(None, -1)]


@dataclass(frozen=True)
class Slabs:
    """A volume, part by part: products with the operator and differences on a slab."""

    run: Run
    size: int

    @property
    def count(self) -> int:
        return self.run.domain.shape[0]

    @property
    def slice_operator(self) -> Any:
        """The operator on a slice, of norm 1; None where the operator, or the noise, is no stack of slices."""
        problem = self.run.problem
        one = slice_operator(problem)
        return (
            None
            if one is None
            else problem.kept(f"slice {self.run.norm!r}", lambda: one * (1.0 / self.run.norm))
        )

    def parts(self, size: int | None = None) -> Iterator[tuple[int, int]]:
        """First slices and ends of the slabs; one slab where the operator needs the whole volume."""
        size = size or (self.count if self.slice_operator is None else self.size)
        for lo in range(0, self.count, size):
            yield lo, min(lo + size, self.count)

    def images(self) -> Iterator[tuple[int, int]]:
        """The same for the network: as many slices as it takes at once."""
        batch = math.prod(self.run.problem.batch) * self.run.chains
        return self.parts(max(1, int(getattr(self.run.problem.prior, "batch", self.size)) // batch))

    def at(self, lo: int | None, hi: int | None, axes: int | None = None) -> tuple[Any, ...]:
        """The index of slices lo to hi of a volume, or of data with that many axes a volume."""
        axes = self.run.domain.ndim if axes is None else axes
        return (Ellipsis, slice(lo, hi), *[slice(None)] * (axes - 1))

    def normal(self, x: Array) -> Array:
        """A^H A x of a slab."""
        one = self.slice_operator
        return self.run.normal(x) if one is None else self._timed(lambda: normal(one, x))

    def gradient(self, x: Array, lo: int, hi: int) -> Array:
        """A^H (A x - y) of a slab."""
        one = self.slice_operator
        if one is None:
            return self.run.gradient(x)
        return self._timed(lambda: one.H @ self.residual(x, lo, hi))

    def residual(self, x: Array, lo: int, hi: int) -> Array:
        """A x - y of a slab, of an operator that acts slice by slice."""
        one = self.slice_operator
        return one @ x - self.run.data[self.at(lo, hi, one.codomain.ndim + 1)]

    def second(self, x: Array, left: Array | None, right: Array | None) -> Array:
        """D^T D x: 2 x less its neighbours; those beyond the slab are given, or 0."""
        out = 2.0 * x
        out[self.at(1, None)] -= x[self.at(None, -1)]
        out[self.at(None, -1)] -= x[self.at(1, None)]
        if left is not None:
            out[self.at(0, 1)] -= left
        if right is not None:
            out[self.at(-1, None)] -= right
        return out

    def noise(self, lo: int, hi: int, use: int, like: Array) -> Array:
        """Standard normal numbers, a new array, for slices lo to hi of each chain; images of a batch share them."""
        shape, chains = self.run.domain.shape[1:], self.run.chains
        kind = np.float32 if leaves(like)[0].dtype in _single(like) else np.float64
        drawn = np.empty((2 if is_complex(like) else 1, chains, hi - lo, *shape), dtype=kind)
        for chain in range(chains):
            for k in range(lo, hi):
                rng = np.random.default_rng((self.run.seed, self.run.step, use, chain, k))
                for values in drawn:
                    values[chain, k - lo] = rng.standard_normal(shape)
        made = drawn[0] + 1j * drawn[1] if len(drawn) == 2 else drawn[0]
        batch = self.run.problem.batch
        made = made.reshape(chains, *(1,) * len(batch), hi - lo, *shape)
        if batch:
            made = np.array(np.broadcast_to(made, (chains, *batch, hi - lo, *shape)))
        return from_numpy(made, like)

    def _timed(self, function: Callable[[], Array]) -> Array:
        begin = time.perf_counter()
        value = function()
        self.run.clock.operator += time.perf_counter() - begin
        return value


def slice_operator(problem: Problem) -> Any:
    """The operator on one slice, where the volume's is one for each and the noise is the same everywhere."""
    own = getattr(problem.operator, "slice_operator", None)
    even = type(problem.loss) is LeastSquares and isinstance(known(problem, "A sampler of volumes"), float)
    return own if even else None


def volume_norm(problem: Problem) -> float:
    """||A||; that of one slice is that of all."""
    own = slice_operator(problem)
    if own is None:
        return operator_norm(problem)
    return norm(own, like=problem.data) or 1.0


def _single(like: Array) -> tuple[Any, Any]:
    xp = namespace(like)
    return xp.float32, xp.complex64


def _clipped(w: Array, size: float) -> Array:
    """u = w - soft(w, t): values no larger than t."""
    if not is_complex(w):
        return clip(w, -size, size)
    xp = namespace(w)
    length = xp.abs(w)
    return w * (size / xp.where(length > size, length, size + 0 * length) if size else 0.0)


def _aim(w: Array, size: float) -> Array:
    """d - u."""
    return w - 2.0 * _clipped(w, size)


def blurred_volume(slices: int = 5, size: int = 8) -> Problem:
    """A volume whose slices are blurred, and much alike, with noise of level 0.02; the prior knows one slice."""
    from recon_operators.slices import EachSlice

    one = gaussian_blur(size)
    prior: Any = one.prior
    ends = prior.draw(2, seed=3)
    share = np.linspace(0.0, 1.0, slices)[:, None, None]
    blur = EachSlice(one.operator, slices)
    clean = blur @ ((1.0 - share) * ends[0] + share * ends[1])
    noise = 0.02 * np.random.default_rng(5).standard_normal(clean.shape)
    return Problem(blur, clean + noise, prior, noise=0.02)

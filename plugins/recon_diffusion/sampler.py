"""The one loop of all samplers: estimate the clean image, make it fit the data, go down one noise level.

    z at level s_k   ->   D(z, s_k)   ->   diversity   ->   data step   ->   z at level s_(k+1)

in variance-exploding units, z = x + s n. A method is a subclass with one method ``advance``, the data step and the
transition; levels, chains, seeds, counts of network calls, mean and spread are here.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt

from recon import Problem, Solver, State
from recon.arrays import Array, is_complex, namespace, tmap
from recon.errors import ParameterError
from recon.params import Doc
from recon.stopping import MaxIterations, Rule
from recon_diffusion._each import dots
from recon_diffusion._run import Run, check_problem, operator_norm
from recon_diffusion.diversity import Diversity
from recon_diffusion.laws import Grid, noise_levels

__all__ = ["Sampler", "SamplerState", "discrepancy"]

_FITTING = (0.7, 1.4)  # discrepancies that call for no remark


@dataclass(frozen=True)
class SamplerState(State):
    """What a run goes on from.

    ``x`` is the mean over the chains; ``z`` and ``clean`` have the chains in front of the batch axes: the image at
    the present noise level, and the last estimate that fits the data. ``levels`` are the noise levels, 0 at the end;
    ``calls`` counts calls of the network; ``norm`` is ||A|| of the whitened problem. ``discrepancy`` is that of
    :meth:`Sampler.measure` once the last level is reached, 0 before.
    """

    z: Array
    clean: Array
    levels: tuple[float, ...]
    calls: int
    norm: float
    seed: int
    settled: bool
    discrepancy: float = field(default=0.0, kw_only=True)


@dataclass(frozen=True)
class Sampler(Solver):
    """Base of the diffusion samplers: chains walk down the noise levels of the prior.

    Parameters
    ----------
    steps
        Noise levels to walk through.
    chains
        Independent chains, as one batch. ``Result.samples`` has them in front, ``Result.x`` is their mean and, from
        two chains on, ``Result.variance`` their variance.
    high, low
        First and last noise level, in units of the prior's scale (half the range of its values).
    grid
        How the levels are spaced: ``"log"``, ``"karras"`` (rho = 7), ``"uniform"`` or ``"quadratic"`` in the steps
        of the linear law.
    diversity
        Pushes the chains apart; None leaves them alone.
    """

    steps: Annotated[int, Ge(1), Doc("noise levels to walk through")] = 30
    chains: Annotated[int, Ge(1), Doc("independent chains")] = 1
    high: Annotated[float, Gt(0), Doc("first noise level, in units of the prior's scale")] = 10.0
    low: Annotated[float, Gt(0), Doc("last noise level, in units of the prior's scale")] = 0.02
    grid: Annotated[Grid, Doc("spacing of the noise levels")] = "log"
    diversity: Annotated[Diversity | None, Doc("pushes the chains apart")] = None

    state_type = SamplerState
    needs_vjp: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.high > self.low:
            name = type(self).__name__
            raise ParameterError(
                f"{name}.high must be above {name}.low, got {self.high:g} and {self.low:g}. Exchange them."
            )

    # -- to be defined by a method -----------------------------------------------------------------------

    @abstractmethod
    def advance(self, run: Run, state: Any, s: float, after: float) -> SamplerState:
        """The state with the next ``z``, at level ``after`` (0 at the end), and the new ``clean``.

        ``run.denoise``, ``run.prox``, ``run.gradient`` and ``run.noise`` do the work; call ``self.guided`` on the
        estimate before the data step.
        """

    # -- what all have -----------------------------------------------------------------------------------

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> SamplerState:
        """Pure noise of the first level, around x0 where one is given."""
        check_problem(problem, type(self).__name__, self.needs_vjp)
        x = problem.start(x0)
        scale = float(getattr(problem.prior, "scale", 1.0))
        levels = noise_levels(problem.prior, self.grid, self.steps, self.high * scale, self.low * scale)
        run = Run(problem, operator_norm(problem), self.chains, seed, 0)
        run.clock.network = run.clock.operator = 0.0  # the problem may have been solved before
        xp = namespace(x)
        clean = xp.broadcast_to(x[None, ...], (self.chains, *x.shape)) + 0.0
        return self.begin(run, SamplerState(0, x, clean, clean, levels, 0, run.norm, seed, False))

    def begin(self, run: Run, state: SamplerState) -> SamplerState:
        """The first state; ``state.clean`` holds x0. A method with memory adds it here."""
        return replace(state, z=state.clean + state.levels[0] * run.noise())

    def step(self, problem: Problem, state: Any) -> Any:
        if state.settled:
            return replace(state, iteration=state.iteration + 1)
        run = self._run(problem, state, state.iteration + 1)
        s, after = state.levels[state.iteration], state.levels[state.iteration + 1]
        new = self.advance(run, state, s, after)
        x = namespace(new.clean).mean(new.clean, axis=0)
        done = state.iteration + 1
        settled = done + 1 == len(state.levels)
        return replace(
            new,
            iteration=done,
            x=x,
            calls=state.calls + run.calls[0],
            settled=settled,
            discrepancy=discrepancy(run, new.clean) if settled else 0.0,
        )

    def _run(self, problem: Problem, state: Any, step: int) -> Run:
        chains = state.clean.shape[0]
        if chains != self.chains:
            raise ParameterError(
                f"{type(self).__name__}.chains must be {chains}, those of the state, got {self.chains}. "
                "Begin anew for another number."
            )
        return Run(problem, state.norm, chains, state.seed, step)

    def guided(self, clean: Array, state: SamplerState, s: float, run: Run) -> Array:
        """The estimates, pushed apart where the user asked for diversity."""
        if self.diversity is None:
            return clean
        return self.diversity.push(clean, s, run)

    def default_stop(self) -> Rule:
        """None that matters: the run ends by itself at the last level."""
        return MaxIterations(self.steps + 1)

    # -- what solve asks for -----------------------------------------------------------------------------

    def measure(self, problem: Problem, state: Any) -> dict[str, float]:
        """Objective and loss of the mean; level, calls, seconds; and how well a single chain fits the data.

        ``discrepancy`` is ||A x - y|| / (sigma sqrt(m)) of a chain, root mean square over chains and batch: near 1 for
        a draw that explains the data, and no more.
        """
        run = self._run(problem, state, state.iteration)
        level = state.levels[min(state.iteration, len(state.levels) - 1)]
        return super().measure(problem, state) | {
            "sigma": level,
            "discrepancy": state.discrepancy or discrepancy(run, state.clean),
            "calls": float(state.calls),
            "network_seconds": run.clock.network,
            "operator_seconds": run.clock.operator,
        }

    def remarks(self, state: SamplerState) -> list[str]:
        """A sentence where the samples fit the data much worse, or better, than the noise allows."""
        found = state.discrepancy
        if found > _FITTING[1]:
            how = "worse than the noise allows"
            advice = (
                "Take more steps or a smaller low, or check Problem.noise and whether the image has the units of the "
                "prior."
            )
        elif 0.0 < found < _FITTING[0]:  # 0: not at the end
            how = "better than the noise allows"
            advice = "They follow the noise. Check Problem.noise, or give the prior more weight."
        else:
            return []
        return [
            f"The samples fit the data {how}: ||A x - y|| is {found:.2g} sigma sqrt(m), "
            f"near 1 for draws from the posterior. {advice}"
        ]

    def samples(self, state: SamplerState) -> Array:
        """The chains, for ``Result.samples``."""
        return state.clean

    def variance(self, state: SamplerState) -> Array | None:
        """Pointwise variance over the chains, for ``Result.variance``; None for one chain."""
        if state.clean.shape[0] < 2:
            return None
        xp = namespace(state.clean)
        away = state.clean - xp.mean(state.clean, axis=0)[None, ...]
        squares = xp.real(away * xp.conj(away)) if is_complex(away) else away * away
        return xp.sum(squares, axis=0) / (state.clean.shape[0] - 1)


def discrepancy(run: Run, clean: Array) -> float:
    """||A x - y|| / (sigma sqrt(m)), root mean square over chains and batch; one product with A.

    Data that no image reaches, as a mask does what it hides, are not counted.
    """
    misfit = tmap(lambda weight, leaf: weight * leaf, run.reached(), run.residual(clean))
    squares = dots(misfit, misfit, run.problem.operator.codomain)
    return float(namespace(squares).mean(squares) / run.count_reached()) ** 0.5 / run.sigma

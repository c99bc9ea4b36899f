"""Weight rules of iterative reweighting: what an entry pays in the next round, given the round before.

    LpRule        norm 2    w = s2 / (|x|^2 / u^2 + eps)^(1 - p/2) / u^2        eps falls
    LogSumRule    norm 1    w = w0 / (1 + |x| / eps)                            as recon_proximal.Reweighted
    SblL2Rule     norm 2    w = s2 / (|x|^2 + Sigma_ii)                         EM sparse Bayesian learning
    SblL1Rule     norm 1    w = s2 sqrt(z_i),  z_i = a_i^H S^(-1) a_i           another path down the same evidence

u is the natural size of a coefficient, rms(y) / ||a_i||, so that eps has no unit. The first two rules are separable:
each weight follows from its own entry. Those of sparse Bayesian learning are not: Sigma and S = s2 I + A diag(g) A^H
know of all entries at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Gt, Interval
from recon_proximal import Reweighted

from recon import Problem
from recon.arrays import Array, namespace
from recon.params import Doc, Parameters
from recon_sbl._active import total
from recon_sbl._factor import square

__all__ = ["LogSumRule", "LpRule", "Round", "SblL1Rule", "SblL2Rule", "WeightRule"]


@dataclass(frozen=True)
class Round:
    """What a rule may look at: the round before.

    Parameters
    ----------
    problem
        The problem, in the units of the user.
    x
        Its image so far.
    unit
        Natural size of its entries, real, of the domain's shape.
    s2
        Noise variance E|n|^2 (mean over the data where it differs).
    eps
        Smoothing of rules that are ``smoothed``, as part of unit^2.
    number
        Rounds done so far.
    variance
        diag(Sigma) for the prior variances so far; None unless the rule's ``needs`` is ``"variance"``.
    leverage
        z_i = a_i^H S^(-1) a_i of all entries for these; None unless it is ``"leverage"``.
    """

    problem: Problem
    x: Array
    unit: Array
    s2: float
    eps: float
    number: int
    variance: Array = None
    leverage: Array = None


class WeightRule(Parameters):
    """Base of the weight rules: a frozen dataclass with ``weights``, for ``IterativelyReweighted(rule)``.

    ``norm`` says which weighted problem is solved, ``needs`` what it costs: ``"nothing"`` works on any operator,
    ``"variance"`` and ``"leverage"`` factor an m x m (or k x k) matrix in each round. ``smoothed`` rules get an eps
    that falls.
    """

    norm: ClassVar[Literal[1, 2]] = 2
    needs: ClassVar[Literal["nothing", "variance", "leverage"]] = "nothing"
    smoothed: ClassVar[bool] = False

    def weights(self, past: Round) -> Array:
        """Weights > 0 of the domain's shape, in the units of the formulas above; infinity leaves an entry out."""
        raise NotImplementedError(
            f"{type(self).__name__}.weights must return an array of the domain's shape."
        )

    def penalty(self, past: Round) -> float | None:
        """What is added to 1/2 ||A x - y||^2 in the objective reported; None reports the evidence cost L."""
        return None


@dataclass(frozen=True)
class LpRule(WeightRule):
    """Reweighted l2 for the penalty |x|^p / p, or log |x| where p = 0, with a smoothing that falls.

    Penalty: strength s2 sum ((|x|^2 / u^2 + eps)^(p/2) / p), or log(...) / 2 where p = 0. FOCUSS is the same without
    eps; with it, local minima of the start are smoothed away.

    Parameters
    ----------
    p
        Exponent; 0 finds the sparsest images, 1 is convex.
    strength
        Weight of the penalty over the noise variance.

    References
    ----------
    R. Chartrand, W. Yin, ICASSP 2008, 3869, doi:10.1109/ICASSP.2008.4518498, section 2; I. F. Gorodnitsky, B. D. Rao,
    IEEE Trans. Signal Process. 45 (1997) 600, doi:10.1109/78.558475.
    """

    p: Annotated[float, Interval(ge=0, le=1), Doc("exponent")] = 0.0
    strength: Annotated[float, Gt(0), Doc("weight of the penalty over the noise variance")] = 1.0

    smoothed = True

    def weights(self, past: Round) -> Array:
        size = square(past.x) / past.unit**2 + past.eps
        return self.strength * past.s2 / past.unit**2 * size ** (0.5 * self.p - 1.0)

    def penalty(self, past: Round) -> float | None:
        size = square(past.x) / past.unit**2 + past.eps
        sum_ = total(size ** (0.5 * self.p)) / self.p if self.p else 0.5 * total(namespace(size).log(size))
        return self.strength * past.s2 * sum_


@dataclass(frozen=True)
class LogSumRule(WeightRule):
    """Reweighted l1 of Candes, Wakin and Boyd: the weights of ``recon_proximal.Reweighted``, asked of it.

    The problem's prior is ``L1(w0)``; the first round has the weights w0. For L1 @ W, or other priors beside it, use
    ``Reweighted`` itself. The objective is that of the problem.

    Parameters
    ----------
    eps
        Size below which coefficients count as small, in their units; None as in ``Reweighted``.

    References
    ----------
    E. J. Candes, M. B. Wakin, S. P. Boyd, J. Fourier Anal. Appl. 14 (2008) 877, doi:10.1007/s00041-008-9045-x,
    section 2.2.
    """

    eps: Annotated[float | None, Gt(0), Doc("size below which coefficients count as small")] = None

    norm = 1

    def weights(self, past: Round) -> Array:
        problem = past.problem
        if past.number:
            problem = Reweighted(eps=self.eps).weighted(problem, past.x)
        prior: Any = problem.prior
        return prior.weight + 0.0 * past.unit

    def penalty(self, past: Round) -> float | None:
        return past.problem.penalty(past.x)


@dataclass(frozen=True)
class SblL2Rule(WeightRule):
    """Sparse Bayesian learning as reweighted l2: the same iterates as ``Sbl(update="em")``. L never rises.

    Parameters
    ----------
    prune
        Entries whose |x|^2 + Sigma_ii, over u^2, falls below this part of the largest are left out for good.

    References
    ----------
    D. Wipf, S. Nagarajan, IEEE J. Sel. Top. Signal Process. 4 (2010) 317, doi:10.1109/JSTSP.2010.2042413, section IV.A.
    """

    prune: Annotated[
        float, Interval(ge=0, lt=1), Doc("leave out what falls below this part of the largest")
    ] = 1e-8

    needs = "variance"

    def weights(self, past: Round) -> Array:
        xp, power = namespace(past.x), square(past.x) + past.variance
        relative = power / past.unit**2
        on = relative > self.prune * xp.max(relative)
        return xp.where(on, past.s2 / xp.where(on, power, xp.ones_like(power)), xp.full_like(power, math.inf))


@dataclass(frozen=True)
class SblL1Rule(WeightRule):
    """Sparse Bayesian learning as reweighted l1: each round is a lasso, so entries leave exactly. L never rises.

    An entry that left may come back: its weight does not go to infinity.

    References
    ----------
    D. Wipf, S. Nagarajan, IEEE J. Sel. Top. Signal Process. 4 (2010) 317, doi:10.1109/JSTSP.2010.2042413, section IV.B;
    D. Wipf, S. Nagarajan, "A new view of automatic relevance determination", NIPS 20 (2008).
    """

    norm = 1
    needs = "leverage"

    def weights(self, past: Round) -> Array:
        return past.s2 * namespace(past.leverage).sqrt(past.leverage)

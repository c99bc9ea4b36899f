"""The noise levels a network was trained on, and the levels a sampler walks down.

A network of the variance-preserving kind sees x_t = sqrt(a_t) x + sqrt(1 - a_t) eps. In variance-exploding units,
z = x_t / sqrt(a_t) = x + s eps, its step t stands for the noise level

    s_t = sqrt((1 - a_t) / a_t)

The linear law beta_t = 1e-4 ... 0.02 over 1000 steps (Ho, Jain and Abbeel 2020) has s from 0.010 to 157.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from recon.errors import ParameterError
from recon.operator import capability

__all__ = [
    "EdmLaw",
    "Grid",
    "NoiseLaw",
    "law_of_scheduler",
    "levels_of_scheduler",
    "linear_law",
    "noise_levels",
]

Grid: TypeAlias = Literal["log", "karras", "uniform", "quadratic"]
"""How noise levels are spaced."""


@dataclass(frozen=True, eq=False)
class NoiseLaw:
    """The noise levels of a network's steps.

    Parameters
    ----------
    levels
        s_t for t = 0, 1, ..., rising.
    continuous
        Whether the network was trained on levels between them too: then steps are broken numbers. A network of
        whole steps must never be asked for a level it does not know: the neighbours of 0.02 are 20 % apart.
    """

    levels: npt.NDArray[np.float64]
    continuous: bool = False

    def step(self, sigma: float) -> float:
        """t of the noise level: by interpolation in log s, or the nearest known level's."""
        sigma = max(sigma, float(self.levels[0]))
        at = float(np.interp(np.log(sigma), np.log(self.levels), np.arange(len(self.levels))))
        return at if self.continuous else float(round(at))

    def level(self, sigma: float) -> float:
        """The noise level nearest to sigma that the network knows."""
        if self.continuous:
            return float(np.clip(sigma, self.levels[0], self.levels[-1]))
        return float(self.levels[round(self.step(sigma))])


@dataclass(frozen=True, eq=False)
class EdmLaw(NoiseLaw):
    """Any level between the first and the last; t = ln(s) / 4 (Karras et al. 2022, table 1).

    Parameters
    ----------
    levels
        The lowest and the highest level.
    data
        Standard deviation of the training images, sigma_data.
    """

    continuous: bool = True
    data: float = 0.5

    def step(self, sigma: float) -> float:
        return 0.25 * float(np.log(self.level(sigma)))


def linear_law(
    steps: int = 1000, first: float = 1e-4, last: float = 0.02, continuous: bool = False
) -> NoiseLaw:
    """The law of linear betas."""
    kept = np.cumprod(1.0 - np.linspace(first, last, steps))
    return NoiseLaw(np.sqrt((1.0 - kept) / kept), continuous)


def noise_levels(prior: Any, grid: Grid, steps: int, high: float, low: float) -> tuple[float, ...]:
    """Falling noise levels that a prior knows, and 0 behind them.

    Parameters
    ----------
    prior
        Its ``level(sigma)``, where it has one, gives the nearest level it knows; levels that fall together are taken
        once, so that there may be fewer than ``steps``.
    grid
        ``"log"``; ``"karras"``, (high^(1/7) + u (low^(1/7) - high^(1/7)))^7 (Karras et al. 2022, equation 5);
        ``"uniform"``, even in the steps of the linear law; ``"quadratic"``, even in the roots of the steps.
    steps
        How many.
    high, low
        First and last, in units of the image.
    """
    if not high > low:
        raise ParameterError(
            f"A sampler's high must be above its low, got {high:g} and {low:g}. Exchange them."
        )
    u = np.linspace(0.0, 1.0, steps)
    if grid == "log":
        levels = high * (low / high) ** u
    elif grid == "karras":
        levels = (high ** (1 / 7) + u * (low ** (1 / 7) - high ** (1 / 7))) ** 7
    else:
        scale = float(getattr(prior, "scale", 1.0))
        law = linear_law(continuous=True)
        power = 2.0 if grid == "quadratic" else 1.0
        first, last = (max(law.step(level / scale), 1e-3) ** (1 / power) for level in (high, low))
        at = (first + u * (last - first)) ** power
        levels = scale * np.exp(np.interp(at, np.arange(len(law.levels)), np.log(law.levels)))
        levels[0] = min(levels[0], high)
    own = capability(prior, "level")
    known = [float(own(s)) if own else float(s) for s in levels]
    kept = [s for k, s in enumerate(known) if k == 0 or s < known[k - 1] * (1.0 - 1e-9)]
    return (*kept, 0.0)


def levels_of_scheduler(scheduler: Any) -> npt.NDArray[np.float64]:
    """Noise levels s_t, rising, of a diffusers scheduler: from its ``alphas_cumprod``, or its ``sigmas``.

    Levels of no signal at all (s infinite, of laws with a terminal signal-to-noise ratio of 0) are left out.

    Raises
    ------
    ParameterError
        When it has neither, or betas that are no law of noise.
    """
    if hasattr(scheduler, "alphas_cumprod"):
        kept = np.asarray(scheduler.alphas_cumprod, dtype=np.float64)
        if not (kept.size and 1e-12 < kept[0] < 1.0 and kept[-1] >= 0.0 and np.all(np.diff(kept) <= 0.0)):
            raise ParameterError(
                f"The betas of a {type(scheduler).__name__} must be above 0 and at most 1, got others. Check them."
            )
        kept = kept[kept > 1e-12]
        return np.sqrt((1.0 - kept) / kept)
    if hasattr(scheduler, "sigmas"):
        levels = np.unique(np.asarray(scheduler.sigmas, dtype=np.float64))
        return levels[levels > 0.0]
    raise ParameterError(
        f"A scheduler must have alphas_cumprod or sigmas, got {type(scheduler).__name__}. Give a DDIMScheduler."
    )


def law_of_scheduler(scheduler: Any, continuous: bool = False) -> tuple[NoiseLaw, str]:
    """The noise law of a diffusers scheduler, and what its network predicts.

    Parameters
    ----------
    scheduler
        Of the variance-preserving kind (one with ``alphas_cumprod``: DDPM, DDIM, DPM-Solver, Euler, ...), or of EDM.
    continuous
        Whether the network was trained on levels between the steps too.

    Raises
    ------
    ParameterError
        For schedulers of another kind (flow matching, score_sde), and other predictions.
    """
    config = scheduler.config
    kind = config.get("prediction_type", "epsilon")
    if "sigma_data" in config:
        if kind != "epsilon":
            raise ParameterError(
                f"An EDM scheduler's prediction_type must be 'epsilon', got {kind!r}. Give the network as a Network."
            )
        ends = np.array([config["sigma_min"], config["sigma_max"]], dtype=np.float64)
        data = float(config["sigma_data"])
        if not (0.0 < ends[0] < ends[1] < np.inf and 0.0 < data < np.inf):
            raise ParameterError(
                f"An EDM scheduler must have 0 < sigma_min < sigma_max and sigma_data > 0, got {ends[0]:g}, "
                f"{ends[1]:g} and {data:g}. Check its config."
            )
        return EdmLaw(ends, data=data), "edm"
    if not hasattr(scheduler, "alphas_cumprod"):
        raise ParameterError(
            f"A scheduler must have alphas_cumprod, got {type(scheduler).__name__}. Give a DDIMScheduler."
        )
    if kind not in ("epsilon", "v_prediction", "sample"):
        raise ParameterError(
            f"A scheduler's prediction_type must be 'epsilon', 'v_prediction' or 'sample', got {kind!r}. "
            "Give the network as a Network."
        )
    return NoiseLaw(levels_of_scheduler(scheduler), continuous), kind

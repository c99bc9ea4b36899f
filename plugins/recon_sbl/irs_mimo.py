"""Channels of a radio link by way of an intelligent reflecting surface (IRS): a dataset, and what estimates are worth.

    H_k = H_base diag(phi_k) H_user                       channel of reflection pattern k, base antennas x user antennas
    Y_k = H_k X + n                                       pilots X, one column per time slot
    y = ((Phi^T D) (x) (X^T conj(A_user)) (x) A_base) x   all patterns: (patterns, pilots, base antennas)
    D   column i: exp(-2 pi i n i / atoms) / elements     what remains of two steering vectors at the IRS: only the
                                                          difference of their angles is seen

x is sparse: one angle at which the user sends, ``spread`` adjacent ones (and as many values) at which the IRS receives
and at which the base receives, one at which the IRS sends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Interval

from recon import Dataset, Kronecker, Matrix, Sample
from recon.arrays import as_numpy
from recon.errors import ArrayError, ParameterError, ShapeError
from recon.params import Doc, Parameters

__all__ = ["IrsMimo", "channel_nmse", "symbol_error_rate"]

_LIMIT = 300  # dB: the precision of numbers
_DRAWS = 100  # of pilots and of patterns, until all angles can be told


@dataclass(frozen=True)
class IrsMimo(Parameters, Dataset):
    """Simulated training data of an uplink over an IRS, with angles on a grid and spread over adjacent atoms.

    The defaults are the protocol of He and Joseph: 6 user and 16 base antennas, 256 IRS elements, grids of 18 cosines
    from -1 in steps of 2/18, 3 QPSK pilots, 6 reflection patterns of +-1/sqrt(256), path gains CN(0, 1): 288 data for
    5832 unknowns. Pilots and patterns are drawn anew for every sample (theirs are drawn once), so an average does not
    hang on one draw; and again while two angles would look alike (columns of a factor with a coherence above 0.99, or
    one a tenth as long as the longest), up to 100 times: of 3 random QPSK pilots 2 to 3 draws in 100 cannot
    tell some two angles at all, and about 24 are drawn again.

    ``snr`` is the mean of |y|^2 over the noise variance E|n|^2, before noise is added. ``Sample.noise`` is, as
    everywhere in recon, the deviation of real and imaginary part each. ``notes["channel"]`` is the operator from x to
    the channels, (patterns, user antennas, base antennas); ``notes["pilots"]`` is X, ``notes["patterns"]`` has the
    phi_k as columns, ``notes["snr"]`` repeats the parameter.

    Parameters
    ----------
    snr
        In dB, -300 to 300.
    count
        How many samples there are. Sample i depends on ``seed`` and i alone; ``snr`` only scales its noise.
    seed
        Of all draws.
    users, base, elements
        Antennas of user and base, elements of the IRS; half a wavelength apart.
    atoms
        Angles on each grid.
    spread
        Adjacent angles that carry the signal at IRS and base.
    pilots, patterns
        Time slots per reflection pattern, and reflection patterns.

    Raises
    ------
    ParameterError
        For a value that breaks its rule, or a spread larger than the grid.

    References
    ----------
    He and Joseph, "Bayesian Algorithms for Kronecker-structured Sparse Vector Recovery With Application to IRS-MIMO
    Channel Estimation", IEEE Trans. Signal Process. 2024; settings as in the authors' public code.

    Examples
    --------
    >>> IrsMimo(snr=10)[0].data.shape
    (6, 3, 16)
    """

    snr: Annotated[
        float, Interval(ge=-_LIMIT, le=_LIMIT), Doc("mean of |y|^2 over the noise variance, in dB")
    ] = 20.0
    count: Annotated[int, Ge(1), Doc("number of samples")] = 50
    seed: Annotated[int, Ge(0), Doc("seed of all draws")] = 0
    users: Annotated[int, Ge(1), Doc("antennas of the user")] = 6
    base: Annotated[int, Ge(1), Doc("antennas of the base station")] = 16
    elements: Annotated[int, Ge(1), Doc("elements of the reflecting surface")] = 256
    atoms: Annotated[int, Ge(2), Doc("angles on each grid")] = 18
    spread: Annotated[int, Ge(1), Doc("adjacent angles that carry the signal")] = 3
    pilots: Annotated[int, Ge(1), Doc("pilot symbols per reflection pattern")] = 3
    patterns: Annotated[int, Ge(1), Doc("reflection patterns")] = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.spread > self.atoms:
            raise ParameterError(
                f"IrsMimo.spread must be <= atoms = {self.atoms}, got {self.spread}. Give more atoms."
            )

    def __len__(self) -> int:
        return self.count

    def sample(self, index: int) -> Sample:
        """Operator, training data, sparse channel, noise level and notes of one link."""
        rng = np.random.default_rng((self.seed, index))
        user, base = (_steady(_steering(m, self.atoms)) for m in (self.users, self.base))
        for _ in range(_DRAWS):
            turns = rng.integers(4, size=(self.users, self.pilots))
            pilots = np.exp(1j * math.pi / 4 * (2 * turns + 1)) / math.sqrt(self.users)
            sent = _steady(pilots.T @ user.conj())
            if _distinct(sent):
                break
        n, i = np.arange(self.elements), np.arange(self.atoms)
        differences = np.exp(-2j * math.pi * np.outer(n, i) / self.atoms) / self.elements
        for _ in range(_DRAWS):
            patterns = (rng.integers(2, size=(self.elements, self.patterns)) * 2 - 1) / math.sqrt(
                self.elements
            )
            surface = _steady(patterns.T @ differences)
            if _distinct(surface):
                break
        operator = Kronecker((Matrix(surface), Matrix(sent), Matrix(base)))
        channel = Kronecker((Matrix(surface), Matrix(user.conj()), Matrix(base)))
        truth = self._paths(rng)
        clean = operator @ truth
        level = math.sqrt(float(np.mean(np.abs(clean) ** 2)) / 10 ** (self.snr / 10) / 2)
        level = float(f"{level:.12g}")
        noise = rng.standard_normal((2, *clean.shape))
        data = _steady(clean + level * (noise[0] + 1j * noise[1]))
        notes = {
            "truth": "gains of the paths: (difference of angles at the IRS, angle at the user, angle at the base)",
            "channel": channel,
            "pilots": pilots,
            "patterns": patterns,
            "snr": self.snr,
        }
        return Sample(operator, data, truth, level, notes)

    def _paths(self, rng: np.random.Generator) -> Any:
        """The sparse tensor of path gains."""
        sends, leaves = rng.integers(self.atoms, size=2)  # angle at the user, angle at which the IRS sends
        first = rng.integers(self.atoms - self.spread + 1, size=2)
        arrives = first[0] + np.arange(self.spread)  # at the IRS
        received = first[1] + np.arange(self.spread)  # at the base
        values = rng.standard_normal((2, self.spread, 2))
        gains = (values[..., 0] + 1j * values[..., 1]) / math.sqrt(2)
        x = np.zeros((self.atoms,) * 3, np.complex128)
        scale = self.elements * math.sqrt(self.base * self.users) / self.spread
        for a, gain in zip(arrives, gains[0], strict=True):
            x[(leaves - a) % self.atoms, sends, received] = scale * gain * gains[1]
        return _steady(x)


def _steering(antennas: int, atoms: int) -> Any:
    """Unit-norm responses of a line of antennas to the cosines -1, -1 + 2 / atoms, ...: one column per angle."""
    cosines = 2.0 * np.arange(atoms) / atoms - 1.0
    return np.exp(1j * math.pi * np.outer(np.arange(antennas), cosines)) / math.sqrt(antennas)


def _distinct(A: Any) -> bool:
    """Whether no column is next to 0 and no two are next to parallel."""
    lengths = np.linalg.norm(A, axis=0)
    if lengths.min() < 0.1 * lengths.max():
        return False
    unit = A / lengths
    return bool(np.abs(np.triu(unit.conj().T @ unit, 1)).max() <= 0.99)


def _steady(values: Any) -> Any:
    """Rounded to 40 bits below the largest: libraries differ in the last bits of exp and of sums."""
    step = 2.0 ** (math.frexp(float(np.abs(values).max()))[1] - 40)
    return np.round(values / step) * step


def channel_nmse(estimate: Any, truth: Any) -> float:
    """Mean over reflection patterns of ||H^ - H||^2 / ||H||^2, H the cascaded channel of a pattern.

    Parameters
    ----------
    estimate, truth
        Channels (patterns, user antennas, base antennas): ``sample.notes["channel"] @ x``.

    Raises
    ------
    ArrayError
        For NaN or infinity, or a true channel of 0.
    ShapeError
        For channels of other shapes.
    """
    H, G = _channels(estimate, truth)
    if not np.any(G, axis=(1, 2)).all():
        raise ArrayError(
            "channel_nmse.truth must not be 0 in a pattern, got such a one. Leave that pattern out."
        )
    errors = np.sum(np.abs(H - G) ** 2, axis=(1, 2)) / np.sum(np.abs(G) ** 2, axis=(1, 2))
    return float(np.mean(errors))


def symbol_error_rate(
    estimate: Any, truth: Any, snr: float, reference: Literal["channel", "received"] = "channel"
) -> float:
    """Probability that a QPSK symbol is detected wrongly when the link is steered by the estimated channel.

        r = u^H (H v s + n),    u, v: dominant singular vectors of H^,    s^ = argmin_s |r - (u^H H^ v) s|

    The mean over reflection patterns of the exact probability, no symbols are drawn:
    1 - F(sqrt(2) |g| cos(pi/4 + p) / w) F(sqrt(2) |g| sin(pi/4 + p) / w) with g = u^H H v, p = arg(g / u^H H^ v),
    w^2 = E|u^H n|^2 and F the normal distribution function. An estimate of 0 has the rate of guessing, 3/4.

    Parameters
    ----------
    estimate, truth
        Channels (patterns, user antennas, base antennas): ``sample.notes["channel"] @ x``.
    snr
        In dB, after beamforming with the true channel: w^2 = sigma_1(H)^2 / SNR. What a wrong beam loses then counts.
    reference
        ``"received"`` sets w^2 = |g|^2 / SNR instead, as the authors of the protocol do: then only an error of
        the phase counts.

    Raises
    ------
    ParameterError
        For another reference, or an snr beyond 300 dB.
    ArrayError
        For NaN or infinity.
    ShapeError
        For channels of other shapes.
    """
    from scipy.special import ndtr

    if reference not in ("channel", "received"):
        raise ParameterError(
            f"symbol_error_rate.reference must be 'channel' or 'received', got {reference!r}. See its page."
        )
    if not abs(snr) <= _LIMIT:
        raise ParameterError(
            f"symbol_error_rate.snr must be -{_LIMIT} to {_LIMIT} dB, got {snr}. Give a decibel value."
        )
    H, G = _channels(estimate, truth)
    rates = []
    for one, true in zip(H, G, strict=True):
        if not np.any(one):
            rates.append(0.75)
            continue
        left, _, right = np.linalg.svd(one.T)
        g = left[:, 0].conj() @ true.T @ right[0].conj()
        best = abs(g) if reference == "received" else np.linalg.norm(true, 2)
        size = abs(g) / best * math.sqrt(2.0 * 10 ** (snr / 10)) if best > 0 else 0.0
        turn = math.pi / 4 + float(np.angle(g))
        misses = ndtr(-size * math.cos(turn)), ndtr(-size * math.sin(turn))
        rates.append(float(misses[0] + misses[1] - misses[0] * misses[1]))
    return float(np.mean(rates))


def _channels(estimate: Any, truth: Any) -> tuple[Any, Any]:
    H, G = as_numpy(estimate), as_numpy(truth)
    if H.ndim != 3 or H.shape != G.shape:
        raise ShapeError(
            f"Channels must both have the shape (patterns, user antennas, base antennas), got {H.shape} and "
            f'{G.shape}. Write sample.notes["channel"] @ x.'
        )
    if not (np.isfinite(H).all() and np.isfinite(G).all()):
        raise ArrayError("Channels must be finite, got NaN or infinity. Look at the estimate.")
    return H.astype(np.complex128), G.astype(np.complex128)

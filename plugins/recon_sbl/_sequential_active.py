"""The active set of sequential sparse Bayesian learning: posterior, gains and rank-one changes.

    Sigma = (b A_n^H A_n + diag(a))^(-1),  mu = b Sigma A_n^H y            b = 1/s2, a = 1/g, n entries active
    active i       s_i = 1/Sigma_ii - a_i,        q_i = mu_i / Sigma_ii
    inactive i     s_i = S_i = a_i^H S^(-1) a_i,  q_i = Q_i = a_i^H S^(-1) y
    L as a function of a_i alone   = const + l(a_i),  l(a) = log(1 + s/a) - |q|^2 / (a + s)
    its minimiser                  a = s^2 / (|q|^2 - s) where |q|^2 > s, else infinite
    there                          l = -(t - 1 - log t), t = |q|^2 / s

    add j        k = -1/(a_j + s_j), w = S^(-1) a_j;  Sigma_jj = -k, mu_j = -k q_j
    change i     k = 1/(Sigma_ii + 1/(a' - a)), w = b A_n Sigma_i;    delete i   the same with k = 1/Sigma_ii
    then         e = A^H w,   S += k |e|^2,   Q += k e w^H y

With snapshots |q|^2 is the mean over them. The form of s and q from Sigma loses no digits where an entry is well
determined (Sigma_ii much below g_i), as a S/(a - S) does. Each entry has a price: F = L + price n is what falls.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from recon_sbl._factor import Cholesky, adjoint, square

__all__ = ["Active", "Dictionary", "Search", "root"]

_CHUNK = 64
"""Directions that are correlated with all columns at once."""

_TIE = 1e-9
"""Candidates this close, relative, count as equal: the first is taken, whatever rounding says."""


class Dictionary(Protocol):
    """Columns of unit length, and what a search asks of them; vectors of data are rows in any representation."""

    size: int

    def border(self, active: Active, j: int) -> tuple[Any, Any, Any]:
        """Column j, its products A_n^H a_j with the active ones, and a_j^H y per snapshot."""
        ...

    def combine(self, active: Active, weights: Any) -> Any:
        """sum_k weights[., k] a_k over the active columns."""
        ...

    def correlate(self, rows: Any) -> Any:
        """a_i^H w for every column, of every row w: (rows, size)."""
        ...

    def residuals(self, active: Active) -> Any:
        """a_i^H (y - A mu): (snapshots, size)."""
        ...


def root(sigma: Any) -> Any:
    """R with Sigma = R R^H; what rounding has made negative counts as 0."""
    try:
        return Cholesky(sigma.copy()).R
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(sigma)
        return vectors * np.sqrt(np.maximum(values, 0.0))


class Active:
    """The active entries and their posterior, in arrays with room for ``room`` more.

    Parameters
    ----------
    indices, alpha
        Which columns, and their precisions.
    gram, pull
        A_n^H A_n and A_n^H y, (n, snapshots).
    columns
        (n, m) where columns are kept, else None.
    beta
        1/s2.
    room
        How many entries may be added.
    """

    def __init__(
        self, indices: Any, alpha: Any, gram: Any, pull: Any, columns: Any, beta: float, room: int
    ) -> None:
        n, most = len(alpha), len(alpha) + room
        self.n, self.beta = n, beta
        self._indices = np.zeros(most, np.int64)
        self._alpha = np.zeros(most)
        self._sigma = np.zeros((most, most), pull.dtype)
        self._mu = np.zeros((most, pull.shape[1]), pull.dtype)
        self._pull = np.zeros((most, pull.shape[1]), pull.dtype)
        self._columns = None if columns is None else np.zeros((most, columns.shape[1]), columns.dtype)
        self._indices[:n], self._alpha[:n], self._pull[:n] = indices, alpha, pull
        if self._columns is not None:
            self._columns[:n] = columns
        self.logdet = 0.0  # log|I + b G^(1/2) A_n^H A_n G^(1/2)|
        if n:
            root = 1.0 / np.sqrt(alpha)
            factor = Cholesky(np.eye(n) + beta * root[:, None] * gram * root)
            half = factor.half(np.diag(root).astype(pull.dtype))
            self._sigma[:n, :n] = adjoint(half) @ half
            self._mu[:n] = beta * (self.sigma @ pull)
            self.logdet = factor.logdet

    @property
    def indices(self) -> Any:
        return self._indices[: self.n]

    @property
    def alpha(self) -> Any:
        return self._alpha[: self.n]

    @property
    def sigma(self) -> Any:
        return self._sigma[: self.n, : self.n]

    @property
    def mu(self) -> Any:
        return self._mu[: self.n]

    @property
    def pull(self) -> Any:
        return self._pull[: self.n]

    @property
    def columns(self) -> Any:
        return None if self._columns is None else self._columns[: self.n]

    @property
    def variances(self) -> Any:
        """diag(Sigma)."""
        return self.sigma.diagonal().real

    def effective(self) -> float:
        """sum_i (1 - a_i Sigma_ii): how many entries the data determine."""
        return float(np.sum(1.0 - self.alpha * self.variances))

    def misfit(self, energy: float) -> float:
        """Mean over snapshots of ||y - A mu||^2, where that of ||y||^2 is ``energy``.

        From b (A_n^H y - A_n^H A_n mu) = a mu: ||y - A mu||^2 = ||y||^2 - mu^H (A_n^H y + a mu / b).
        """
        inner = np.sum((self.mu.conj() * (self.pull + self.alpha[:, None] * self.mu / self.beta)).real)
        return float(max(energy - float(inner) / self._mu.shape[1], 0.0))

    def cost(self, rows: int, energy: float) -> float:
        """L per snapshot, right after the posterior was factored."""
        inner = float(np.sum((self.mu.conj() * self.pull).real)) / self._mu.shape[1]
        return self.logdet - rows * math.log(self.beta) + self.beta * max(energy - inner, 0.0)

    def improve(
        self, level: float, price: float, bar: float, most: int
    ) -> tuple[Any, float, int, float, float]:
        """Give active entries new precisions, best first, up to ``most``, while F falls by more than ``bar``.

        Returns kappa, Sigma_k and mu_k before each change, the fall of F, and the best action that was not taken: the
        entry (-1 where there is none), by how much it would lower F, and its new precision (inf: delete it).
        """
        from recon_sbl._sequential_numba import improve

        kappas, kind = np.empty(most), self._mu.dtype
        columns, means = np.empty((most, self.n), kind), np.empty((most, self._mu.shape[1]), kind)
        taken, fall, k, gain, new = improve(
            self._sigma, self._mu, self._alpha, self.n, level, price, bar, kappas, columns, means
        )
        return (kappas[:taken], columns[:taken], means[:taken]), fall, k, gain, new

    def change(self, k: int, new: float) -> tuple[float, Any, Any]:
        """Give entry k a new precision; kappa, Sigma_k before, mu_k before. It stays as a dead entry when inf."""
        column, mean = self.sigma[:, k].copy(), self.mu[k].copy()
        d, alpha = float(column[k].real), float(self._alpha[k])
        kappa = 1.0 / d if math.isinf(new) else (new - alpha) / (d * (new - alpha) + 1.0)
        self.sigma[...] -= np.outer(kappa * column, column.conj())
        self.mu[...] -= np.outer(kappa * column, mean)
        self._alpha[k] = new
        return kappa, column, mean

    def drop(self, k: int) -> None:
        """Take entry k out, the last one takes its place."""
        last = self.n - 1
        if k != last:
            for array in (self._indices, self._alpha, self._mu, self._pull, self._columns):
                if array is not None:
                    array[k] = array[last]
            self._sigma[k, :last] = self._sigma[last, :last]
            self._sigma[:last, k] = self._sigma[:last, last]
            self._sigma[k, k] = self._sigma[last, last]
        self.n = last

    def add(self, j: int, column: Any, pull: Any, t: Any, s: float, q: Any, alpha: float) -> float:
        """Append column j with precision alpha; t = b Sigma A_n^H a_j. Gives Sigma_jj."""
        n, d = self.n, 1.0 / (alpha + s)
        mean = d * q
        self.sigma[...] += d * np.outer(t, t.conj())
        self.mu[...] -= np.outer(t, mean)
        self.n = n + 1
        self._sigma[:n, n], self._sigma[n, :n], self._sigma[n, n] = -d * t, -d * t.conj(), d
        self._indices[n], self._alpha[n], self._mu[n], self._pull[n] = j, alpha, mean, pull
        if self._columns is not None:
            self._columns[n] = column
        return d


class Search:
    """The best action again and again: add, re-estimate or delete an entry.

    Correlations of the inactive entries are brought up to date only when one of them may be the best action:
    changes wait in ``pending`` and go through the dictionary together.

    Parameters
    ----------
    atoms, active
        The columns, and those in use.
    strength
        S_i of every column (changed in place); of active ones it is not used.
    level, price
        An entry must have |q|^2 > level s; F = L + price n, price = level - 1 - log(level).
    """

    def __init__(self, atoms: Dictionary, active: Active, strength: Any, level: float) -> None:
        self.atoms, self.active, self.S, self.level = atoms, active, strength, level
        self.price = level - 1.0 - math.log(level)
        self.Q = active.beta * atoms.residuals(active)
        self.pending: list[tuple[float, Any, Any]] = []
        self.fall = 0.0  # of L, per snapshot
        self.actions = 0

    def run(self, most: int, tol: float) -> bool:
        """Up to so many actions that lower F by more than tol each; whether none is left."""
        bar = math.inf  # fall of F above which active entries go first
        while self.actions < most:
            k, gain, new = self._improve(max(tol, bar), most)
            if self.actions == most:
                break
            if gain <= max(tol, bar):
                self.flush()
                j, rise = self.candidate()
                if rise > max(tol, gain):
                    bar = rise
                    self._add(j)
                    continue
                if gain <= tol:
                    return True
                bar = rise
            self._change(k, gain, new)
        self.flush()
        return False

    def candidate(self) -> tuple[int, float]:
        """The inactive entry whose addition lowers F most, and by how much."""
        ratio = square(self.Q).mean(axis=0)
        inside = self.S > 0.0
        np.divide(ratio, self.S, out=ratio, where=inside)
        ratio[~inside] = 0.0
        ratio[self.active.indices] = 0.0
        top = float(ratio.max())
        if top <= self.level:
            return -1, 0.0
        j = int(np.argmax(ratio >= (1.0 - _TIE) * top))
        return j, float(ratio[j]) - 1.0 - math.log(ratio[j]) - self.price

    def _add(self, j: int) -> None:
        active, beta = self.active, self.active.beta
        column, g, pull = self.atoms.border(active, j)
        t = beta * (active.sigma @ g)
        s = beta * (1.0 - float(np.vdot(g, t).real))
        q = beta * (pull - g.conj() @ active.mu)
        size = float(square(q).mean())
        if s <= 8.0 * np.finfo(np.float64).eps * beta or size <= self.level * s:
            self.S[j] = max(s, size)  # rounding of S had made it a candidate: it is none
            return
        direction = beta * (column - self.atoms.combine(active, t))
        d = active.add(j, column, pull, t, s, q, s * s / (size - s))
        self.pending.append((-d, direction, -d * q))
        self.fall += size / s - 1.0 - math.log(size / s)
        self.actions += 1

    def _improve(self, bar: float, most: int) -> tuple[int, float, float]:
        """Re-estimates that lower F by more than the bar; then the best action on active entries that is left."""
        room = min(most - self.actions, _CHUNK)
        (kappas, columns, means), fall, k, gain, new = self.active.improve(self.level, self.price, bar, room)
        if len(kappas):
            directions = self.active.beta * self.atoms.combine(self.active, columns)
            self.pending.extend(zip(kappas, directions, kappas[:, None] * means, strict=True))
            self.fall += fall
            self.actions += len(kappas)
        return k, gain, new

    def _change(self, k: int, gain: float, new: float) -> None:
        active = self.active
        direction_of = self.atoms.combine
        kappa, column, mean = active.change(k, new)
        self.pending.append((kappa, active.beta * direction_of(active, column), kappa * mean))
        self.fall += gain
        if math.isinf(new):
            active.drop(k)
            self.fall -= self.price
        self.actions += 1

    def flush(self) -> None:
        """Bring S and Q of all columns up to date."""
        if len(self.pending) > self.active.n + len(self.Q):
            self.refresh()
        for first in range(0, len(self.pending), _CHUNK):
            part = self.pending[first : first + _CHUNK]
            images = self.atoms.correlate(np.stack([direction for _, direction, _ in part]))
            self.S += np.array([kappa for kappa, _, _ in part]) @ square(images)
            self.Q += np.stack([mean for _, _, mean in part]).T @ images
        self.pending = []

    def refresh(self) -> None:
        """S and Q from the posterior itself: one product per active entry."""
        active, beta = self.active, self.active.beta
        self.S[...] = beta
        if active.n:
            weights = beta * root(active.sigma).T
            for first in range(0, active.n, _CHUNK):
                rows = self.atoms.combine(active, weights[first : first + _CHUNK])
                self.S -= square(self.atoms.correlate(rows)).sum(axis=0)
        self.Q = beta * self.atoms.residuals(active)
        self.pending = []

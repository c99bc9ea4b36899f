"""The most different of many samples: furthest points, a 2-approximation of the k-centre problem (Gonzalez 1985).

i_1 = the sample nearest to the mean,     i_(k+1) = argmax_n min over l <= k of ||f(x_n) - f(x_(i_l))||
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from recon.arrays import Array, as_numpy
from recon.errors import ParameterError, ShapeError

__all__ = ["furthest_point_subset"]

_BLOCK = 1 << 22  # numbers of features that are subtracted at once


def furthest_point_subset(
    samples: Array, count: int, feature: Callable[[Array], Array] | None = None
) -> list[int]:
    """Indices of samples that stand for all: the first near the mean, each next one furthest from those before.

    With d the largest distance of a sample from the chosen one nearest to it, no other choice of as many has less
    than d / 2. So the mean image comes first and then what else the data allow, the most different first; a longer
    list begins with the shorter one.

    Parameters
    ----------
    samples
        (N, ...), for example ``Result.samples``; of any library.
    count
        How many to choose, 1 to N.
    feature
        From a sample (...) to what is compared, for example means over blocks, a patch of interest, or the features
        of a network; the sample itself by default.

    Returns
    -------
    ``count`` different indices. Where fewer samples differ, the first of the equal ones follow.

    Raises
    ------
    ShapeError
        Where there is no axis of samples, or the features differ in shape.
    ParameterError
        For a count out of range, or features that are not finite.

    Notes
    -----
    Cost: N features and count N distances, on the CPU in double precision; memory: the features. Deterministic.

    References
    ----------
    T. F. Gonzalez, "Clustering to minimize the maximum intercluster distance", Theor. Comput. Sci. 38 (1985) 293-306;
    N. Cohen et al., "From posterior sampling to meaningful diversity in image restoration", ICLR (2024), section 4.

    Examples
    --------
    >>> furthest_point_subset(result.samples, 5)
    >>> furthest_point_subset(result.samples, 5, feature=lambda x: x[40:60, 30:50])  # only there
    """
    if len(getattr(samples, "shape", ())) < 1:
        raise ShapeError(
            "furthest_point_subset.samples must have samples along its first axis, got a number."
        )
    number = samples.shape[0]
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= number:
        raise ParameterError(
            f"furthest_point_subset.count must be an integer from 1 to {number}, the number of samples, got {count!r}."
        )
    points = _features(samples, feature)
    chosen = [int(np.argmin(_squares(points, points.mean(axis=0))))]
    nearest = _squares(points, points[chosen[0]])
    for _ in range(count - 1):
        nearest[chosen[-1]] = -1.0  # never again
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, _squares(points, points[chosen[-1]]))
    return chosen


def _features(samples: Array, feature: Callable[[Array], Array] | None) -> np.ndarray[Any, Any]:
    """(N, features), real."""
    rows = []
    for n in range(samples.shape[0]):
        one = samples[n, ...]
        rows.append(as_numpy(one if feature is None else feature(one)))
    shapes = sorted({row.shape for row in rows})
    if len(shapes) > 1:
        raise ShapeError(
            "furthest_point_subset.feature must give one shape for all samples, "
            f"got {' and '.join(map(str, shapes))}. Let it give as many numbers for each."
        )
    points = np.stack([np.ravel(row) for row in rows])
    if np.iscomplexobj(points):
        points = np.concatenate([points.real, points.imag], axis=1)
    if not np.isfinite(points).all():
        raise ParameterError(
            "furthest_point_subset.feature must give finite numbers, got others. Leave out the samples that diverged."
        )
    return points.astype(np.float64)


def _squares(points: np.ndarray[Any, Any], centre: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """||f_n - centre||^2 of every sample, block after block."""
    rows = max(1, _BLOCK // max(1, points.shape[1]))
    parts = (points[lo : lo + rows] - centre for lo in range(0, len(points), rows))
    return np.concatenate([np.einsum("nf,nf->n", part, part) for part in parts])

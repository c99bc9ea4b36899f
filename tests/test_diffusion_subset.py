"""Furthest points: against brute force, the bound of Gonzalez, and what must not matter."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from recon_diffusion import subset
from recon_diffusion.subset import furthest_point_subset

from recon.errors import ParameterError, ShapeError


def distances(points) -> np.ndarray:
    flat = points.reshape(len(points), -1)
    return np.linalg.norm(flat[:, None] - flat[None], axis=-1)


def radius(points, chosen) -> float:
    """Largest distance of a point from the chosen one nearest to it."""
    return float(distances(points)[:, list(chosen)].min(axis=1).max())


@pytest.mark.parametrize("seed", range(4))
def test_each_point_is_the_furthest_from_those_before(seed):
    points = np.random.default_rng(seed).standard_normal((20, 3, 2))
    found, table = furthest_point_subset(points, 7), distances(points)
    middle = np.linalg.norm((points - points.mean(axis=0)).reshape(20, -1), axis=1)
    assert found[0] == int(np.argmin(middle))
    for k in range(1, 7):
        rest = [n for n in range(20) if n not in found[:k]]
        assert found[k] == max(rest, key=lambda n: table[n, found[:k]].min())
    assert furthest_point_subset(points, 4) == found[:4]
    assert sorted(furthest_point_subset(points, 20)) == list(range(20))


@pytest.mark.parametrize("count", [2, 3, 4])
def test_no_choice_has_less_than_half_the_radius(count):
    """The best choice by trying all of them."""
    for seed in range(5):
        points = np.random.default_rng(seed).standard_normal((12, 2))
        best = min(radius(points, chosen) for chosen in itertools.combinations(range(12), count))
        assert best <= radius(points, furthest_point_subset(points, count)) <= 2.0 * best


def test_clusters_give_one_each():
    rng = np.random.default_rng(0)
    centres = 10.0 * rng.standard_normal((5, 4, 4))
    of = rng.permutation(np.repeat(np.arange(5), 20))
    samples = centres[of] + 0.1 * rng.standard_normal((100, 4, 4))
    assert sorted(of[furthest_point_subset(samples, 5)]) == [0, 1, 2, 3, 4]


def test_a_feature_says_what_counts():
    samples = np.random.default_rng(1).standard_normal((30, 6, 6))
    samples[:, 0, 0] *= 1e3  # which the feature leaves out
    by_patch = furthest_point_subset(samples, 6, feature=lambda x: x[2:5, 2:5])
    assert by_patch == furthest_point_subset(samples[:, 2:5, 2:5], 6)
    assert by_patch != furthest_point_subset(samples, 6)


def test_libraries_kinds_and_blocks(monkeypatch):
    real = np.random.default_rng(2).standard_normal((25, 4, 4, 2))
    wanted = furthest_point_subset(real, 6)
    assert furthest_point_subset(torch.as_tensor(real), 6) == wanted
    assert furthest_point_subset(real[..., 0] + 1j * real[..., 1], 6) == wanted
    assert furthest_point_subset(7.0 * real + 3.0, 6) == wanted
    monkeypatch.setattr(subset, "_BLOCK", 50)
    assert furthest_point_subset(real, 6) == wanted


def test_equal_samples_are_still_different_indices():
    assert sorted(furthest_point_subset(np.ones((4, 3)), 4)) == [0, 1, 2, 3]
    assert sorted(furthest_point_subset(np.array([5.0, 5.0, 9.0]), 2)) in ([0, 2], [1, 2])


def test_wrong_arguments():
    samples = np.arange(6.0).reshape(3, 2)
    for count in (0, 4, 1.5, True):
        with pytest.raises(ParameterError, match=rf"count must be an integer from 1 to 3, .* got {count}"):
            furthest_point_subset(samples, count)
    with pytest.raises(ShapeError, match=r"samples must have samples along its first axis, got a number"):
        furthest_point_subset(np.float64(3.0), 1)
    with pytest.raises(
        ShapeError, match=r"feature must give one shape for all samples, got \(1,\) and \(2,\)"
    ):
        furthest_point_subset(samples, 2, feature=lambda x: x[: 1 if x[0] == 0 else 2])
    with pytest.raises(ParameterError, match=r"feature must give finite numbers, got others. Leave out"):
        furthest_point_subset(samples, 2, feature=lambda x: np.full(2, np.inf))

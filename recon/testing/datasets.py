"""The contract of datasets: numbered samples, the same bits every time, parts that fit each other."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

from recon.arrays import check_array, finite
from recon.dataset import Dataset, Sample
from recon.errors import ReconError
from recon.problem import Problem
from recon.testing._common import expect, fail, same_bits

__all__ = ["check_dataset"]

_MOST = 3  # samples that are read


def check_dataset(dataset: Dataset) -> None:
    """Check that a dataset keeps the contract of :class:`recon.Dataset`.

    Reads up to three samples, each twice.

    Raises
    ------
    AssertionError
        One sentence that names the dataset and the rule it breaks.
    """
    expect(dataset, Dataset)
    count = len(dataset)
    if count < 1:
        fail(dataset, "hold at least one sample")
    try:
        dataset[count]
    except IndexError:
        pass
    else:
        fail(dataset, f"raise IndexError for index {count}", "Leave __getitem__ to the base class.")
    twin = pickle.loads(pickle.dumps(dataset))
    for index in sorted({0, count // 2, count - 1})[:_MOST]:
        sample = dataset[index]
        _check_sample(dataset, sample, index)
        for other, what in ((dataset[index], "a second reading"), (twin[index], "a copy of the dataset")):
            _check_same(dataset, sample, other, f"sample {index}: {what}")
    _check_same(dataset, dataset[-1], dataset[count - 1], "sample -1")


def _check_sample(dataset: Dataset, sample: Any, index: int) -> None:
    if not isinstance(sample, Sample):
        fail(dataset, f"give a recon.Sample, not a {type(sample).__name__}")
    try:
        Problem(sample.operator, sample.data, noise=sample.noise)
        if sample.truth is not None:
            check_array(sample.truth, sample.operator.domain, "The truth")
            if not finite(sample.truth):
                fail(dataset, f"have a finite truth in sample {index}")
    except ReconError as error:
        fail(dataset, f"give samples whose parts fit, but sample {index} does not: {str(error).rstrip('.')}")
    notes = sample.notes
    if not isinstance(notes, Mapping) or not all(isinstance(key, str) for key in notes):
        fail(dataset, "give notes with names (a mapping from strings)")


def _check_same(dataset: Dataset, one: Sample, other: Sample, what: str) -> None:
    for name in ("data", "truth", "noise"):
        if not same_bits(getattr(one, name), getattr(other, name)):
            fail(dataset, f"be deterministic: {what} has other bits in its {name}")
    if repr(one.operator) != repr(other.operator) or set(one.notes) != set(other.notes):
        fail(dataset, f"be deterministic: {what} has another operator or other notes")

"""Datasets: numbered, deterministic samples of an operator, its data and, where it is known, the truth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from recon.arrays import Array, leaves
from recon.errors import DataError
from recon.operator import Operator

__all__ = ["Dataset", "Sample"]


@dataclass(frozen=True, eq=False)
class Sample:
    """One reconstruction to do.

    Parameters
    ----------
    operator
        The forward operator.
    data
        What was measured; fits ``operator.codomain``.
    truth
        The image behind the data, or a reference reconstruction (``notes["truth"]`` says which), or None.
    noise
        Standard deviation of the data, or None where it is not known.
    notes
        Anything that belongs to the sample: source, licence, DOI, segmentation, units.
    """

    operator: Operator
    data: Array
    truth: Array | None = None
    noise: Any = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        shape = tuple(tuple(leaf.shape) for leaf in leaves(self.data))
        truth = "none" if self.truth is None else "known"
        return (
            f"<Sample: {self.operator!r}, data {shape if isinstance(self.data, tuple) else shape[0]}, truth {truth}, "
            f"notes {', '.join(self.notes) or 'none'}>"
        )


class Dataset(ABC):
    """Numbered samples. The same index of the same parameters gives the same bits, on every machine."""

    @abstractmethod
    def __len__(self) -> int:
        """How many samples there are."""

    @abstractmethod
    def sample(self, index: int) -> Sample:
        """Sample number ``index``; its range has been checked by ``dataset[index]``."""

    def __getitem__(self, index: int) -> Sample:
        count = len(self)
        if not -count <= index < count:
            raise IndexError(f"{type(self).__name__} index must be below {count}, got {index}.")
        return self.sample(index % count)

    def __iter__(self) -> Iterator[Sample]:
        return (self.sample(index) for index in range(len(self)))

    @classmethod
    def example(cls) -> Dataset:
        """A small ready instance, for tests, docs and ``recon info``."""
        try:
            return cls()
        except TypeError as error:
            raise DataError(f"{cls.__name__}.example must be defined. {error}") from error

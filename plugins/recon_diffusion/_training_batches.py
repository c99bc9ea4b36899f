"""The images of a training, drawn ahead of its steps and put into network values."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from recon.errors import DataError
from recon_diffusion._training_config import Training
from recon_diffusion.images import Source, source_of

__all__ = ["drawn_ahead", "scaled"]

Floats32: TypeAlias = npt.NDArray[np.float32]

FAR = 3.0
"""Root mean square of a batch, in network values, above which low and high cannot be meant."""


def scaled(values: Floats32, config: Training) -> Floats32:
    """In network values."""
    return (2.0 * (values - config.low) / (config.high - config.low) - 1.0).astype(np.float32)


def _drawn(config: Training, source: Source | None, step: int) -> Floats32:
    """The batch of a step, in network values."""
    source = source or source_of(config)
    first = config.seed * 1_000_000_000 + step * config.batch
    batch = np.stack([scaled(source(first + k, False), config) for k in range(config.batch)])
    size = float(np.sqrt(np.mean(batch * batch)))
    if not np.isfinite(size):
        raise DataError(
            "Images of a training must be finite, got NaN or infinity. Mend or leave out such files."
        )
    if size > FAR:
        low, high = (
            0.5 * (v + 1.0) * (config.high - config.low) + config.low for v in (batch.min(), batch.max())
        )
        raise DataError(
            f"Images of a training must have values around {config.low:g} to {config.high:g}, got {low:g} to {high:g}. "
            "Set low and high of the config."
        )
    return batch


def drawn_ahead(config: Training, source: Source, first: int, parallel: bool) -> Iterator[Floats32]:
    """Batches of the steps from ``first`` on, drawn ahead by another thread, or by several processes."""
    several = config.workers if parallel else 0
    pool: Executor
    if several:
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(several, mp_context=context, initializer=_ignore_interrupt)
    else:
        pool = ThreadPoolExecutor(1)
    ahead: list[Future[Floats32]] = []
    try:
        for step in range(first, config.steps):
            while len(ahead) < max(1, 2 * several) and step + len(ahead) < config.steps:
                ahead.append(pool.submit(_drawn, config, None if several else source, step + len(ahead)))
            batch = ahead.pop(0).result()
            if not several and step + 1 < config.steps:
                ahead.append(pool.submit(_drawn, config, source, step + 1))
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)


def _ignore_interrupt() -> None:
    """Ctrl-C in a terminal reaches all processes: ours tells the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

"""How the kernels of this package are compiled, and when they may use threads.

Every kernel comes twice: a serial driver, and a parallel one over the same fixed blocks of work, so that
both give the same bits. `run` takes the parallel one only where numba may use more than one thread. A
process that is limited to one thread (NUMBA_NUM_THREADS=1, as batch workers are) therefore never starts a
pool.
"""

import os
import threading
from collections.abc import Callable
from typing import Any

import numba

__all__ = ["jit", "run"]

_WORTH_A_THREAD = 2**20
"""Steps below which waking the pool costs more than it saves (about half a millisecond of work)."""


def jit(*, parallel: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile lazily, without the interpreter lock, and keep the machine code on disk if possible."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        options = {"nogil": True, "error_model": "numpy", "parallel": parallel}
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # neither the package's folder nor the user's cache folder can be written
            return numba.njit(**options)(function)

    return decorate


class _Pool:
    """Whether the parallel drivers may run here and now.

    Two threads of Python must not enter numba's pool together (its "workqueue" layer aborts the process),
    and a forked child must not enter the pool that its parent started (GNU OpenMP aborts). Both get the
    serial driver instead.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None

    def enter(self) -> bool:
        if numba.config.NUMBA_NUM_THREADS == 1 or self._owner not in (None, os.getpid()):
            return False
        if not self._lock.acquire(blocking=False):
            return False
        self._owner = os.getpid()
        if numba.get_num_threads() == 1:  # asked last: the question itself starts the pool
            self._lock.release()
            return False
        return True

    def leave(self) -> None:
        self._lock.release()


_pool = _Pool()


def run(work: int, serial: Callable[..., None], parallel: Callable[..., None], *args: Any) -> None:
    """Call the parallel driver where threads may be used and pay, else the serial one, which gives the same.

    Parameters
    ----------
    work
        Number of elementary steps, each about 0.5 ns.
    """
    if work < _WORTH_A_THREAD or not _pool.enter():
        serial(*args)
        return
    try:
        parallel(*args)
    finally:
        _pool.leave()

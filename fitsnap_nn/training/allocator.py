"""Memory management for short training steps: reuse of freed memory, and fewer garbage collections."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
INT_MAX = 2**31 - 1


def keep_freed_memory() -> None:
    """Keep freed memory in the process instead of returning it to the system; no effect without glibc.

    By default glibc maps large arrays with ``mmap`` and unmaps them when they are freed, so that every training step
    causes page faults for the same arrays. See mallopt(3): without mmap, and without trimming the heap, freed memory is
    reused.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, INT_MAX)
        mallopt(M_MMAP_MAX, 0)


@contextmanager
def frozen_objects() -> Iterator[None]:
    """Exclude all objects that exist now from garbage collection, until the end of the block.

    Training steps create enough objects to trigger the collector. With ``gc.freeze`` a full collection does not
    traverse the objects of imported modules and of the training set, which live as long as the fit.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()

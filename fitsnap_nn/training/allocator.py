"""Memory of short steps: what one step frees, the next one takes again; and what stays is not searched for garbage."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Let freed memory stay with the process, where the C library is glibc.

    It would go back to the system after each step, and fetching its pages again takes up to two fifths of the time of
    steps with many edges (measured).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, LARGEST)
        mallopt(M_MMAP_MAX, 0)


@contextmanager
def frozen_objects() -> Iterator[None]:
    """Keep Python's garbage collector from examining the objects that exist now.

    Every step creates enough objects to start the collector, which would go through those of all imported modules and
    all samples again and again: a tenth of the time of short steps (measured).
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()

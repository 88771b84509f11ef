"""The C library's memory: what one step frees, the next one takes again."""

from __future__ import annotations

import ctypes

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

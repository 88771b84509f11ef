"""Memory of this computer, against which requirements are estimated before anything is allocated, and its reuse."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Of a container, with versions 2 and 1 of control groups.
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
GIB = 2**30
TRAINING_BYTES = 16  # per weight, in float32: the weight, its gradient, and two moments of Adam
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
INT_MAX = 2**31 - 1


def total_memory() -> int:
    """Return the memory in bytes: that of the computer, or the limit of the container if it is smaller."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name in LIMITS:
        try:
            text = Path(name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            memory = min(memory, int(text))
    return memory


def shortage(needed: float) -> str:
    """Return ``12 GiB of memory, but this computer has 8 GiB``; empty if the memory suffices.

    Args:
        needed: bytes.
    """
    memory = total_memory()
    if needed <= memory:
        return ""
    return f"{needed / GIB:.3g} GiB of memory, but this computer has {memory / GIB:.3g} GiB"


def keep_freed_memory() -> None:
    """Keep freed memory in the process instead of returning it to the system; no effect without glibc.

    By default glibc maps large arrays with ``mmap`` and unmaps them when they are freed, so that every step of training
    or molecular dynamics causes page faults for the same arrays. See mallopt(3): without mmap, and without trimming the
    heap, freed memory is reused.
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

"""Memory of this computer, against which requirements are estimated before anything is allocated."""

from __future__ import annotations

import os
from pathlib import Path

# Of a container, with versions 2 and 1 of control groups.
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
GIB = 2**30
TRAINING_BYTES = 16  # per weight, in float32: the weight, its gradient, and two moments of Adam


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

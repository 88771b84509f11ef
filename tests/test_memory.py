"""Reuse of freed memory, in a process of its own: it changes the allocator for good."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pytest
from processes import run

FAULTS = """
import resource
import sys
import numpy as np
from fitsnap_nn.memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
for number in range(12):
    np.ones(6_000_000)  # 48 MB, above the largest threshold of mmap that glibc chooses by itself
    if number == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
def test_freed_arrays_are_used_again(tmp_path: Path):
    def faults(memory: str) -> int:
        done = run([sys.executable, "-c", FAULTS, memory], tmp_path)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    assert faults("kept") < 100 < faults("returned")

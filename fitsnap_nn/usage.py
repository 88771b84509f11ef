"""Wall time, CPU time and memory of this process."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from fitsnap_nn.errors import counted
from fitsnap_nn.memory import GIB


class Usage(NamedTuple):
    """Resources used by one rank.

    Attributes:
        cpu: CPU time of the process and of the programs that it has run, such as LAMMPS, s.
        memory: largest resident memory of the process, bytes.
        gpu: largest memory that torch has reserved on a GPU, bytes; 0 without one.
    """

    cpu: float
    memory: int
    gpu: int = 0


class Stopwatch(NamedTuple):
    """Start of a run.

    Attributes:
        started: on the clock of `time.monotonic`, s.
        cpu: CPU time until then, s.
    """

    started: float
    cpu: float = 0.0

    @classmethod
    def of_process(cls) -> Stopwatch:
        """Return that of a program that makes one run."""
        return cls(process_start())

    @classmethod
    def now(cls) -> Stopwatch:
        """Return that of a run which starts now."""
        return cls(time.monotonic(), cpu_time())

    def usage(self, gpu: int = 0) -> Usage:
        """Return what this rank has used since then; memory is that of the whole process."""
        return Usage(cpu_time() - self.cpu, peak_memory(), gpu)

    def wall(self) -> float:
        """Return the wall time since then, s."""
        return time.monotonic() - self.started


class StepTimes:
    """Wall time of the steps of a fit, s.

    Args:
        started: start of the first step on the clock; ``None``: now.
        clock: returns the time in s.
    """

    def __init__(self, started: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = self._last = clock() if started is None else started
        self._seconds: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """Record the time since the last call as that of a step."""
        now = self._clock()
        self._seconds[name] = now - self._last
        self._last = now

    @property
    def seconds(self) -> dict[str, float]:
        """Time of each step, and in total until the last of them."""
        return {**self._seconds, "total": self._last - self._started}


def cpu_time() -> float:
    """Return the CPU time of this process and of the programs that it has run, s."""
    found = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in found)


def peak_memory() -> int:
    """Return the largest resident memory of this process so far, bytes."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    except (OSError, StopIteration):
        # After a fork, this includes the memory of the program that started this one.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def process_start() -> float:
    """Return when this process started, on the clock of `time.monotonic`; now if the system does not say."""
    now = time.monotonic()
    try:
        # Field 22 of the file, in clock ticks since boot; field 2, in parentheses, may contain spaces.
        fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return now
    return now - max(0.0, age)


def duration(seconds: float) -> str:
    """Return a time as text: ``1.2 s``, ``3 min 20 s`` or ``2 h 05 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def describe_usage(wall: float, ranks: Sequence[Usage]) -> str:
    """Return the line about the time and memory of a run.

    Args:
        wall: time since its start, s.
        ranks: of each rank.
    """
    shared = f" of {counted(len(ranks), 'rank')}" if len(ranks) > 1 else ""
    text = f"time: {duration(wall)}, CPU time {duration(sum(one.cpu for one in ranks))}{shared}"
    total, largest = sum(one.memory for one in ranks), max(one.memory for one in ranks)
    text += f"; peak memory {size(total)}"
    if len(ranks) > 1:
        text += f" of all ranks, {size(largest)} of the largest"
    if gpu := max(one.gpu for one in ranks):
        text += f"; on the GPU {size(gpu)}{' per rank at most' if len(ranks) > 1 else ''}"
    return text


def size(count: float) -> str:
    """Return a number of bytes as text, in MiB or GiB."""
    return f"{count / GIB:.2f} GiB" if count >= GIB else f"{count / 2**20:.0f} MiB"

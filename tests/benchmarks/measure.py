"""Time and memory of a program as accounted by the operating system, and tables that compare programs."""

from __future__ import annotations

import os
import re
import resource
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LOOP = re.compile(r"Loop time of (\S+) on \d+ procs for (\d+) steps.*\s+Performance: .*\s+(\S+)% CPU use")
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Cost:
    """Of a finished program and all its children: CPU and wall seconds, and the largest of their peak memories, MB."""

    cpu: float
    wall: float
    peak: float


class Failed(SystemExit):
    """A program that failed or was interrupted, with what it cost until then."""

    def __init__(self, message: str, cost: Cost) -> None:
        super().__init__(message)
        self.cost = cost


def run(
    python: Path, arguments: Sequence[str], folder: Path, launcher: Sequence[str] = (), limit: float | None = None
) -> Cost:
    """Run ``python arguments`` in a folder, one thread a process; what it prints goes to ``output.txt`` there.

    Args:
        limit: wall seconds after which the program gets SIGTERM.

    Raises:
        Failed: it failed; with the end of what it printed.
    """
    programs = python.parent
    environment = {
        **os.environ,
        **THREADS,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "LD_LIBRARY_PATH": f"{programs.parent / 'lib'}{os.pathsep}{os.environ.get('LD_LIBRARY_PATH', '')}",
    }
    command = [*launcher, str(python), *arguments]
    (folder / "output.txt").unlink(missing_ok=True)  # a process of a killed run may still write to it
    with (folder / "output.txt").open("w", encoding="utf-8") as output:
        started = time.perf_counter()
        child = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        status, usage = _wait(child.pid, limit)
        wall = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    cost = Cost(_cpu(usage), wall, usage.ru_maxrss / (1 if sys.platform == "linux" else 1024) / 1024)
    if child.returncode:
        end = (folder / "output.txt").read_text(encoding="utf-8")[-2000:]
        raise Failed(f"{' '.join(command)} in {folder} left with {child.returncode}:\n{end}", cost)
    return cost


def _wait(process: int, limit: float | None) -> tuple[int, resource.struct_rusage]:
    """Wait for a child, which does not outlive this program if that is interrupted; return its status and usage."""
    timer = threading.Timer(limit or 0.0, os.kill, (process, signal.SIGTERM))
    if limit is not None:
        timer.start()
    try:
        _, status, usage = os.wait4(process, 0)
    except KeyboardInterrupt:
        os.kill(process, signal.SIGTERM)
        os.wait4(process, 0)
        raise
    finally:
        timer.cancel()
    return status, usage


def _cpu(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def lammps_step(folder: Path, deck: str, ranks: int = 1) -> float:
    """Run a LAMMPS input in a folder; return the CPU seconds of a step of each rank in its last run."""
    (folder / "deck").write_text(deck, encoding="utf-8")
    programs = Path(sys.executable).parent
    launcher = [str(programs / "mpirun"), "-np", str(ranks)] if ranks > 1 else []
    run(Path(sys.executable), [str(programs / "lmp"), "-in", "deck", "-log", "none"], folder, launcher)
    found = LOOP.findall((folder / "output.txt").read_text(encoding="utf-8"))
    if not found:
        sys.exit(f"LAMMPS printed no loop time in {folder}")
    seconds, steps, percent = map(float, found[-1])
    return seconds * percent / 100 / steps


def print_ratios(names: Sequence[str], rounds: Sequence[Sequence[Mapping[str, float]]]) -> None:
    """A Markdown table of two programs: medians and ranges over the rounds, and the median of the rounds' ratios."""
    print(f"| quantity | {' | '.join(names)} | ratio |\n|:--|--:|--:|--:|", flush=True)
    for quantity in rounds[0][0]:
        ours, theirs = ([sides[side][quantity] for sides in rounds] for side in (0, 1))
        cells = [f"{statistics.median(v):.3f} ({min(v):.3f}..{max(v):.3f})" for v in (ours, theirs)]
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        cells.append(f"{statistics.median(ratios):.3f} ({min(ratios):.3f}..{max(ratios):.3f})")
        print(f"| {quantity} | {' | '.join(cells)} |", flush=True)

"""Time and memory of a program as accounted by the operating system, and tables that compare programs."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Cost:
    """Of a finished program and all its children: CPU and wall seconds, and the largest of their peak memories, MB."""

    cpu: float
    wall: float
    peak: float


def run(python: Path, arguments: Sequence[str], folder: Path, launcher: Sequence[str] = ()) -> Cost:
    """Run ``python arguments`` in a folder, one thread a process; what it prints goes to ``output.txt`` there.

    Raises:
        SystemExit: it failed; with the end of what it printed.
    """
    programs = python.parent
    environment = {
        **os.environ,
        **THREADS,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "LD_LIBRARY_PATH": f"{programs.parent / 'lib'}{os.pathsep}{os.environ.get('LD_LIBRARY_PATH', '')}",
    }
    command = [*launcher, str(python), *arguments]
    with (folder / "output.txt").open("w", encoding="utf-8") as output:
        started = time.perf_counter()
        child = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        end = (folder / "output.txt").read_text(encoding="utf-8")[-2000:]
        sys.exit(f"{' '.join(command)} in {folder} left with {child.returncode}:\n{end}")
    return Cost(_cpu(usage), wall, usage.ru_maxrss / (1 if sys.platform == "linux" else 1024) / 1024)


def _cpu(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def print_ratios(names: Sequence[str], rounds: Sequence[Sequence[Mapping[str, float]]]) -> None:
    """A Markdown table of two programs: medians and ranges over the rounds, and the median of the rounds' ratios."""
    print(f"| quantity | {' | '.join(names)} | ratio |\n|:--|--:|--:|--:|", flush=True)
    for quantity in rounds[0][0]:
        ours, theirs = ([sides[side][quantity] for sides in rounds] for side in (0, 1))
        cells = [f"{statistics.median(v):.3f} ({min(v):.3f}..{max(v):.3f})" for v in (ours, theirs)]
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        cells.append(f"{statistics.median(ratios):.3f} ({min(ratios):.3f}..{max(ratios):.3f})")
        print(f"| {quantity} | {' | '.join(cells)} |", flush=True)

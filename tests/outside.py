"""All that a test may need and a clone alone does not hold; what is out of reach skips the test, with the reason."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from places import ROOT

VARIABLE = "FITSNAP_NN_SHARED"
NATIVE_PYTHON = (3, 11)  # the one that is built into the native LAMMPS of the shared folder


class Outside:
    """Access to outside data, programs and libraries.

    Attributes:
        folder: of data and programs to compare with; None if the variable that names it is empty.
    """

    def __init__(self) -> None:
        named = os.environ.get(VARIABLE, str(ROOT.parent / "shared"))
        self.folder = Path(named).resolve() if named else None

    def file(self, name: str) -> Path:
        """A file of the shared folder."""
        if self.folder is None or not (self.folder / name).is_file():
            pytest.skip(f"no {name} in the folder of outside data, which {VARIABLE} names (default: ../shared)")
        return self.folder / name

    def native_lammps(self) -> list[str]:
        """Prefix of a command line that finds a LAMMPS with Python ML-IAP built in."""
        script = self.file("oracle/native.sh")
        if sys.version_info[:2] != NATIVE_PYTHON:
            pytest.skip("the native LAMMPS of the shared folder runs Python {}.{} only".format(*NATIVE_PYTHON))
        return ["bash", str(script)]

    def library(self, name: str) -> None:
        """An optional library that can be imported."""
        package, _, module = name.partition(".")
        if importlib.util.find_spec(package) is None or (module and importlib.util.find_spec(name) is None):
            pytest.skip(f"the optional library {name} is not installed", allow_module_level=True)

    def gpu(self) -> None:
        """A GPU that torch can use."""
        from fitsnap_nn import devices

        if reason := devices.why_no_gpu():
            pytest.skip(reason)

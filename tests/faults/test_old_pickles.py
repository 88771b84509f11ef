"""Files for LAMMPS that another version of this package wrote: an error names the command that writes them anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.plugin.runtime import read_model


@pytest.mark.parametrize("name", ["fitsnap_nn.deploy.mliappy\nrestore", "fitsnap_nn.export.mliappy\nrenamed_since"])
def test_moved_modules_and_functions(tmp_path: Path, name: str) -> None:
    path = tmp_path / "Ta_pot.mliap.pkl"
    path.write_bytes(f"c{name}\n.".encode())
    message = r"Ta_pot\.mliap\.pkl was written by another version of fitsnap_nn.*python -m fitsnap_nn export FILE\.pt"
    with pytest.raises(CheckpointError, match=message):
        read_model(path)


def test_other_packages_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(b"cno_such_package.models\nbuild\n.")
    with pytest.raises(CheckpointError, match=r"the Python package no_such_package, which .* cannot find"):
        read_model(path)


def test_an_error_of_another_package_is_its_own(tmp_path: Path) -> None:
    """In a folder with the name of this package, too."""
    path = tmp_path / "fitsnap_nn" / "model.pkl"
    path.parent.mkdir()
    path.write_bytes(b"cjson\nno_such_function\n.")
    with pytest.raises(AttributeError, match="no_such_function"):
        read_model(path)

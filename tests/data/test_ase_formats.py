"""Formats whose files lack what ASE assumes: elements and energies of LAMMPS dumps, units of RuNNer and Qbox."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import pytest
from ase.units import Bohr, Hartree

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.findings import Finding, summarize
from fitsnap_nn.data.readers import FORMATS, DataFile, ReadOptions
from fitsnap_nn.data.readers.ase_files import read_frames
from fitsnap_nn.errors import DataError

FORCE = (0.1, -0.2, 0.3)


def dump(path: Path, columns: str, atoms: str, head: str = "") -> Path:
    """Write one frame of a LAMMPS dump of one atom."""
    text = f"{head}ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS pp pp pp\n" + "0.0 4.0\n" * 3
    path.write_text(f"{text}ITEM: ATOMS {columns}\n{atoms}\n")
    return path


def read(path: Path, findings: list[Finding] | None = None) -> list[Configuration]:
    found = [] if findings is None else findings
    return list(FORMATS["ASE"].read(DataFile(str(path), "group", path.name), ReadOptions(), found))


def test_a_dump_has_forces_and_no_energy(tmp_path):
    columns, numbers = "id element x y z fx fy fz", " ".join(map(str, (1.0, 2.0, 3.0, *FORCE)))
    findings: list[Finding] = []
    (configuration,) = read(dump(tmp_path / "a.lammpstrj", columns, f"1 Cu {numbers}"), findings)
    assert configuration.species == ("Cu",)
    assert np.allclose(configuration.positions, [[1.0, 2.0, 3.0]])
    assert np.allclose(configuration.forces, [FORCE])
    assert configuration.energy is None
    assert "taken for units metal (Å, eV/Å); it contains no energies" in summarize(findings)[0]


@pytest.mark.parametrize(
    ("columns", "head", "message"),
    [
        ("id type x y z", "", "atom types instead of elements"),
        ("id mass x y z", "ITEM: UNITS\nreal\n", "in units real, which ASE does not convert"),
    ],
)
def test_a_dump_that_ase_would_misread_is_refused(tmp_path, columns, head, message):
    with pytest.raises(DataError, match=message):
        read(dump(tmp_path / "a.dump", columns, "1 1 0 0 0", head))


def test_the_units_of_runner_are_stated(tmp_path):
    path = tmp_path / "input.data"
    cell = "".join(f"lattice {' '.join('10.0' if i == j else '0.0' for j in range(3))}\n" for i in range(3))
    path.write_text(f"begin\n{cell}atom 1.0 0.0 0.0 Cu 0.0 0.0 0.1 0.0 0.0\nenergy -2.0\ncharge 0.0\nend\n")
    findings: list[Finding] = []
    (configuration,) = read(path, findings)
    assert configuration.energy == pytest.approx(-2.0 * Hartree)
    assert configuration.positions[0, 0] == pytest.approx(Bohr)
    assert configuration.forces is not None
    assert configuration.forces[0, 0] == pytest.approx(0.1 * Hartree / Bohr)
    assert any("are read in bohr and hartree" in line for line in summarize(findings))


def test_qbox_is_refused(tmp_path):
    (tmp_path / "a.xml").write_text(
        '<?xml version="1.0"?>\n<fpmd:simulation xmlns:fpmd="http://www.quantum-simulation">\n'
    )
    with pytest.raises(DataError, match="does not convert the atomic units of Qbox"):
        read_frames(str(tmp_path / "a.xml"), "qbox", [])


def test_remarks_of_ase_do_not_reach_the_terminal(tmp_path, monkeypatch, capfd):
    def iread(*_: object, **__: object) -> list[str]:
        print("progress of a parser")
        warnings.warn("this reader will move", FutureWarning, stacklevel=1)
        logging.getLogger("ase.io.gaussian").warning("Z-matrix")
        return ["frame"]

    monkeypatch.setattr("ase.io.iread", iread)
    (tmp_path / "a.xyz").write_text("")
    assert read_frames(str(tmp_path / "a.xyz"), "extxyz", []) == ["frame"]
    assert capfd.readouterr() == ("", "")

"""Formats of which ASE's readers assume what the files do not say: elements, units, and energies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from fitsnap_nn.data.findings import Finding
from fitsnap_nn.data.readers.text import open_lines
from fitsnap_nn.errors import DataError, shorten

LAMMPS_DUMP = "lammps-dump-text"
EXTXYZ = "LAMMPS' dump style extxyz writes elements, energies and forces, see docs/data.md."
# Formats that are not read, and why.
REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "qbox": "ASE does not convert the atomic units of Qbox. Convert the data to extended XYZ in eV and Å.",
        "lammps-dump-binary": f"a binary LAMMPS dump contains neither elements nor energies. {EXTXYZ}",
    }
)
# Remarks on formats whose files do not state their units.
ASSUMED: Mapping[str, str] = MappingProxyType(
    {
        LAMMPS_DUMP: "LAMMPS dump: lengths and forces are taken for units metal (Å, eV/Å); it contains no energies.",
        "runnerdata": "lengths, energies and forces are read in bohr and hartree, the units of RuNNer. Files of n2p2 "
        "may be in other units, which they do not state: convert those to extended XYZ.",
    }
)
MAX_LINES = 100  # before the column names of the first frame of a dump


def check_format(path: str, name: str, findings: list[Finding]) -> None:
    """Refuse files that ASE would misread, and note what it assumes.

    Args:
        path: the file.
        name: ASE's name of the format.
        findings: receives notes.

    Raises:
        DataError: the file contains no elements, or has units that ASE does not convert.
    """
    if name in REFUSED:
        raise DataError(f"{path}: {REFUSED[name]}")
    if name == LAMMPS_DUMP:
        _check_dump(path)
    if name in ASSUMED:
        findings.append(Finding(ASSUMED[name], path, warning=False))


def drop_invented_energies(name: str, frames: Sequence[Any]) -> None:
    """Remove the energy of 0 that ASE gives the frames of a LAMMPS dump with forces.

    Args:
        name: ASE's name of the format.
        frames: ``ase.Atoms``; changed in place.
    """
    for atoms in frames if name == LAMMPS_DUMP else ():
        if atoms.calc:
            atoms.calc.results.pop("energy", None)


def _check_dump(path: str) -> None:
    """Refuse a LAMMPS dump without elements, since ASE takes type 1 for hydrogen, or in other units than metal."""
    units = ""
    with open_lines(path) as file:
        for line, _ in zip(file, range(MAX_LINES), strict=False):
            words = line.decode("utf-8", "replace").split()
            if words[:2] == ["ITEM:", "UNITS"]:
                units = next(file, b"").decode("utf-8", "replace").strip()
            if words[:2] == ["ITEM:", "ATOMS"]:
                break
        else:
            return
    if not {"element", "mass"} & set(words):
        raise DataError(
            f"{path}: a LAMMPS dump with atom types instead of elements: ASE would take type 1 for hydrogen. Dump the "
            f"column element (dump custom, dump_modify element). {EXTXYZ}"
        )
    if units and units != "metal":
        raise DataError(f"{path}: the dump is in units {shorten(units)}, which ASE does not convert. Use units metal.")

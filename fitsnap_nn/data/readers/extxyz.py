"""Extended XYZ as ASE reads it, with atom labels and tensors as they are in the file.

ASE refuses species that are no elements (D, Cu1), and a ``stress`` or ``virial`` that is not nine numbers. Both are
hidden from it by other names while it reads the file.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from fitsnap_nn.data.findings import Finding
from fitsnap_nn.data.readers.ase_files import read_frames
from fitsnap_nn.data.readers.symbols import chemical_symbols
from fitsnap_nn.data.readers.xyz_layout import check_layout, column_count
from fitsnap_nn.errors import DataError

SPECIES = "_species"
TENSORS = ("stress", "virial")
DEFAULT = "species:S:1:pos:R:3"  # columns of a file without Properties
CP2K_MARKERS = (frozenset({"i", "E"}), frozenset({"Step", "Time", "Energy"}))


def read_extended_xyz(path: str, findings: list[Finding]) -> tuple[list[Any], list[dict[str, Any]]]:
    """Return all frames of a file as ``ase.Atoms``, and the entries of each by name.

    Raises:
        DataError: ASE cannot read the file, or a label of an atom is no element.
    """
    check_layout(path)
    frames = read_frames(path, "extxyz", findings, properties_parser=_parse_header)
    tables = []
    for k, atoms in enumerate(frames):
        where = f"{path}, configuration {k}"
        for name in TENSORS:
            if (value := atoms.info.pop(f"_{name}", None)) is not None:
                atoms.info[name] = value
        if SPECIES in atoms.arrays:
            labels = [str(label) for label in atoms.arrays.pop(SPECIES)]
            if not np.any(atoms.numbers):
                atoms.set_chemical_symbols(chemical_symbols(labels, where, path, findings))
        if not np.all(atoms.numbers):
            raise DataError(f"{where}: the file does not name the elements. Add a column species with their symbols.")
        tables.append(entries(atoms))
        if CP2K_MARKERS[0] <= tables[-1].keys():
            raise DataError(
                f"{path}: this is a trajectory of CP2K: its energies are in hartree, and cell and forces are in other "
                "files. Convert all to one extended XYZ file in eV and Å, with Lattice, energy and forces."
            )
    return frames, tables


def entries(atoms: Any) -> dict[str, Any]:
    """Return header entries, per-atom columns and calculator results of a frame by name."""
    columns = {name: array for name, array in atoms.arrays.items() if name not in ("numbers", "positions")}
    return {**atoms.info, **columns, **(atoms.calc.results if atoms.calc else {})}


def _parse_header(line: str) -> dict[str, Any]:
    from ase.io.extxyz import key_val_str_to_dict

    names = "|".join(TENSORS)
    fields: dict[str, Any] = key_val_str_to_dict(re.sub(rf"(?<![^\s])({names})(?=\s*=)", r"_\1", line))
    columns = str(fields.get("Properties", DEFAULT))
    column_count(columns)  # ASE would create as many columns as are declared
    fields["Properties"] = re.sub(r"(^|:)(species|symbols):S:1(?=:|$)", rf"\1{SPECIES}:S:1", columns)
    return fields

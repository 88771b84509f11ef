"""Files that are not read but whose program is known, and how to convert them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

CONVERSION = "see 'Other programs' in docs/data.md"
NO_FORMAT = "not a data file of a known format."
HEAD = 65536  # bytes in which outputs name their program
# Text in the output of programs that ASE reads, and of others.
READ_BY_ASE: Mapping[bytes, str] = MappingProxyType(
    {
        b"Program PWSCF": "Quantum ESPRESSO",
        b"Invoking FHI-aims": "FHI-aims",
        b"CASTEP version": "CASTEP",
        b"Entering Gaussian System": "Gaussian",
        b"O   R   C   A": "ORCA",
        b"Northwest Computational Chemistry Package": "NWChem",
    }
)
OTHERS: Mapping[bytes, str] = MappingProxyType({b"CP2K|": "CP2K", b"ABACUS": "ABACUS", b"SIESTA": "SIESTA"})
DUMP = b"ITEM: TIMESTEP"
RUNNER = re.compile(rb"\s*begin\b[^\n]*\n(?:\s*(?:comment|#)[^\n]*\n)*\s*(?:lattice|atom)\s", re.IGNORECASE)
DEEPMD = re.compile(r"(type|type_map|box|coord|energy|force|virial)\.raw|(box|coord|energy|force|virial)\.npy")


def reason_not_read(path: Path) -> str:
    """Return what a file is and how its data can be used, for a file that no reader takes.

    Args:
        path: a readable file.
    """
    if DEEPMD.fullmatch(path.name):
        return f"data of DeePMD-kit. To convert them, {CONVERSION}."
    with path.open("rb") as file:
        head = file.read(HEAD)
    if DUMP in head:
        return f"a LAMMPS dump, which has no energies. Use dump style extxyz, {CONVERSION}."
    if RUNNER.match(head):
        return f"data of RuNNer or n2p2. To convert them, {CONVERSION}."
    for text, program in READ_BY_ASE.items():
        if text in head:
            return f"output of {program}. Convert it with `ase convert`, {CONVERSION}."
    for text, program in OTHERS.items():
        if text in head:
            return f"output of {program}. To convert it, {CONVERSION}."
    return NO_FORMAT

"""Chemical symbols from the labels of atoms in data files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from fitsnap_nn.data.findings import Finding
from fitsnap_nn.errors import DataError
from fitsnap_nn.settings.elements import SYMBOLS

ISOTOPES: Mapping[str, str] = MappingProxyType({"D": "H", "T": "H"})
KNOWN = frozenset(SYMBOLS)


def chemical_symbols(labels: Sequence[str], where: str, path: str, findings: list[Finding]) -> list[str]:
    """Return the element of each atom; isotopes and numbered labels such as ``Cu1`` are mapped and noted.

    Args:
        labels: one label per atom.
        where: file and frame, for errors.
        path: the file, for notes.
        findings: receives notes.

    Raises:
        DataError: a label is no element.
    """
    symbols = {label: _symbol(label, where) for label in dict.fromkeys(labels)}
    mapped = [f"{label} as {symbol}" for label, symbol in symbols.items() if label.capitalize() != symbol]
    if mapped:
        findings.append(Finding(f"atoms labelled {', '.join(mapped)} are read as these elements.", path, warning=False))
    return [symbols[label] for label in labels]


def _symbol(label: str, where: str) -> str:
    symbol = label.capitalize()
    if symbol in KNOWN:
        return symbol
    stem = symbol.rstrip("0123456789")
    if symbol in ISOTOPES:
        return ISOTOPES[symbol]
    if stem != symbol and stem in KNOWN:
        return stem
    raise DataError(
        f"{where}: '{label}' is not a chemical element. Write the element's symbol in the file "
        "(LAMMPS: dump_modify element). "
        "Labels with a number (Cu1) and the isotopes D and T are read as the element."
    )

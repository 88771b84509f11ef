"""Data files for LAMMPS' ``read_data``, in units ``metal``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.data import atomic_masses, atomic_numbers

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.lammps.cell import LammpsCell, to_lammps
from fitsnap_nn.settings.lammps_words import printable


def data_text(configuration: Configuration, elements: Sequence[str], atom_style: str) -> str:
    """Return the text of a data file with box, masses and atoms; atom i of the configuration has atom ID i + 1.

    Args:
        elements: chemical symbols, in the order of the atom types.
        atom_style: ``atomic``, ``charge`` or ``spin``.

    Raises:
        DataError: the configuration contains another element, or its cell is invalid.
    """
    cell = to_lammps(configuration)
    lines = [f"# {printable(configuration.id)}; units metal (Å, g/mol)", ""]
    lines += [f"{len(configuration)} atoms", f"{len(elements)} atom types", ""]
    lines += [f"{lo:.17g} {hi:.17g} {x}lo {x}hi" for x, lo, hi in zip("xyz", cell.lo, cell.hi, strict=True)]
    if cell.triclinic:
        lines.append(f"{cell.xy:.17g} {cell.xz:.17g} {cell.yz:.17g} xy xz yz")
    lines += ["", "Masses", ""]
    masses = [atomic_masses[atomic_numbers[element]] for element in elements]
    lines += [f"{n} {mass:.8g}  # {el}" for n, (mass, el) in enumerate(zip(masses, elements, strict=True), start=1)]
    lines += ["", f"Atoms  # {atom_style}", ""]
    for number, element in enumerate(configuration.element_indices(elements)):
        leading, trailing = _atom_columns(configuration, cell, atom_style, number)
        columns = [*leading, *cell.positions[number], *trailing]
        values = " ".join(f"{value:.17g}" for value in columns)
        lines.append(f"{number + 1} {element + 1} {values}")
    return "\n".join(lines) + "\n"


def _atom_columns(
    configuration: Configuration, cell: LammpsCell, atom_style: str, number: int
) -> tuple[list[float], list[float]]:
    """Return the columns of an atom style between atom type and coordinates, and those after the coordinates.

    See the table of atom styles in the LAMMPS manual (``read_data``).
    """
    if atom_style == "charge":
        return [0.0 if configuration.charges is None else float(configuration.charges[number])], []
    if atom_style == "spin":
        magnitude, *direction = [0.0, 0.0, 0.0, 1.0] if configuration.spins is None else configuration.spins[number]
        return [], [*(cell.rotation @ np.array(direction)), magnitude]
    return [], []

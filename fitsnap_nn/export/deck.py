"""Atoms for LAMMPS, and an input of molecular dynamics to start from; in LAMMPS' units ``metal``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil

import numpy as np
from ase.data import atomic_masses, atomic_numbers

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.lammps.cell import LammpsCell, to_lammps

LEAST_ATOMS = 100  # the deck repeats its cell until it has about as many


def deck_text(structure: Configuration, *, deck: str, mod: str, data: str, atom_style: str) -> str:
    """Molecular dynamics at constant energy with the potential; the names are those of the files."""
    cell = to_lammps(structure)
    lines = [
        f"# Molecular dynamics with {mod}. Units metal: Å, ps, eV, K, bar.",
        f"# lmp -in {deck}      or      mpirun -np 2 lmp -in {deck}",
        "# Without the plugin memory grows with the square of the atoms on a rank: about 3 GB for 5000.",
        "variable potential_folder index .",
        "variable temperature index 300",
        "variable steps index 1000",
        "",
        "units metal",
        f"atom_style {atom_style}",
        f"boundary {cell.boundary}",
        f"read_data ${{potential_folder}}/{data}",
        f"replicate {' '.join(map(str, _repeats(cell)))}",
        f"include ${{potential_folder}}/{mod}",
        "",
        "velocity all create ${temperature} 4928459 mom yes rot no dist gaussian",
        "timestep 0.0005",
        "fix integrate all nve",
        "thermo_style custom step temp pe ke etotal econserve press",
        "thermo 100",
        "run ${steps}",
    ]
    return "\n".join(lines) + "\n"


def data_text(configuration: Configuration, elements: Sequence[str], atom_style: str) -> str:
    """A file for ``read_data``: box, masses and atoms, atom i of the configuration having id i + 1."""
    cell = to_lammps(configuration)
    lines = [f"# {configuration.id}; units metal (Å, g/mol)", ""]
    lines += [f"{len(configuration)} atoms", f"{len(elements)} atom types", ""]
    lines += [f"{lo:.17g} {hi:.17g} {x}lo {x}hi" for x, lo, hi in zip("xyz", cell.lo, cell.hi, strict=True)]
    if cell.triclinic:
        lines.append(f"{cell.xy:.17g} {cell.xz:.17g} {cell.yz:.17g} xy xz yz")
    lines += ["", "Masses", ""]
    masses = [atomic_masses[atomic_numbers[element]] for element in elements]
    lines += [f"{n} {mass:.8g}  # {el}" for n, (mass, el) in enumerate(zip(masses, elements, strict=True), start=1)]
    lines += ["", f"Atoms  # {atom_style}", ""]
    for number, element in enumerate(configuration.element_indices(elements)):
        before, after = _atom_columns(configuration, cell, atom_style, number)
        columns = [*before, *cell.positions[number], *after]
        values = " ".join(f"{value:.17g}" for value in columns)
        lines.append(f"{number + 1} {element + 1} {values}")
    return "\n".join(lines) + "\n"


def starting_structure(configurations: Iterable[Configuration]) -> Configuration:
    """The one to begin molecular dynamics from: most elements, fully periodic, then of the least energy per atom."""

    def rank(configuration: Configuration) -> tuple[int, bool, float]:
        energy = np.inf if configuration.energy is None else configuration.energy / len(configuration)
        return -len(set(configuration.species)), not all(configuration.pbc), energy

    return min(configurations, key=rank)


def _atom_columns(
    configuration: Configuration, cell: LammpsCell, atom_style: str, number: int
) -> tuple[list[float], list[float]]:
    """What an atom style has before and after the coordinates, between the type and the end of the line."""
    if atom_style == "charge":
        return [0.0 if configuration.charges is None else float(configuration.charges[number])], []
    if atom_style == "spin":
        magnitude, *direction = [0.0, 0.0, 0.0, 1.0] if configuration.spins is None else configuration.spins[number]
        return [], [*(cell.rotation @ np.array(direction)), magnitude]
    return [], []


def _repeats(cell: LammpsCell) -> tuple[int, int, int]:
    """How often to repeat a cell along periodic directions for about ``LEAST_ATOMS`` atoms in a box near a cube."""
    lengths = cell.hi - cell.lo
    periodic = [letter == "p" for letter in cell.boundary.split()]
    side = (LEAST_ATOMS / len(cell.positions) * float(np.prod(lengths))) ** (1 / 3)
    first, second, third = (ceil(side / length) if p else 1 for length, p in zip(lengths, periodic, strict=True))
    return first, second, third

"""Example input for molecular dynamics, in LAMMPS' units ``metal``."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

import numpy as np

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.lammps.cell import LammpsCell, to_lammps

TARGET_ATOMS = 100  # the cell is replicated to about this number of atoms


def deck_text(structure: Configuration, *, deck: str, mod: str, data: str, atom_style: str) -> str:
    """Return a LAMMPS input for molecular dynamics at constant energy.

    Args:
        structure: initial structure.
        deck, mod, data: names of this input, of the ``.mod`` file and of the data file.
        atom_style: LAMMPS atom style.
    """
    cell = to_lammps(structure)
    lines = [
        f"# Molecular dynamics with {mod}. Units metal: Å, ps, eV, K, bar.",
        f"# lmp -in {deck}      or      mpirun -np 2 lmp -in {deck}",
        "# Without the plugin, memory grows with the square of the number of atoms per rank: about 3 GB for 5000.",
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


def starting_structure(configurations: Iterable[Configuration]) -> Configuration:
    """Return the initial structure of the example.

    Preferred are, in this order, the largest number of elements, full periodicity and the lowest energy per atom.

    Args:
        configurations: candidates, at least one.
    """

    def rank(configuration: Configuration) -> tuple[int, bool, float]:
        energy = np.inf if configuration.energy is None else configuration.energy / len(configuration)
        return -len(set(configuration.species)), not all(configuration.pbc), energy

    return min(configurations, key=rank)


def _repeats(cell: LammpsCell) -> tuple[int, int, int]:
    """Return replications along periodic directions for about ``TARGET_ATOMS`` atoms in a nearly cubic box."""
    lengths = cell.hi - cell.lo
    periodic = [letter == "p" for letter in cell.boundary.split()]
    side = (TARGET_ATOMS / len(cell.positions) * float(np.prod(lengths))) ** (1 / 3)
    first, second, third = (ceil(side / length) if p else 1 for length, p in zip(lengths, periodic, strict=True))
    return first, second, third

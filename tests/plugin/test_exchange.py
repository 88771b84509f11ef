"""Message passing at any number of ranks, against the same model on the whole periodic structure at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.neighborlist import primitive_neighbor_list
from decks import COLUMNS, crystal, last_dump, save, start, tilted, write_deck
from numpy.typing import NDArray
from once import once
from processes import run
from toy_models import EdgeMessages, NodeMessages, Pass, TorchModel, places

ELEMENTS = ["Ar", "Kr"]
CUTOFF = 3.4
STEPS = 4
BAR_PER_EV = 1.6021765e6  # of 1 Å³, as LAMMPS has it


@dataclass(frozen=True)
class Case:
    """One run.

    Attributes:
        tolerance: of forces, in units of the largest; likewise of energies and of the virial.
        pair: the pair_style and pair_coeff commands, with FILE for the model's.
        before: commands before there is a box.
        after: commands once there is one.
    """

    model: TorchModel
    atoms: Atoms
    tolerance: float = 1e-9
    pair: tuple[str, ...] = ("pair_style mliap unified FILE", "pair_coeff * * Kr Ar")
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


def in_a_corner() -> Atoms:
    """Atoms of a quarter of a box that does not repeat: other ranks have none."""
    atoms = crystal(2)
    atoms.pbc = False
    atoms.positions += 1.0
    atoms.set_cell([40.0, 40.0, 20.0])
    return atoms


OVERLAY = (
    "pair_style hybrid/overlay zero 5.0 mliap unified FILE 0",
    "pair_coeff * * zero",
    "pair_coeff * * mliap Kr Ar",
)

CASES = {
    "nodes": Case(NodeMessages(ELEMENTS, CUTOFF, 7), crystal(3)),
    "nodes wider than a message": Case(NodeMessages(ELEMENTS, CUTOFF, 70), crystal(3)),
    "nodes in float32": Case(NodeMessages(ELEMENTS, CUTOFF, 9, torch.float32), crystal(3), tolerance=1e-4),
    "nodes, tiled": Case(
        NodeMessages(ELEMENTS, CUTOFF, 7), crystal(3), before=("comm_style tiled",), after=("balance 0.9 rcb",)
    ),
    "nodes, newton off": Case(NodeMessages(ELEMENTS, CUTOFF, 7), crystal(3), before=("newton off",)),
    "nodes, tilted overlay": Case(NodeMessages(ELEMENTS, CUTOFF, 7), tilted(crystal(3)), pair=OVERLAY),
    "nodes, empty ranks": Case(NodeMessages(ELEMENTS, CUTOFF, 7), in_a_corner(), before=("processors * * 1",)),
    "pairs": Case(EdgeMessages(ELEMENTS, CUTOFF, ghosts=False), crystal(3)),
    "pairs, tilted overlay": Case(EdgeMessages(ELEMENTS, CUTOFF, ghosts=False), tilted(crystal(3)), pair=OVERLAY),
    "pairs, empty ranks": Case(EdgeMessages(ELEMENTS, CUTOFF, ghosts=False), in_a_corner()),
    "nodes, own images": Case(NodeMessages(ELEMENTS, 4.5, 7), crystal(1)),
    "pairs, own images": Case(EdgeMessages(ELEMENTS, 4.5, ghosts=False), crystal(1)),
    "pairs of ghosts": Case(EdgeMessages(ELEMENTS, 2.9, ghosts=True), crystal(2)),
    "pairs of ghosts, newton off": Case(EdgeMessages(ELEMENTS, 2.9, ghosts=True), crystal(2), before=("newton off",)),
}


# Four ranks on two cores take their time.
RUNS = {
    1: tuple(CASES),
    2: tuple(CASES),
    4: ("nodes wider than a message", "nodes, empty ranks", "pairs, tilted overlay"),
}


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory, plugin_environment: None) -> Callable[[int, str], Path]:
    """The dump of a case at a number of ranks; one LAMMPS runs all cases, one after the other."""
    folder = tmp_path_factory.mktemp("exchange")

    @once
    def run_all(ranks: int) -> None:
        deck = write_deck(folder / "in.deck", [line for case in RUNS[ranks] for line in commands(folder, case, ranks)])
        ended = run(["mpirun", "-np", str(ranks), "lmp", "-in", str(deck), "-log", "none"], folder, timeout=90)
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def dump_of(ranks: int, name: str) -> Path:
        run_all(ranks)
        return folder / f"{list(CASES).index(name)}.{ranks}.dump"

    return dump_of


def commands(folder: Path, name: str, ranks: int) -> list[str]:
    case, number = CASES[name], list(CASES).index(name)
    model = save(folder / f"{number}.pkl", case.model)
    first, *rest = start(
        folder / f"{number}.data", case.atoms, [*case.after, *(line.replace("FILE", str(model)) for line in case.pair)]
    )
    return [
        "clear",
        first,
        *case.before,
        *rest,
        "velocity all create 600 11 loop geom",
        "timestep 0.002",
        "neigh_modify every 2 delay 0 check no",
        "fix move all nve",
        f"dump atoms all custom {STEPS} {number}.{ranks}.dump {COLUMNS}",
        "dump_modify atoms sort id format float %.17g",
        f"run {STEPS}",
    ]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("ranks", "name"), [(ranks, name) for ranks, names in RUNS.items() for name in names])
def test_same_as_the_whole_structure_at_once(dumps: Callable[[int, str], Path], ranks: int, name: str) -> None:
    case = CASES[name]
    found = last_dump(dumps(ranks, name))
    atoms = case.atoms.copy()
    atoms.positions = found[:, 2:5]
    energies, forces, virial = whole(case.model, atoms)
    for expected, got in [(energies, found[:, 8]), (forces, found[:, 5:8]), (virial, found[:, 9:].sum(0) / BAR_PER_EV)]:
        assert np.abs(got - expected).max() <= case.tolerance * np.abs(expected).max()


def test_forces_are_not_small(dumps: Callable[[int, str], Path]) -> None:
    assert all(np.abs(last_dump(dumps(1, name))[:, 5:8]).max() > 1e-4 for name in CASES)


def whole(model: TorchModel, atoms: Atoms) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Energies of atoms, and derivatives of their sum: forces, and by strain (xx, yy, zz, xy, xz, yz).

    The graph is that of the periodic structure: there are no ghosts, every neighbour is an atom itself.
    """
    pair_i, pair_j, shift = primitive_neighbor_list(
        "ijS", atoms.pbc, atoms.cell, atoms.positions, model.cutoff, self_interaction=False
    )
    positions = torch.from_numpy(atoms.positions).requires_grad_(True)
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    offsets = torch.from_numpy(shift @ np.array(atoms.cell))
    i, j = torch.from_numpy(pair_i), torch.from_numpy(pair_j)
    vectors = (positions[j] - positions[i] + offsets) @ (torch.eye(3, dtype=torch.float64) + strain)
    # pair_coeff has Kr for type 1, which is Ar in the data file.
    elems = torch.tensor([1 if symbol == "Ar" else 0 for symbol in atoms.symbols])

    passing = passing_in(model, pair_i, pair_j, shift)
    energies = model.atom_energies(elems, i, j, vectors.to(model.dtype), passing).double()
    energies.sum().backward()
    assert positions.grad is not None
    assert strain.grad is not None
    virial = np.array([strain.grad[a, b] for a, b in [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]])
    return energies.detach().numpy(), -positions.grad.numpy(), virial


def passing_in(model: TorchModel, i: NDArray[np.int64], j: NDArray[np.int64], shift: NDArray[np.int64]) -> Pass:
    """Replacement of an exchange on one rank: features of atoms stay, messages along edges are reversed."""
    if not isinstance(model, EdgeMessages):
        return lambda features: features
    there = [(a, b, *s) for a, b, s in zip(i, j, shift, strict=True)]
    back = [(b, a, *-s) for a, b, s in zip(i, j, shift, strict=True)]
    found = places(there, back)
    return lambda messages: messages[found]

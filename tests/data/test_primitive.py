"""Primitive cells of supercells: the same crystal, the same energy per atom, and what is left as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.calculators.emt import EMT
from ase.spacegroup import crystal

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.neighbours import find_neighbours
from fitsnap_nn.data.primitive import LABELS, POSITIONS, primitive_of

SHEAR = np.eye(3) + np.array([[0.03, 0.02, 0.0], [0.0, -0.04, 0.05], [0.01, 0.0, 0.02]])


def configuration(atoms: Atoms, **options: object) -> Configuration:
    fields = {"labels": {}, "weights": {"forces": 2.0}, **options}
    return Configuration(
        "x", "A", tuple(atoms.get_chemical_symbols()), atoms.positions, atoms.cell.array, tuple(atoms.pbc), **fields
    )


def strained(atoms: Atoms, matrix: object) -> Atoms:
    atoms = make_supercell(atoms, matrix)
    atoms.set_cell(atoms.cell.array @ SHEAR, scale_atoms=True)
    return atoms


def environments(one: Configuration, cutoff: float = 5.0) -> dict[str, list[float]]:
    """Distances to the neighbours of one atom per element, in increasing order."""
    found = find_neighbours(one, cutoff)
    lengths = np.linalg.norm(found.vectors, axis=1)
    return {element: sorted(lengths[found.i == one.species.index(element)]) for element in set(one.species)}


@pytest.mark.parametrize(
    ("atoms", "matrix", "size"),
    [
        (bulk("Ni", "fcc", 3.5, cubic=True), np.diag([3, 3, 3]), 1),
        (bulk("Ta", "bcc", 3.3, cubic=True), np.diag([1, 2, 5]), 1),
        (bulk("Ta", "bcc", 3.3), [[2, 1, 0], [-1, 3, 1], [0, 1, 2]], 1),
        (bulk("Si", "diamond", 5.4, cubic=True), np.diag([2, 2, 2]), 2),
        (bulk("Mg", "hcp", 3.2, 5.2), np.diag([3, 3, 2]), 2),
        (bulk("NaCl", "rocksalt", 5.6, cubic=True), [[1, 1, 0], [-1, 1, 0], [0, 0, 3]], 2),
        (crystal(["Ti", "O"], [(0, 0, 0), (0.3, 0.3, 0)], spacegroup=136, cellpar=[4.6, 4.6, 2.95, 90, 90, 90]),
         np.diag([2, 1, 3]), 6),
    ],
)  # fmt: skip
def test_crystals(atoms: Atoms, matrix: object, size: int) -> None:
    supercell = configuration(strained(atoms, matrix))
    moved = replace(supercell, positions=supercell.positions + np.array([1.0, -7.0, 20.0]))
    for one in (supercell, moved):
        found, copies = primitive_of(one)
        assert (len(found), copies) == (size, len(supercell) // size)
        assert found.volume * copies == pytest.approx(supercell.volume, rel=1e-12)
        expected = environments(supercell)
        for element, lengths in environments(found).items():
            assert lengths == pytest.approx(expected[element], abs=1e-9)
        assert np.linalg.cond(found.cell) < 6.0
    assert primitive_of(primitive_of(supercell).configuration).copies == 1


def test_labels_and_weights() -> None:
    """A crystal with internal strain, whose two sublattices have opposite forces; energies by EMT."""
    atoms = bulk("Cu", "fcc", 3.6, cubic=True)
    atoms.positions[0] += [0.1, 0.02, -0.05]
    atoms = strained(atoms, np.diag([1, 2, 3]))
    atoms.calc = EMT()
    forces = atoms.get_forces()
    labels = {"energy": np.array(atoms.get_potential_energy()), "forces": forces, "stress": np.eye(3)}
    weights = {"energy": 3.0, "forces": 5.0}
    found, copies = primitive_of(configuration(atoms, labels=labels, weights=weights, stage_two_weights=weights))
    assert copies == 6
    assert dict(found.weights) == dict(found.stage_two_weights) == {"energy": 3.0, "forces": 30.0}
    alone = Atoms(found.species, found.positions, cell=found.cell, pbc=True)
    alone.calc = EMT()
    assert float(found.labels["energy"]) == pytest.approx(alone.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(found.labels["forces"], alone.get_forces(), atol=1e-9)
    np.testing.assert_array_equal(found.labels["stress"], np.eye(3))
    assert primitive_of(configuration(atoms)).configuration.weight("forces") == 12.0


def test_noise() -> None:
    atoms = strained(bulk("Ni", "fcc", 3.5, cubic=True), np.diag([2, 2, 2]))
    random = np.random.default_rng(1)
    noise = random.uniform(-1, 1, (len(atoms), 3))
    rounded = configuration(atoms, labels={"forces": 0.4 * LABELS * noise})
    assert primitive_of(replace(rounded, positions=np.round(rounded.positions, 5))).copies == 32
    displaced = replace(rounded, positions=rounded.positions + 10 * POSITIONS * noise)
    assert primitive_of(displaced).configuration is displaced
    wrong = replace(rounded, labels={"forces": 3 * LABELS * noise})
    assert primitive_of(wrong).configuration is wrong


def test_what_stays_as_it_is() -> None:
    atoms = strained(bulk("Ni", "fcc", 3.5, cubic=True), np.diag([2, 1, 1]))
    one = configuration(atoms)
    vacancy = configuration(atoms[:-1])
    alloy = replace(one, species=("Cu", *one.species[1:]))
    slab = replace(one, pbc=(True, True, False))
    charged = replace(one, charges=np.zeros(len(one)))
    magnetic = replace(one, spins=np.zeros((len(one), 4)))
    dipole = replace(one, labels={"dipole": np.zeros(3)})
    for other in (vacancy, alloy, slab, charged, magnetic, dipole, configuration(bulk("Ni"))):
        assert primitive_of(other) == (other, 1)
    assert primitive_of(one).copies == 8


def test_an_ordered_alloy_keeps_its_order() -> None:
    """CsCl: a bcc lattice if the elements were not distinguished."""
    atoms = make_supercell(bulk("CsCl", "cesiumchloride", 4.1), np.diag([2, 2, 2]))
    found, copies = primitive_of(configuration(atoms))
    assert (copies, sorted(found.species)) == (8, ["Cl", "Cs"])

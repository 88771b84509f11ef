"""Cutoffs, repulsion and weights of new inputs, on structures with known shells and labels with known spreads."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from fitsnap_nn.data.configuration import Configuration, Subset
from fitsnap_nn.data.survey import (
    LONGEST,
    SPARSE_CUTOFF,
    choose_cutoff,
    elements_of,
    isolated_energies,
    measure_distances,
    neighbours_within,
    repulsion_radii,
)
from fitsnap_nn.data.weighting import (
    Spread,
    choose_sizes,
    choose_weights,
    measure_spread,
    typical_energies,
    typical_spread,
)
from fitsnap_nn.units import BAR

NUMBERS = itertools.count()


def configuration(atoms: Atoms, **labels: object) -> Configuration:
    pbc = tuple(map(bool, atoms.pbc))
    arrays = {name: np.asarray(value, dtype=float) for name, value in labels.items()}
    species = tuple(atoms.get_chemical_symbols())
    return Configuration(f"g/{next(NUMBERS)}", "g", species, atoms.positions, atoms.cell.array, pbc, arrays)


@pytest.mark.parametrize(
    ("atoms", "wanted", "between", "count"),
    [
        # Shells of bcc, a = 3.3 Å: 8 at 2.86, 6 at 3.30, 12 at 4.67, 24 at 5.47 Å.
        (bulk("Ta", "bcc", a=3.3, cubic=True), 22, (4.67, 5.47), 26),
        (bulk("Ta", "bcc", a=3.3, cubic=True), 13, (3.30, 4.67), 14),
        # fcc, a = 3.6 Å: 12 at 2.55, 6 at 3.60, 24 at 4.41, 12 at 5.09 Å.
        (bulk("Cu", "fcc", a=3.6), 22, (4.41, 5.09), 42),
        # Zinc blende, a = 5.9 Å: 4 at 2.55, 12 at 4.17, 12 at 4.89, 6 at 5.90 Å.
        (bulk("InP", "zincblende", a=5.9), 22, (4.89, 5.90), 28),
    ],
)
def test_the_cutoff_is_between_two_shells(atoms, wanted, between, count):
    found = measure_distances([configuration(atoms)], elements_of([configuration(atoms)]))
    cutoff = choose_cutoff(found.neighbours, wanted)
    assert between[0] + 0.1 < cutoff < between[1] - 0.1
    assert neighbours_within(found.neighbours, cutoff) == pytest.approx(count)


def test_a_molecule_never_has_the_wanted_number_of_neighbours():
    found = measure_distances([configuration(molecule("CH3CH2OH"))], ["C", "H", "O"])
    assert choose_cutoff(found.neighbours, 22) == SPARSE_CUTOFF
    assert neighbours_within(found.neighbours, LONGEST) == pytest.approx([8, 8, 8])


def test_shortest_distances_of_each_pair():
    water = molecule("H2O")
    found = measure_distances([configuration(water), configuration(Atoms("O"))], ["H", "O", "C"])
    assert found.shortest == {
        ("H", "O"): pytest.approx(water.get_distance(0, 1)),
        ("H", "H"): pytest.approx(water.get_distance(1, 2)),
    }


def test_the_repulsion_ends_inside_every_bond():
    shortest = {("H", "O"): 0.968, ("H", "H"): 1.526}
    radii = repulsion_radii(["H", "O"], shortest)
    assert set(radii) == {("H", "H"), ("H", "O"), ("O", "O")}
    for pair, (inner, outer) in radii.items():
        assert 0.0 < inner < outer
        assert outer < shortest.get(pair, 1.2)  # O-O: 0.8 times twice the covalent radius, 0.66 Å
    assert radii["H", "O"][1] == pytest.approx(0.9)


def test_isolated_atoms_have_no_neighbours_and_an_energy():
    alone = [configuration(Atoms("H"), energy=-13.5), configuration(Atoms("H"), energy=-13.7)]
    crystal = configuration(bulk("Ta"), energy=-11.8)
    unlabelled = configuration(Atoms("O"))
    assert isolated_energies([*alone, crystal, unlabelled]) == {"H": pytest.approx(-13.6)}


def test_an_outlier_does_not_change_the_typical_energies():
    """Two elements with energies -3 and -8 eV, exactly, and one cell at +28 eV/atom."""
    cells = [Atoms(f"Cu{n}Ta{4 - n}", cell=[9, 9, 9], pbc=True) for n in range(5)] * 4
    energies = {"Cu": -3.0, "Ta": -8.0}
    members = [configuration(atoms, energy=sum(energies[s] for s in atoms.symbols)) for atoms in cells]
    members.append(configuration(Atoms("Cu4", cell=[9, 9, 9], pbc=True), energy=4 * 28.0))
    assert typical_energies(members, ["Cu", "Ta"]) == pytest.approx([-3.0, -8.0], abs=1e-2)


def test_spreads_of_labels():
    rng = np.random.default_rng(1)
    atoms = bulk("Ta", cubic=True)
    members = []
    for _ in range(1000):
        stress = 3000.0 * BAR * rng.standard_normal((3, 3))
        energy = 2.0 * (-11.0 + 0.2 * rng.standard_normal())
        members.append(configuration(atoms, energy=energy, forces=0.5 * rng.standard_normal((2, 3)), stress=stress))
    found = measure_spread(members, ["Ta"], np.array([-11.0]))
    assert found == pytest.approx((0.2, 0.5, 3000.0), rel=0.05)
    # The median of absolute normal deviates is 0.6745 standard deviations. Forces of 0.5 eV/Å count as 0.125 eV/atom.
    assert typical_spread(members, ["Ta"], np.array([-11.0])).energy == pytest.approx(0.1349, rel=0.1)
    assert typical_spread(members[:1], ["Ta"], np.array([members[0].energy / 2])).energy == pytest.approx(
        0.25 * np.sqrt(np.mean(members[0].forces ** 2))
    )
    assert measure_spread([configuration(Atoms("Ta"))], ["Ta"], np.array([-11.0])) == (None, None, None)


def test_stresses_of_cells_that_are_not_periodic_do_not_count():
    slab = Atoms("Ta", cell=[3, 3, 20], pbc=(True, True, False))
    assert measure_spread([configuration(slab, stress=np.eye(3))], ["Ta"], np.array([-11.0])).stress is None


def test_weights_are_inverse_squares_of_spreads():
    whole = Spread(0.2, 0.5, 1e4)
    energy, force, stress = choose_weights(Spread(0.01, 0.1, 100.0), whole)
    assert force == pytest.approx(1 / 0.5**2)
    assert choose_weights(Spread(2.0, 1.4, 1e6), whole) == pytest.approx((energy / 100, force, stress / 1e4))
    assert choose_weights(Spread(0.1, 15.0, 0.0), whole) == pytest.approx((energy, force / 100, stress))
    assert choose_weights(Spread(0.1, None, None), whole) == (energy, 0.0, 0.0)
    assert choose_weights(Spread(0.1, 0.1, None), Spread(0.2, 0.5, None))[2] == 0.0


@pytest.mark.parametrize(
    ("count", "counts"),
    [(1, (1, 0, 0)), (4, (4, 0, 0)), (5, (4, 1, 0)), (19, (17, 2, 0)), (20, (16, 2, 2)), (363, (291, 36, 36))],
)
def test_sizes_of_groups(count, counts):
    sizes = choose_sizes(count, Subset.TRAINING, has_validation=False, has_test=False)
    assert [round(size * count, 9) for size in sizes] == pytest.approx(counts)


def test_groups_that_are_a_set_by_name():
    assert choose_sizes(50, Subset.TEST, False, True) == (0, 0, 1)
    assert choose_sizes(50, Subset.VALIDATION, True, False) == (0, 1, 0)
    assert choose_sizes(50, Subset.TRAINING, True, True) == (1, 0, 0)
    assert choose_sizes(50, Subset.TRAINING, False, True) == pytest.approx((0.9, 0.1, 0))

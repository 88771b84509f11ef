"""LAMMPS with exported files, held against itself: forces and pressure are derivatives, energy is conserved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drift import nve_drift
from random_potentials import crystal, random_bpnn

from fitsnap_nn.data.voigt import from_voigt
from fitsnap_nn.export.lammps_files import write_lammps_files
from fitsnap_nn.lammps.evaluate import evaluate_in_lammps
from fitsnap_nn.lammps.files import LammpsFiles
from fitsnap_nn.lammps.program import Lammps
from fitsnap_nn.settings.schema import Bispectrum, Reference

TA = Bispectrum(type=("Ta",), twojmax=(6,), bzeroflag=True)
INP = Bispectrum(num_types=2, type=("In", "P"), twojmax=(6,), wj=(1.0, 0.9), radelem=(0.5, 0.42))
ZBL = Reference(pair_style="zbl 4.0 4.8", pair_coeff=("1 1 49 49", "1 2 49 15", "2 2 15 15"))


def exported(folder: Path, bispectrum: Bispectrum, reference: Reference, option: int = 1) -> LammpsFiles:
    return write_lammps_files(random_bpnn(bispectrum, option=option), reference, folder, "random")


@pytest.mark.parametrize("option", [1, 2, 3])
def test_forces_are_minus_the_derivatives_of_the_energy(tmp_path: Path, wheel: Lammps, option: int) -> None:
    files = exported(tmp_path, INP, ZBL, option)
    configuration = crystal(INP.type, 5, skew=0.1)
    step = 2e-4
    directions = np.random.default_rng(0).standard_normal((4, len(configuration), 3))
    moved = [
        replace(configuration, positions=configuration.positions + sign * step * direction)
        for direction in directions
        for sign in (-2, -1, 1, 2)
    ]
    here, *there = evaluate_in_lammps(files, [configuration, *moved], wheel, "nn")
    assert here is not None
    energies = np.array([found.energy for found in there if found]).reshape(-1, 4)
    slopes = energies @ np.array([1.0, -8.0, 8.0, -1.0]) / (12 * step)
    expected = -np.einsum("dnx,nx->d", directions, here.forces)
    assert np.abs(slopes - expected).max() < 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize("option", [1, 2, 3])
def test_stress_is_the_derivative_of_the_energy_by_strain(tmp_path: Path, wheel: Lammps, option: int) -> None:
    files = exported(tmp_path, INP, ZBL, option)
    configuration = crystal(INP.type, 5, skew=0.1)
    step = 1e-4
    strained = []
    for direction in np.eye(6) * [1, 1, 1, 0.5, 0.5, 0.5]:
        for sign in (-2, -1, 1, 2):
            deformation = np.eye(3) + sign * step * from_voigt(direction)
            positions, cell = configuration.positions @ deformation, configuration.cell @ deformation
            strained.append(replace(configuration, positions=positions, cell=cell))
    here, *there = evaluate_in_lammps(files, [configuration, *strained], wheel, "nn")
    assert here is not None
    assert here.stress is not None
    energies = np.array([found.energy for found in there if found]).reshape(6, 4)
    slopes = energies @ np.array([1.0, -8.0, 8.0, -1.0]) / (12 * step) / configuration.volume
    assert np.abs(slopes - here.stress).max() < 1e-5 * np.abs(here.stress).max()


def test_energy_is_conserved(tmp_path: Path, wheel: Lammps) -> None:
    files = exported(tmp_path, TA, Reference(pair_style="zbl 4.0 4.8", pair_coeff=("* * 73 73",)))
    structure = crystal(["Ta"], 0, displacement=0.02)
    drift = nve_drift(files, structure, wheel, "nn")
    assert abs(drift) < 0.1
    coarse = nve_drift(files, structure, wheel, "nn", repeat=(2, 1, 1), timestep=0.017, steps=100, ranks=2)
    assert abs(coarse) > 10 * abs(drift)

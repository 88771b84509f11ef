"""Choice of structures from data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from numpy.typing import NDArray

from fitsnap_nn.data.atoms import configuration_from_atoms
from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.md_checks.references import (
    KELVIN,
    References,
    formation_energy,
    scale_of,
    strain_of,
    surface_energy,
    vacuum_directions,
)


def labelled(atoms: Atoms, energy: float, group: str = "g", forces: NDArray[np.float64] | None = None) -> Configuration:
    labels = {"energy": np.array(energy)} | ({} if forces is None else {"forces": forces})
    found = configuration_from_atoms(atoms)
    return replace(found, id=f"{group}/{energy}", group=group, labels=labels)


def rotated(configuration: Configuration) -> Configuration:
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    return replace(configuration, cell=configuration.cell @ rotation, positions=configuration.positions @ rotation)


def test_vacuum_is_found_along_each_direction() -> None:
    slab = fcc111("Cu", (2, 2, 4), vacuum=5.0, periodic=True)
    assert vacuum_directions(configuration_from_atoms(slab)) == (False, False, True)
    open_slab = fcc111("Cu", (2, 2, 4), vacuum=5.0)
    assert vacuum_directions(configuration_from_atoms(open_slab)) == (False, False, True)
    assert vacuum_directions(configuration_from_atoms(molecule("H2O"))) == (True, True, True)
    assert vacuum_directions(configuration_from_atoms(bulk("Cu"))) == (False, False, False)
    boxed = molecule("H2O", cell=[12, 12, 12], pbc=True)
    assert vacuum_directions(configuration_from_atoms(boxed)) == (True, True, True)


def test_strained_cells_are_recognised_in_any_frame_and_origin() -> None:
    crystal = configuration_from_atoms(bulk("NaCl", "rocksalt", a=5.6, cubic=True))
    strain = np.array([[0.03, 0.01, 0.0], [0.01, -0.02, 0.0], [0.0, 0.0, 0.04]])
    strained = rotated(
        replace(
            crystal,
            cell=crystal.cell @ (np.eye(3) + strain),
            positions=(crystal.positions + np.array([0.3, 5.0, -0.2])) @ (np.eye(3) + strain),
        )
    )
    found = strain_of(strained, crystal)
    assert found is not None
    assert np.linalg.svd(found, compute_uv=False) == pytest.approx(np.sort(1 + np.linalg.eigvalsh(strain))[::-1])
    assert scale_of(found) is None
    displaced = replace(strained, positions=strained.positions + np.eye(8, 3) * 0.2)
    assert strain_of(displaced, crystal) is None
    scaled = rotated(replace(crystal, cell=1.1 * crystal.cell, positions=1.1 * crystal.positions))
    factor = strain_of(scaled, crystal)
    assert factor is not None
    assert scale_of(factor) == pytest.approx(1.1)


def test_crystals_vacancies_and_slabs_are_chosen() -> None:
    a = 3.6
    crystals = [labelled(bulk("Cu", a=a * s, cubic=True), -14.0 + 20 * (s - 1) ** 2, "fcc") for s in (0.98, 1.0, 1.03)]
    other = labelled(bulk("Cu", "bcc", a=2.87, cubic=True), -6.9, "bcc")
    supercell = bulk("Cu", a=a, cubic=True) * (2, 2, 2)
    vacancy = labelled(supercell[1:], -31 * 3.5 + 1.3, "vacancy")
    worse = labelled(supercell[1:], -31 * 3.5 + 2.0, "vacancy")
    liquid = labelled(supercell, -32 * 3.1, "liquid", np.full((32, 3), 1.5))
    slab = labelled(fcc111("Cu", (2, 2, 4), a=a, vacuum=6.0, periodic=True), -16 * 3.5 + 6.0, "slab")
    found = References([*crystals, other, worse, vacancy, liquid, slab], ("Cu",))
    assert found.crystals == (crystals[1], other)
    assert [one.configuration for one in found.vacancies] == [vacancy]
    assert formation_energy(found.vacancies[0], float(vacancy.labels["energy"]), -14.0) == pytest.approx(1.3)
    assert [one.configuration for one in found.slabs] == [slab]
    area = 4 * (a / np.sqrt(2)) ** 2 * np.sqrt(3) / 2
    assert surface_energy(found.slabs[0], -16 * 3.5 + 6.0, -14.0) == pytest.approx(6.0 / (2 * area))
    assert found.shortest[("Cu", "Cu")] == pytest.approx(2.87 * np.sqrt(3) / 2)  # of bcc
    assert found.temperature == pytest.approx(2 * 0.4 / (3 * KELVIN))


def test_interstitials_are_no_vacancies() -> None:
    """216 + 1 atoms of InP lack one P of 109 pairs, which are no whole number of cells."""
    crystal = labelled(bulk("InP", "zincblende", a=5.8, cubic=True), -30.0, "bulk")
    cell = bulk("InP", "zincblende", a=5.8, cubic=True) * (2, 2, 2)
    extra = cell + Atoms("In", positions=[[1.45, 1.45, 4.35]])
    removed = cell[:-1]  # a P atom
    data = [crystal, labelled(extra, -238.0, "i"), labelled(removed, -234.0, "v")]
    (vacancy,) = References(data, ("In", "P")).vacancies
    assert (vacancy.configuration, vacancy.missing, vacancy.cells) == (data[2], "P", 8)


def test_molecules_have_no_crystals() -> None:
    data = [labelled(molecule("H2O"), -10.0 + k) for k in range(3)]
    found = References(data, ("H", "O"))
    assert found.crystals == ()
    assert found.molecule is data[0]
    assert found.temperature == 300.0


def test_data_without_labels_are_usable() -> None:
    crystal = replace(configuration_from_atoms(bulk("Cu")), group="g")
    found = References([crystal], ("Cu",))
    assert found.crystals == (crystal,)
    assert not found.vacancies
    assert not found.slabs

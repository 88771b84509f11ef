"""Texts of the LAMMPS files; that LAMMPS reads them rightly is tested in tests/lammps."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_potentials import crystal, random_bpnn
from stand_in_input import StandInInput

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.evaluation import Evaluation
from fitsnap_nn.data.properties import labels_of
from fitsnap_nn.errors import LammpsError
from fitsnap_nn.export.chemical import equivalent_components, symmetrized
from fitsnap_nn.export.deck import starting_structure
from fitsnap_nn.export.formats import descriptor_text
from fitsnap_nn.export.lammps_files import write_lammps_files
from fitsnap_nn.export.mliappy import MliapModel
from fitsnap_nn.export.nn_text import nn_text, unsupported_reason
from fitsnap_nn.inputs.snap.compute import SnapCompute
from fitsnap_nn.lammps.data_file import data_text
from fitsnap_nn.models import BPNN
from fitsnap_nn.settings.schema import Bispectrum, Reference

INP = Bispectrum(num_types=2, type=("In", "P"), twojmax=(4,), wj=(1.0, 0.9), radelem=(0.5, 0.42))
CHEM = replace(INP, chemflag=True)
Candidate = tuple[Configuration, Evaluation]


def small(activation: str = "tanh") -> BPNN:
    return BPNN(StandInInput(("In", "P"), 3), (4, 2), activation, 2).double()


def test_every_file_is_text_that_ends_and_names_its_units(tmp_path: Path) -> None:
    files = write_lammps_files(random_bpnn(INP), Reference(), tmp_path, "InP", structure=crystal(INP.type, 1))
    texts = [path for path in files.all if path.suffix != ".mliappy"]
    assert len(texts) == 5
    for path in texts:
        text = path.read_text()
        assert text.endswith("\n"), path
        assert not text.endswith("\n\n"), path
        assert "metal" in text.splitlines()[0], path


@pytest.mark.parametrize("stem", ["two words", "", "a/b", "tab\t"])
def test_a_name_that_lammps_cannot_read_is_refused(tmp_path: Path, stem: str) -> None:
    with pytest.raises(LammpsError, match="potential"):
        write_lammps_files(small(), Reference(), tmp_path / "new", stem)
    assert not (tmp_path / "new").exists()


def test_each_option_changes_the_descriptor_file() -> None:
    """The file contains every option that changes the descriptors, but not the products, which the model computes."""
    changes = {
        "type": ("In", "Ga"), "twojmax": (6,), "rcutfac": 4.0, "rfac0": 0.9, "rmin0": 0.1, "wj": (1.0, 0.8),
        "radelem": (0.5, 0.4), "bzeroflag": True, "chemflag": True, "bnormflag": True, "wselfallflag": True,
        "switchflag": False, "switchinnerflag": True,
    }  # fmt: skip
    for name, value in changes.items():
        assert descriptor_text(replace(INP, **{name: value})) != descriptor_text(INP), name
    inner = replace(INP, switchinnerflag=True, sinner=(1.0, 1.0), dinner=(0.1, 0.1))
    for name in ("sinner", "dinner"):
        assert descriptor_text(replace(inner, **{name: (0.7, 0.8)})) != descriptor_text(inner)
    without = {"num_types", "quadraticflag", "bikflag", "dgradflag"}
    assert {field.name for field in fields(Bispectrum)} == {*changes, "sinner", "dinner"} | without


@pytest.mark.parametrize("activation", ["softplus", "silu", "gelu"])
def test_activations_that_model_nn_takes_for_linear_are_refused(activation: str) -> None:
    networks = small(activation).plain_networks()
    assert activation in unsupported_reason(networks, quadratic=False)
    with pytest.raises(ValueError, match=activation):
        nn_text(networks)


def test_products_are_refused_by_model_nn() -> None:
    assert "quadraticflag" in unsupported_reason(small().plain_networks(), quadratic=True)


def test_the_text_of_model_nn_keeps_every_digit() -> None:
    networks = small().plain_networks()
    lines = nn_text(networks).splitlines()
    assert lines[1:3] == ["2 29", "NET 3 3 tanh 4 tanh 2 linear 1"]
    assert max(len(line.split()) for line in lines) <= 30
    numbers = [float(word) for line in lines[3:] for word in line.split()]
    expected: list[float] = []
    for network in networks:
        expected += [*network.shift.tolist(), *network.scale.tolist()]
        for weight, bias in network.layers:
            for node in range(len(bias)):
                expected += [bias[node].item(), *weight[node].tolist()]
    assert numbers == expected


def test_data_files_hold_positions_to_the_last_digit() -> None:
    configuration = crystal(INP.type, 3)
    lines = data_text(configuration, INP.type, "atomic").splitlines()
    start = lines.index("Atoms  # atomic") + 2
    rows = np.array([[float(word) for word in line.split()] for line in lines[start:]])
    wrapped = configuration.positions % np.diag(configuration.cell)
    assert np.array_equal(rows[:, 0], np.arange(1, 17))
    assert [INP.type[int(row) - 1] for row in rows[:, 1]] == list(configuration.species)
    assert np.abs(rows[:, 2:] - wrapped).max() < 1e-14
    assert lines[lines.index("Masses") + 2].split()[:2] == ["1", "114.818"]


def test_atom_styles_have_their_columns() -> None:
    plain = crystal(INP.type, 3, repeat=1)
    charged = replace(plain, charges=np.array([0.25, -0.5]))
    assert data_text(charged, INP.type, "charge").splitlines()[-1].split()[2] == "-0.5"
    spins = np.array([[2.0, 0.0, 0.0, 1.0], [3.0, 0.6, 0.8, 0.0]])
    last = data_text(replace(plain, spins=spins), INP.type, "spin").splitlines()[-1].split()
    assert [float(word) for word in last[5:]] == pytest.approx([0.6, 0.8, 0.0, 3.0])


def test_dynamics_start_from_the_quietest_structure_with_all_elements() -> None:
    """Small forces in the data and by the model; among quiet ones the lowest energy, not the least compressed."""

    def candidate(seed: int, force: float, energy: float = -40.0, pressed: float = 0.0, **changes: Any) -> Candidate:
        forces, stress = np.full((16, 3), force / np.sqrt(3)), -pressed * np.eye(3)
        structure = replace(crystal(INP.type, seed), **changes)
        labelled = replace(structure, labels=labels_of(energy=energy, forces=forces, stress=stress))
        return labelled, Evaluation({"energy": np.array(energy), "forces": forces})

    best = candidate(1, 0.3)
    others = [
        candidate(2, 2.0, energy=-99.0),
        candidate(3, 0.0, energy=-99.0, pressed=0.5),  # a perfect crystal at 80 GPa
        candidate(4, 0.0, pbc=(False, True, True)),
        candidate(5, 0.0, species=("In",) * 16),
    ]
    wrong_model = best[0], Evaluation({"energy": np.array(-40.0), "forces": np.full((16, 3), 5.0)})
    assert starting_structure([*others, wrong_model, best]) is best[0]
    relaxed = candidate(6, 1e-3, energy=-41.0), candidate(7, 1e-5, energy=-40.5)
    assert starting_structure([*relaxed, best]) is relaxed[0][0]
    unlabelled = replace(best[0], labels={}), Evaluation({"energy": np.array(0.0)})
    assert starting_structure([unlabelled]) is unlabelled[0]


def test_dynamics_start_from_more_than_one_atom() -> None:
    lone = Configuration("atom", "g", ("In",), np.zeros((1, 3)), np.zeros((3, 3)), (False,) * 3)
    pair = replace(lone, id="pair", species=("In", "In"), positions=np.array([[0.0, 0, 0], [2.5, 0, 0]]))
    still = Evaluation({"energy": np.array(-9.0), "forces": np.zeros((1, 3))})
    moving = Evaluation({"energy": np.array(-1.0), "forces": np.ones((2, 3))})
    assert starting_structure([(lone, still), (pair, moving)]) is pair
    assert starting_structure([(lone, still)]) is lone


@pytest.mark.parametrize(("twojmax", "bnorm"), [(3, False), (4, True), (5, False)])
def test_twins_are_the_components_that_are_always_equal(twojmax: int, bnorm: bool) -> None:
    bispectrum = replace(CHEM, twojmax=(twojmax,), bnormflag=bnorm, wselfallflag=bnorm)
    with SnapCompute(bispectrum, Reference(), gradients=False, strain=False) as calculator:
        found = [calculator.compute(crystal(INP.type, seed, skew=0.1)).descriptors for seed in range(3)]
    descriptors = np.concatenate(found)
    twins = np.array(equivalent_components(twojmax, 2))
    scale = np.abs(descriptors).max(axis=0)
    for column in range(descriptors.shape[1]):
        equal = (np.abs(descriptors - descriptors[:, [column]]) < 1e-9 * scale[column]).all(axis=0)
        assert np.array_equal(equal, twins == twins[column])


def test_symmetrized_networks_have_the_same_energies_and_equal_slopes_of_twins() -> None:
    networks = random_bpnn(CHEM, option=2).plain_networks()
    with SnapCompute(CHEM, Reference(), gradients=False, strain=False) as calculator:
        descriptors = calculator.compute(crystal(INP.type, 7)).descriptors
    species = np.array([0, 1] * 8, dtype=np.int32)
    results = []
    for each in (networks, symmetrized(networks, CHEM)):
        beta, energy = np.empty_like(descriptors), np.empty(len(species))
        MliapModel(each)(species, descriptors, beta, energy)
        results.append((energy, beta))
    (energy, beta), (same, even) = results
    assert np.abs(energy - same).max() < 1e-12
    twins = np.array(equivalent_components(4, 2))
    for twin in set(twins):
        columns = twins == twin
        assert np.abs(even[:, columns] - beta[:, columns].mean(axis=1, keepdims=True)).max() < 1e-12
    assert np.abs(beta - even).max() > 1e-4

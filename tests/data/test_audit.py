"""The data audit: faults planted in copies of correct data are found, one line each; correct data give no warning."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike
from places import EXAMPLE, SAMPLES

from fitsnap_nn.data.audit import audit
from fitsnap_nn.data.audit.factors import describe
from fitsnap_nn.data.audit.pairs import find_pairs
from fitsnap_nn.data.audit.table import group_table
from fitsnap_nn.data.configuration import SETS, Configuration
from fitsnap_nn.data.files import list_files, read_files
from fitsnap_nn.data.findings import summarize
from fitsnap_nn.data.groups import assemble
from fitsnap_nn.settings import load_settings
from fitsnap_nn.settings.linear import Solver
from fitsnap_nn.settings.schema import Bispectrum, GroupRow, Groups, PathSection, PytorchSection, Scraper, Settings
from fitsnap_nn.units import BOHR, GPA, HARTREE

Set = list[Configuration]
TRAINING, VALIDATION, TEST = SETS


def settings_of(elements: str = "Ta", **changes: object) -> Settings:
    return replace(Settings(bispectrum=Bispectrum(type=tuple(elements.split()))), **changes)


def read(folder: Path, kind: str, elements: str, *, warnings: bool = False) -> tuple[Settings, Set]:
    settings = settings_of(
        elements,
        scraper=Scraper(scraper=kind),
        path=PathSection(data_path=str(folder)),
        groups=Groups(rows=(GroupRow("*", 0.7, 0.3, 1.0, 1.0, 1.0, "Ta.in:1"),), random_sampling=True),
    )
    dataset = assemble(settings, read_files(settings, list_files(settings), []), 1)
    assert not dataset.warnings or warnings or kind == "XYZ"
    return settings, list(dataset.configurations)


@pytest.fixture(scope="module")
def example() -> Set:
    """Configurations of the shipped example, which the tests do not change."""
    settings = load_settings(EXAMPLE / "Ta.in")
    return list(assemble(settings, read_files(settings, list_files(settings), []), 1).configurations)


def warnings_of(configurations: Sequence[Configuration], settings: Settings | None = None) -> list[str]:
    return summarize(one for one in audit(configurations, settings or settings_of()) if one.warning)


def notes_of(configurations: Sequence[Configuration], settings: Settings) -> list[str]:
    return summarize(one for one in audit(configurations, settings) if not one.warning)


def labelled(configuration: Configuration, **labels: ArrayLike) -> Configuration:
    changed = {name: np.asarray(label, dtype=np.float64) for name, label in labels.items()}
    return replace(configuration, labels={**configuration.labels, **changed})


def scaled(name: str, factor: float, group: str, configurations: Set) -> Set:
    """All labels of a group, or of all groups for an empty name, times a factor."""
    return [
        labelled(one, **{name: one.labels[name] * factor}) if name in one.labels and group in ("", one.group) else one
        for one in configurations
    ]


def with_one(group: str, change: Callable[[Configuration], Configuration], configurations: Set) -> Set:
    """The configurations with the third of a group changed."""
    index = [k for k, one in enumerate(configurations) if one.group == group][2]
    return [change(one) if k == index else one for k, one in enumerate(configurations)]


def test_the_example_and_the_samples_give_no_warning(example: Set) -> None:
    assert warnings_of(example) == []
    settings = load_settings(EXAMPLE / "Ta.in")
    assert assemble(settings, read_files(settings, list_files(settings), []), 5).warnings == []
    read(SAMPLES / "Ta_JSON", "JSON", "Ta")
    read(SAMPLES / "InP_JSON", "JSON", "In P")


@pytest.mark.parametrize("seed", [1, 2, 1234])
def test_fitsnaps_tantalum(fitsnap_tantalum: Path, seed: int) -> None:
    """Volume scans reach +28 eV/atom and 3 TPa, GSF paths have frames before and after short relaxations.

    The stresses of the elastic constants do have an offset: pairs of configurations agree on it within 10 %.
    """
    settings, _ = read(fitsnap_tantalum, "JSON", "Ta", warnings=True)
    found = assemble(settings, read_files(settings, list_files(settings), []), seed).warnings
    starts = ["group Elastic_BCC: the stresses are about 1.1 GPa", "group Elastic_FCC: the stresses are about 0.8 GPa"]
    assert [line.partition(" too ")[0] for line in found] == starts


def test_acetylacetone_gives_no_warning(shared_file: Callable[[str], Path], tmp_path: Path) -> None:
    """MD of a molecule, with isolated atoms."""
    with tarfile.open(shared_file("data/AcAc_extxyz.tar.xz")) as tar:
        tar.extractall(tmp_path, filter="data")
    folder = next(tmp_path.rglob("train_300K.xyz")).parent
    settings, configurations = read(folder, "XYZ", "H C O")
    assert len(configurations) == 1803
    assert warnings_of(configurations, settings) == []
    alone = [one for one in configurations if one.group == "train_300K"]
    assert warnings_of(alone, settings) == []
    assert ["the same composition" in note for note in notes_of(alone, settings)] == [True]
    training = [replace(one, subset=TRAINING) for one in configurations]
    isolated = "isolated atoms, but element_energies = least_squares"
    assert [isolated in note for note in notes_of(training, settings)] == [True]
    assert notes_of(training, replace(settings, pytorch=PytorchSection(element_energies=("isolated",)))) == []
    assert notes_of(training, replace(settings, solver=Solver("SVD"))) == []
    for factor, what in ((-1.0, "the forces have the wrong sign"), (BOHR / HARTREE, "times too small")):
        (line,) = warnings_of(scaled("forces", factor, "", configurations), settings)
        assert what in line


HA_PER_BOHR = HARTREE / BOHR


@pytest.mark.parametrize(
    ("name", "factor", "group", "what"),
    [
        ("forces", -1.0, "", "and 3 more: the forces have the wrong sign for"),
        ("forces", -1.0, "Displaced_BCC", "group Displaced_BCC: the forces have the wrong sign"),
        ("forces", 1.0 / HA_PER_BOHR, "", "times too small for the energy differences"),
        ("forces", 1.0 / HA_PER_BOHR, "Displaced_BCC", "as if Hartree/bohr were read as eV/Å"),
        ("forces", HA_PER_BOHR, "", "as if eV/Å were read as Hartree/bohr"),
        ("forces", BOHR, "", "as if eV/bohr were read as eV/Å"),
        ("forces", -1000.0, "", "the forces have the wrong sign and are about 1100 times too large"),
        ("stress", -1.0, "", "group Volume_BCC, group Volume_FCC, group Volume_A15 and 1 more: the stresses have the"),
        ("stress", -1.0, "Volume_BCC", "group Volume_BCC: the stresses have the wrong sign"),
        (
            "stress",
            1e-3,
            "",
            "about 1000 times too small for the energy differences between configurations, as if kbar",
        ),
        ("stress", 1e4, "Volume_FCC", "about 10000 times too large for the energy differences"),
        ("stress", 1602.2, "", "as if kbar were read as eV/Å³"),
        ("stress", -10.0, "", "the stresses have the wrong sign and are about 10 times too large"),
        (
            "energy",
            1.0 / HARTREE,
            "",
            "times too small for the energy differences between configurations, as if Hartree",
        ),
        ("energy", 1.0 / HARTREE, "Displaced_BCC", "energies in Hartree were read as eV"),
    ],
)
def test_a_wrong_unit_or_sign(example: Set, name: str, factor: float, group: str, what: str) -> None:
    (line,) = warnings_of(scaled(name, factor, group, example))
    assert what in line


def test_energies_per_atom(example: Set) -> None:
    (line,) = warnings_of([labelled(one, energy=one.labels["energy"] / len(one)) for one in example])
    assert "Displaced_A15" in line
    assert "the energies are per atom, not of the whole cell" in line


def test_forces_in_another_order_of_the_atoms(example: Set) -> None:
    wrong = [labelled(one, forces=one.labels["forces"][::-1]) for one in example]
    (line,) = warnings_of(wrong)
    assert "and 2 more: energies disagree with forces and stresses" in line


def test_a_group_with_another_energy_reference(example: Set) -> None:
    shifted = [
        labelled(one, energy=one.labels["energy"] + 20.0 * len(one)) if one.group == "Liquid" else one
        for one in example
    ]
    (line,) = warnings_of(shifted)
    assert line.startswith("group Liquid (+20.7 eV/atom): all energies of the group are far from")


def test_labels_without_weight_are_notes_only(example: Set) -> None:
    wrong = [replace(one, weights={"energy": 1.0, "forces": 1.0, "stress": 0.0}) for one in example]
    wrong = scaled("stress", -1.0, "", wrong)
    assert warnings_of(wrong) == []
    assert "the stresses have the wrong sign" in notes_of(wrong, settings_of())[0]


def row_times(factor: float, one: Configuration) -> Configuration:
    assert one.forces is not None
    forces = one.forces.copy()
    forces[np.abs(forces).sum(axis=1).argmax()] *= factor
    return labelled(one, forces=forces)


def moved(distance: float, one: Configuration) -> Configuration:
    """The second atom at a distance from the first."""
    positions = one.positions.copy()
    positions[1] = positions[0] + [distance, 0.0, 0.0]
    return replace(one, positions=positions)


@pytest.mark.parametrize(
    ("group", "change", "what"),
    [
        ("Displaced_BCC", lambda one: labelled(one, energy=one.labels["energy"] / len(one)), "+7.8"),
        ("Liquid", lambda one: labelled(one, energy=one.labels["energy"] - 5.0 * len(one)), "the energy is far from"),
        ("Liquid", lambda one: labelled(one, energy=one.labels["energy"] * HARTREE), "the energy is far from"),
        ("Volume_BCC", lambda one: labelled(one, energy=one.labels["energy"] + 1.0), "contradicts the forces and str"),
        ("Vacancy", partial(row_times, -1.0), "the forces do not sum to zero"),
        ("Liquid", partial(row_times, 0.0), "the forces do not sum to zero"),
        ("Vacancy", partial(row_times, 100.0), "forces are far above those of the group"),
        ("Liquid", lambda one: labelled(one, forces=one.labels["forces"] * HA_PER_BOHR), "forces are far above"),
        ("Vacancy", lambda one: labelled(one, stress=np.zeros((3, 3))), "every component of the stress is exactly 0"),
        ("Vacancy", partial(moved, 1.2), "(Ta-Ta 1.20 Å): atoms too close"),
        ("Liquid", partial(moved, 0.3), "(Ta-Ta 0.30 Å): atoms too close"),
    ],
)
def test_one_wrong_configuration(
    example: Set, group: str, change: Callable[[Configuration], Configuration], what: str
) -> None:
    wrong = with_one(group, change, example)
    (line,) = warnings_of(wrong)
    assert what in line
    name = next(new.id for new, old in zip(wrong, example, strict=True) if new is not old)
    assert line.startswith(name)


def test_frames_far_apart_are_judged_by_a_pair_potential() -> None:
    """Random clusters with the labels of a Morse potential, then with the wrong sign or unit."""
    generator = np.random.default_rng(3)
    data = []
    for k in range(60):
        positions = np.array(list(np.ndindex(2, 2, 2))) * 2.8 + generator.normal(scale=0.3, size=(8, 3))
        vectors = positions[None] - positions[:, None]
        distances = np.linalg.norm(vectors, axis=2) + np.eye(8)
        decay = np.exp(-1.5 * (distances - 2.8)) * (1.0 - np.eye(8))
        slopes = 3.0 * (decay - decay**2)
        labels = {"energy": np.array(0.5 * (decay**2 - 2.0 * decay).sum())}
        labels["forces"] = (slopes / distances)[..., None] * vectors
        labels["forces"] = labels["forces"].sum(axis=1)
        one = Configuration(
            f"g/{k}", "g" if k % 2 else "h", ("Ta",) * 8, positions, np.zeros((3, 3)), (False,) * 3, labels
        )
        data.append(one)
    assert warnings_of(data) == []
    (line,) = warnings_of(scaled("forces", -1.0, "g", data))
    assert line.startswith("group g: the forces have the wrong sign")
    (line,) = warnings_of(scaled("forces", HA_PER_BOHR, "", data))
    assert "times too large for the energy differences between configurations. Correct" in line


def test_a_correct_configuration_far_from_its_group_is_no_outlier(example: Set) -> None:
    """A compressed cell in a group of relaxed ones: its stress explains its energy."""
    strong = max((one for one in example if one.group == "Volume_BCC"), key=lambda one: one.energy or 0.0)
    assert warnings_of([*(one for one in example if one.group == "Vacancy"), replace(strong, group="Vacancy")]) == []


def test_forces_that_are_usual_in_the_group_explain_no_energy(example: Set) -> None:
    """All frames of a liquid have large forces, which do not explain that one of them is at +2 eV/atom."""
    liquid = sorted(
        (one for one in example if one.group == "Liquid"), key=lambda one: float(np.std(one.labels["forces"]))
    )
    shifted = [labelled(liquid[0], energy=liquid[0].labels["energy"] + 2.0 * len(liquid[0])), *liquid[1:]]
    (line,) = warnings_of([*shifted, *(one for one in example if one.group != "Liquid")])
    assert line.startswith(f"{liquid[0].id} (+")
    assert "the energy is far from those of the group" in line


def sorted_copy(one: Configuration) -> Configuration:
    """The same structure in another frame: rotated, wrapped differently, atoms of one element first."""
    angle = 0.7
    rotation = np.array([[np.cos(angle), np.sin(angle), 0.0], [-np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])
    forces, stress = one.labels["forces"] @ rotation, rotation.T @ one.labels["stress"] @ rotation
    moved_atoms = one.positions + np.outer(np.arange(len(one)) % 3, one.cell[1])
    turned = replace(one, id="copy", positions=(moved_atoms @ rotation).round(7), cell=one.cell @ rotation)
    return labelled(turned, forces=forces, stress=stress)


@pytest.mark.parametrize("copied", [lambda one: replace(one, id="copy"), sorted_copy])
def test_duplicates(example: Set, copied: Callable[[Configuration], Configuration]) -> None:
    one = next(one for one in example if one.group == "Liquid" and one.subset is TRAINING)
    copy = copied(one)
    (line,) = warnings_of([*example, copy])
    assert line.startswith(f"{one.id} and copy: the same structure and energy twice")
    (line,) = warnings_of([*example, replace(copy, subset=TEST)])
    assert line.startswith(f"copy (as {one.id}): in the validation or test set, but the same structure")
    (line,) = warnings_of([*example, labelled(copy, energy=copy.labels["energy"] + 0.1 * len(copy))])
    assert line.startswith(f"{one.id} and copy (+0.1 eV/atom): the same structure with two energies")


def test_atoms_of_another_spin_are_no_duplicate(example: Set) -> None:
    one = next(one for one in example if one.group == "Liquid")
    up, down = (np.array([[2.0, 0.0, 0.0, sign]] * len(one)) for sign in (1.0, -1.0))
    assert warnings_of([replace(one, spins=up), replace(one, id="copy", spins=down)]) == []


def run_of(one: Configuration, step: float, count: int) -> Set:
    """Frames of a run, every third in the validation set; labels are those of a harmonic potential."""
    direction = np.random.default_rng(1).normal(size=one.positions.shape)
    direction -= direction.mean(axis=0)
    direction /= np.sqrt((direction**2).sum(axis=1).mean())
    frames = []
    for k in range(count):
        x = step * k * direction
        energy = (one.energy or 0.0) + 0.5 * (x**2).sum()
        frame = replace(one, id=f"run#{k}", positions=one.positions + x, subset=VALIDATION if k % 3 else TRAINING)
        frames.append(replace(frame, labels={"energy": np.array(energy), "forces": -x}))
    return frames


def test_frames_of_one_run_on_both_sides(example: Set) -> None:
    perfect = replace(example[0], id="perfect")
    (line,) = warnings_of(run_of(perfect, 0.01, 9))
    assert line.startswith("run#1, run#2, run#4 and 3 more: in the validation or test set, but nearly the same")
    assert warnings_of(run_of(perfect, 0.01, 3)) == []
    assert warnings_of(run_of(perfect, 0.06, 9)) == []
    assert warnings_of([replace(one, subset=TRAINING) for one in run_of(perfect, 0.01, 9)]) == []


def test_pairs_give_the_work_of_a_harmonic_potential_exactly(example: Set) -> None:
    frames = run_of(example[0], 0.05, 6)
    pairs = find_pairs(frames)
    assert len(pairs) >= 5
    np.testing.assert_allclose(pairs.force_work, pairs.energy, rtol=1e-9)
    steps = np.abs(pairs.second - pairs.first) * 0.05
    np.testing.assert_allclose(pairs.displacement, steps, rtol=1e-9)


def test_pairs_give_the_work_of_stresses_in_any_frame(example: Set) -> None:
    """Close cells of a volume scan, rotated, reflected and with other elements first: the same work."""
    scan = [one for one in example if one.group == "Volume_BCC"]
    expected = find_pairs(scan)
    np.testing.assert_allclose(expected.stress_work, expected.energy, rtol=0.1, atol=2e-3)
    found = find_pairs([sorted_copy(one) for one in scan])
    np.testing.assert_allclose(found.stress_work, expected.stress_work, rtol=1e-5)


@pytest.mark.parametrize(("offset", "sign"), [(1.5, "tensile"), (-1.5, "compressive"), (0.3, None)])
def test_stresses_with_an_offset(example: Set, offset: float, sign: str | None) -> None:
    """A pressure that the energies of a volume scan do not have, and a note only where it is not fitted."""
    shift = offset * GPA * np.eye(3)
    shifted = [
        labelled(one, stress=one.labels["stress"] + shift) if one.group.startswith("Volume") else one for one in example
    ]
    found = warnings_of(shifted)
    if sign is None:
        assert found == []
        return
    (line,) = found
    assert line.startswith("group Volume_BCC, group Volume_FCC, group Volume_A15: the stresses are about 1.")
    assert f"GPa too {sign} for the energy differences between strained cells" in line
    unfitted = [replace(one, weights={**one.weights, "stress": 0.0}) for one in shifted]
    assert warnings_of(unfitted) == []
    assert any("Pulay stress" in line for line in notes_of(unfitted, settings_of()))


def test_pairs_of_molecules_and_slabs() -> None:
    """Positions without a lattice are compared after centring; of slabs only the periodic directions are wrapped."""
    positions = np.random.default_rng(0).normal(size=(4, 3))
    for pbc, cell in (((False,) * 3, np.zeros((3, 3))), ((True, True, False), np.diag([5.0, 5.0, 0.0]))):
        one = Configuration("a", "a", ("H",) * 4, positions, cell, pbc)
        other = replace(one, id="b", positions=positions + np.array([0.0, 0.0, 7.0]))
        pairs = find_pairs([one, other])
        assert len(pairs) == 1 or pbc[0]
        assert pairs.displacement == pytest.approx([0.0] * len(pairs), abs=1e-9)


@pytest.mark.parametrize(
    ("positions", "pbc", "close"),
    [
        ([[0.0, 0.0, 0.0], [0.4, 0.0, 0.0]], True, True),
        ([[0.0, 0.0, 0.0], [0.6, 0.0, 0.0]], True, False),
        ([[0.1, 0.0, 0.0], [3.9, 0.0, 0.0]], True, True),
        ([[0.1, 0.0, 0.0], [3.9, 0.0, 0.0]], False, False),
        ([[-1e-18, 0.0, 0.0], [2.0, 2.0, 2.0]], True, False),
        ([[1.0, 1.0, 1.0]], True, False),
    ],
)
def test_hydrogen_atoms_below_half_an_angstrom(positions: list[list[float]], pbc: bool, close: bool) -> None:
    cell = np.array([[4.0, 0.0, 0.0], [7.0, 4.0, 0.0], [0.0, -9.0, 4.0]])
    one = Configuration("a", "a", ("H",) * len(positions), np.array(positions), cell, (pbc, pbc, pbc))
    assert ["atoms too close" in line for line in warnings_of([one], settings_of("H"))] == [True] * close


def molecule(species: str, name: str) -> Configuration:
    symbols = tuple(species.split())
    positions = np.arange(len(symbols))[:, None] * [1.5, 0.0, 0.0]
    labels = {"energy": np.array(-1.0 * len(symbols))}
    return Configuration(name, "a", symbols, positions, np.zeros((3, 3)), (False,) * 3, labels)


def test_element_energies_that_the_data_do_not_determine() -> None:
    """A and B always in equal numbers, with and without C."""
    settings = settings_of("H C O")
    data = [molecule("H C", "1"), molecule("H C O", "2"), molecule("H H C C O", "3")]
    (line,) = warnings_of(data, settings)
    assert line.startswith("the compositions of the training set determine 2 of 3 element energies")
    assert warnings_of([*data, molecule("H O", "4")], settings) == []
    given = PytorchSection(element_energies=("H", "-1", "C", "-2", "O", "-3"))
    assert warnings_of(data, replace(settings, pytorch=given)) == []


def test_an_element_without_data() -> None:
    (line,) = warnings_of([molecule("H H", "1")], settings_of("H He"))
    assert line.startswith(
        "no configuration contains He: this fit does not train the model for it. Remove the element from [BISP"
    )


def test_a_single_atom_and_an_empty_label_set(example: Set) -> None:
    """Nothing to compare: no warning, no division by zero."""
    assert warnings_of([replace(example[0], labels={})]) == []
    assert warnings_of([molecule("H", "1")], settings_of("H")) == []


@pytest.mark.parametrize(
    ("label", "factor", "text"),
    [
        ("forces", -1.0, "the forces have the wrong sign for"),
        (
            "forces",
            51.42,
            "are about 51 times too small for the energy differences between configurations, as if Hart",
        ),
        (
            "stress",
            1.0 / 160.2,
            "are about 160 times too large for the energy differences between configurations, as if G",
        ),
        ("stress", 33.0, "are about 33 times too small for the energy differences between configurations."),
        ("forces", 1.0 / 54.0, "energies per atom were read as energies of the cell"),
    ],
)
def test_descriptions_of_factors(label: str, factor: float, text: str) -> None:
    assert text in describe(label, factor, 54)


def test_table_of_groups(example: Set) -> None:
    lines = group_table(example)
    assert lines[0].split()[:4] == ["group", "training", "validation", "atoms"]
    row = next(line for line in lines if line.startswith("Volume_BCC")).split()
    assert row == ["Volume_BCC", "20", "5", "50", "-8.090", "to", "-6.789", "0.00", "-110.4", "to", "43.9"]
    partly = [replace(one, labels={}) if k == 0 else one for k, one in enumerate(example)]
    assert "(24 of 25)" in group_table(partly)[1]
    assert group_table([replace(one, labels={}) for one in example])[1].split()[-3:] == ["none"] * 3

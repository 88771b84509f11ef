"""From the table of groups to a data set: finding files, splitting, weighting, warning."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from places import DataSet

from fitsnap_nn.data.configuration import SETS, Configuration, Subset
from fitsnap_nn.data.files import list_files, natural_order, read_files
from fitsnap_nn.data.groups import Dataset, assemble, draw_seed
from fitsnap_nn.data.readers import DataFile
from fitsnap_nn.errors import DataError
from fitsnap_nn.settings.schema import Bispectrum, GroupRow, Groups, PathSection, PytorchSection, Scraper, Settings

TRAINING, VALIDATION, TEST = SETS


def row(
    name: str,
    training: float | None = 1.0,
    testing: float | None = 0,
    weights: str = "1 1 1",
    test: float | None = None,
) -> GroupRow:
    eweight, fweight, vweight = map(float, weights.split())
    return GroupRow(name, training, testing, eweight, fweight, vweight, f"Ta.in:{len(name)}", test)


def settings_of(folder: Path, *rows: GroupRow, kind: str = "JSON", elements: str = "Ta", **groups: bool) -> Settings:
    return Settings(
        bispectrum=Bispectrum(type=tuple(elements.split())),
        scraper=Scraper(scraper=kind),
        path=PathSection(data_path=str(folder)),
        groups=Groups(rows=rows, **groups),
    )


def load(settings: Settings, seed: int = 1) -> Dataset:
    return assemble(settings, read_files(settings, list_files(settings), []), seed)


def write(path: Path, x: float = 0.0, elements: tuple[str, ...] = ("Ta", "Ta")) -> None:
    """A configuration of two atoms, told apart from others by ``x``, with energy -1 eV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {
        "AtomTypes": elements,
        "Positions": [[x, 0.0, 0.0], [2.0, 2.0, 2.0]],
        "Lattice": [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]],
        "Energy": -1.0,
    }
    path.write_text("# comment\n" + json.dumps({"Dataset": {"Data": [data]}}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Groups A (12 files), B1, B2 and C/x (4 each), all different, with files beside them that are no data."""
    data = tmp_path / "JSON"
    start = 0
    for group, count in (("A", 12), ("B1", 4), ("B2", 4), ("C/x", 4)):
        for k in range(count):
            # Steps larger than those of a relaxation, which the audit would find on both sides of a split.
            write(data / group / f"f{k}.json", 0.07 * (start + k))
        start += count
        (data / group / "README.md").write_text("no data")
    (data / "notes.txt").write_text("no data")
    return data


def ids(dataset: Dataset, subset: Subset) -> list[str]:
    return [item.id for item in dataset.configurations if item.subset is subset]


def weights_of(configuration: Configuration) -> tuple[float, ...]:
    return tuple(configuration.weight(name) for name in ("energy", "forces", "stress"))


def test_natural_order() -> None:
    names = ["run10/a", "run2/b", "run2/a#10", "run2/a#9", "Run1", "run02/a", "1", ""]
    expected = ["", "1", "Run1", "run02/a", "run2/a#9", "run2/a#10", "run2/b", "run10/a"]
    for _ in range(5):
        random.shuffle(names)
        assert sorted(names, key=natural_order) == expected


def test_files_are_in_the_order_of_the_table_and_then_natural(folder: Path) -> None:
    settings = settings_of(folder, row("C/x"), row("B*"), row("A"))
    found = [source.id for source in list_files(settings)]
    expected = [f"{group}/f{k}.json" for group, n in (("C/x", 4), ("B1", 4), ("B2", 4), ("A", 12)) for k in range(n)]
    assert found == expected
    assert [item.id for item in load(settings).configurations] == expected


def test_an_exact_name_comes_before_wildcards(folder: Path) -> None:
    dataset = load(settings_of(folder, row("B?", weights="1 1 1"), row("B2", weights="5 5 5")))
    weights = {item.group: item.weight("energy") for item in dataset.configurations}
    assert weights == {"B1": 1.0, "B2": 5.0}


def test_wildcards_that_claim_the_same_group_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"'B1' is matched by 'B\*' \(Ta.in:2\) and '\?1'"):
        list_files(settings_of(folder, row("B*"), row("?1")))


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("Aa", r"Ta.in:2  \[GROUPS\] Aa: there are no data for this row. Did you mean A\?"),
        ("Surface", r"The groups are: A, B1, B2, C\."),
        ("Z*", "there are no data"),
        ("C", "there are no data"),
        ("../JSON/A", "below dataPath"),
    ],
)
def test_a_row_without_data_is_refused(folder: Path, name: str, what: str) -> None:
    with pytest.raises(DataError, match=what):
        list_files(settings_of(folder, row("A"), row(name)))


def test_a_data_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        list_files(settings_of(tmp_path / "none", row("A")))


def test_a_folder_and_a_file_of_one_name(folder: Path) -> None:
    write(folder / "A.json")
    with pytest.raises(DataError, match="group 'A' is both"):
        list_files(settings_of(folder, row("A")))


def test_an_element_outside_the_type_list_is_named_with_its_file(folder: Path) -> None:
    write(folder / "A" / "f3.json", elements=("Ta", "W"))
    with pytest.raises(DataError, match=r"A/f3\.json: W is not in \[BISPECTRUM\] type = Ta"):
        load(settings_of(folder, row("A")))
    for k in range(4, 9):
        write(folder / "A" / f"f{k}.json", elements=("Ta", "W"))
    with pytest.raises(DataError, match=r"^A/f3\.json, A/f4\.json, A/f5\.json and 3 more: W is not in \[BISP[^\n]*$"):
        load(settings_of(folder, row("A")))


def test_eshift_is_added_for_each_atom(folder: Path) -> None:
    write(folder / "B1" / "f0.json", elements=("W", "Ta"))
    settings = replace(settings_of(folder, row("B1"), elements="Ta W"), eshift={"Ta": 10.0, "W": 0.5})
    energies = [item.energy for item in load(settings).configurations]
    assert energies == [9.5, 19.0, 19.0, 19.0]


@pytest.mark.parametrize(
    ("training", "testing", "expected"),
    [
        (1.0, 0.0, (12, 0)),
        (1.0, 0, (12, 0)),
        (1, 1, (1, 1)),
        (0, 1.0, (0, 12)),
        (0.0, 0.5, (0, 6)),
        (0.7, 0.3, (8, 4)),
        (0.01, 0.01, (1, 1)),
        (5, 3, (5, 3)),
        (0.5, None, (6, 6)),
        (1.0, None, (12, 0)),
        (0.0, None, (0, 12)),
        (None, None, (12, 0)),
    ],
)
def test_sizes(folder: Path, training: float | None, testing: float | None, expected: tuple[int, int]) -> None:
    dataset = load(settings_of(folder, row("A", training, testing)))
    count, (trained, held_out) = sum(expected), expected
    assert ids(dataset, TRAINING) == [f"A/f{k}.json" for k in range(trained)]
    assert ids(dataset, VALIDATION) == [f"A/f{k}.json" for k in range(trained, count)]
    assert len(ids(dataset, VALIDATION)) == held_out
    assert dataset.warnings == []


@pytest.mark.parametrize(("training", "testing", "left"), [(0.9, 0.9, 1), (100, 5, 0), (1.0, 0.1, 0)])
def test_a_group_too_small_for_both_loses_testing(folder: Path, training: float, testing: float, left: int) -> None:
    dataset = load(settings_of(folder, row("A", training, testing)))
    assert len(ids(dataset, TRAINING)) == 12 - left
    assert len(ids(dataset, VALIDATION)) == left
    assert f"group A: {12 - left} of 12" in dataset.warnings[0]


# Of 12 configurations: training_size, testing_size, test_size, and how many each set gets.
THREE_SETS = [
    (0.5, 0.25, 0.25, (6, 3, 3)),
    (1.0, 0.0, 0.0, (12, 0, 0)),
    (5, 3, 2, (5, 3, 2)),
    (5, 3, 4, (5, 3, 4)),
    (0.7, 0.2, 2, (8, 2, 2)),
    (6, 0, 0.5, (6, 0, 6)),
    (0, 0, 1.0, (0, 0, 12)),
    (0.01, 0.01, 0.01, (1, 1, 1)),
    (0.5, None, None, (6, 6, 0)),
    (0.5, None, 0, (6, 6, 0)),
    (0.5, None, 0.25, (6, 3, 3)),
    (8, None, 4, (8, 0, 4)),
    (0.5, 0.25, None, (6, 3, 0)),
]


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize(("training", "testing", "test", "expected"), THREE_SETS)
def test_three_sets(
    folder: Path,
    training: float | None,
    testing: float | None,
    test: float | None,
    expected: tuple[int, int, int],
    shuffled: bool,
) -> None:
    settings = settings_of(folder, row("A", training, testing, test=test), random_sampling=shuffled)
    dataset = load(settings)
    sets = [ids(dataset, subset) for subset in SETS]
    assert tuple(map(len, sets)) == expected
    assert len({name for members in sets for name in members}) == sum(expected)
    if not shuffled:
        assert [name for members in sets for name in members] == [f"A/f{k}.json" for k in range(sum(expected))]
    assert dataset.warnings == []


@pytest.mark.parametrize(
    ("training", "testing", "test", "expected", "left"),
    [
        (0.9, 0.5, 0.5, (11, 1, 0), "1 for validation and 0 for the test set"),
        (6, 4, 4, (6, 4, 2), "4 for validation and 2 for the test set"),
        (6, 8, 1, (6, 6, 0), "6 for validation and 0 for the test set"),
        (10, None, 3, (10, 0, 2), "0 for validation and 2 for the test set"),
        (100, None, 1, (12, 0, 0), "0 for validation and 0 for the test set"),
        (None, None, 2, (12, 0, 0), "0 for validation and 0 for the test set"),
    ],
)
def test_a_group_too_small_for_three_sets(
    folder: Path, training: float | None, testing: float | None, test: float, expected: tuple[int, ...], left: str
) -> None:
    dataset = load(settings_of(folder, row("A", training, testing, test=test)))
    assert tuple(len(ids(dataset, subset)) for subset in SETS) == expected
    assert dataset.warnings == [
        f"group A: {expected[0]} of 12 configurations are in the training set, which leaves {left}."
    ]


@pytest.mark.parametrize(("test", "expected"), [(None, (9, 3, 0)), (1, (9, 2, 1)), (0.25, (9, 0, 3))])
def test_training_fraction_leaves_the_test_set_its_size(
    folder: Path, test: float | None, expected: tuple[int, int, int]
) -> None:
    """``training_fraction`` replaces the other two sizes; validation is what the test set leaves."""
    settings = settings_of(folder, row("A", 2, 1, test=test))
    dataset = load(replace(settings, pytorch=PytorchSection(training_fraction=0.75)))
    assert tuple(len(ids(dataset, subset)) for subset in SETS) == expected


def test_a_test_set_leaves_the_training_set_as_it_is(folder: Path) -> None:
    """Also when shuffled, so that a test set can be held out of a fit that is known."""
    without = load(settings_of(folder, row("A", 0.5, 0.25), random_sampling=True), 7)
    dataset = load(settings_of(folder, row("A", 0.5, 0.25, test=0.25), random_sampling=True), 7)
    for subset in (TRAINING, VALIDATION):
        assert ids(dataset, subset) == ids(without, subset)
    assert not {*ids(dataset, TEST)} & {*ids(dataset, TRAINING), *ids(dataset, VALIDATION)}


def test_smartweights_divide_by_each_of_three_sets(folder: Path) -> None:
    settings = settings_of(folder, row("A", 6, 4, "12 12 12", test=2), smartweights=True)
    counts = {TRAINING: 6, VALIDATION: 4, TEST: 2}
    for item in load(settings).configurations:
        each = 12 / counts[item.subset]
        assert weights_of(item) == pytest.approx((each, each / 6, each / 6))


def test_training_fraction_stands_instead_of_the_sizes(folder: Path) -> None:
    settings = settings_of(folder, row("A", 2, 1), row("B1", None, None))
    dataset = load(replace(settings, pytorch=PytorchSection(training_fraction=0.75)))
    for group, expected in (("A", [9, 3]), ("B1", [3, 1])):
        members = [item.subset for item in dataset.configurations if item.group == group]
        assert [members.count(subset) for subset in SETS] == [*expected, 0]


def test_a_shuffle_is_repeated_by_its_seed_alone(folder: Path) -> None:
    settings = settings_of(folder, row("A", 0.5, 0.5), random_sampling=True)
    first = ids(load(settings, seed=7), VALIDATION)
    assert first == ids(load(settings, seed=7), VALIDATION)
    assert first != ids(load(settings, seed=8), VALIDATION)
    assert first != [f"A/f{k}.json" for k in range(6, 12)]


def test_a_split_does_not_depend_on_the_order_of_reading_or_on_other_groups(folder: Path) -> None:
    settings = settings_of(folder, row("A", 0.5, 0.5), random_sampling=True)
    configurations = read_files(settings, list_files(settings), [])
    expected = [(item.id, item.subset) for item in assemble(settings, configurations, 7).configurations]
    for _ in range(3):
        random.shuffle(configurations)
        assert [(item.id, item.subset) for item in assemble(settings, configurations, 7).configurations] == expected
    wider = settings_of(folder, row("B*", 0.5, 0.5), row("A", 0.5, 0.5), random_sampling=True)
    assert [(item.id, item.subset) for item in load(wider, 7).configurations if item.group == "A"] == expected


def test_a_table_that_uses_nothing_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="no configuration is left"):
        load(settings_of(folder, row("A", 0, 0), row("B1", 0.0, 0.0)))


def test_weights_of_the_row_or_of_pytorch(folder: Path) -> None:
    settings = settings_of(folder, row("A", 0.5, 0.5, "100 2 0.5"), row("B1", weights="1 2 3"))
    for item in load(settings).configurations:
        expected = (100.0, 2.0, 0.5) if item.group == "A" else (1.0, 2.0, 3.0)
        assert weights_of(item) == expected
    for item in load(replace(settings, pytorch=PytorchSection(energy_weight=0.0, force_weight=7.0))).configurations:
        expected = (0.0, 7.0, 0.5) if item.group == "A" else (0.0, 7.0, 3.0)
        assert weights_of(item) == expected


def test_weights_of_stage_two(folder: Path) -> None:
    """They replace those of all groups, except for a 0 among others; and a global 0."""
    settings = settings_of(folder, row("A", 0.5, 0.5, "100 2 0"), row("B1", weights="0 2 0"))
    keys = {"stage_two_energy_weight": 9.0, "stage_two_stress_weight": 5.0}

    def found(**more: object) -> dict[str, dict[str, float]]:
        changed = replace(settings, pytorch=PytorchSection(**{**keys, **more}))
        return {item.group: dict(item.stage_two_weights) for item in load(changed).configurations}

    assert found() == {"A": {}, "B1": {}}
    assert found(stage_two=True) == {"A": {"energy": 9.0, "stress": 5.0}, "B1": {"energy": 0.0, "stress": 5.0}}
    energies = found(stage_two=True, energy_weight=0.0, stage_two_stress_weight=None)
    assert energies == {"A": {"energy": 9.0}, "B1": {"energy": 9.0}}
    without = replace(settings.calculator, energy=False)
    changed = replace(settings, calculator=without, pytorch=PytorchSection(**keys, stage_two=True))
    assert load(changed).configurations[0].stage_two_weights["energy"] == 0.0


def test_smartweights_divide_by_the_subset_and_the_components(folder: Path) -> None:
    settings = settings_of(folder, row("A", 9, 3, "18 18 18"), smartweights=True)
    for item in load(settings).configurations:
        count = 3 if item.subset is VALIDATION else 9
        assert weights_of(item) == pytest.approx((18 / count, 18 / count / 6, 18 / count / 6))


def test_the_weight_in_a_file_multiplies_the_groups(tmp_path: Path) -> None:
    frames = [Atoms("Ta", info={"energy_weight": 0.25}), Atoms("Ta", positions=[[1, 0, 0]])]
    ase.io.write(tmp_path / "bulk.xyz", frames, format="extxyz")
    dataset = load(settings_of(tmp_path, row("bulk", weights="4 4 4"), kind="XYZ"))
    assert [item.weight("energy") for item in dataset.configurations] == [1.0, 4.0]
    assert [item.id for item in dataset.configurations] == ["bulk/bulk.xyz#0", "bulk/bulk.xyz#1"]


def test_one_file_for_all_groups(tmp_path: Path) -> None:
    frames = [Atoms("Ta", [[k, 0, 0]], info={"config_type": name}) for k, name in enumerate("abcab")]
    ase.io.write(tmp_path / "all.extxyz", frames)
    settings = settings_of(tmp_path / "all.extxyz", row("b", 1, 1), row("a"), kind="XYZ")
    dataset = load(settings)
    expected = ["b/all.extxyz#1", "b/all.extxyz#4", "a/all.extxyz#0", "a/all.extxyz#3"]
    assert [item.id for item in dataset.configurations] == expected
    assert ids(dataset, VALIDATION) == ["b/all.extxyz#4"]
    with pytest.raises(DataError, match=r"\[GROUPS\] surface: there are no data for this row. The groups are: a, b"):
        load(settings_of(tmp_path / "all.extxyz", row("a"), row("b"), row("surface"), kind="XYZ"))


def test_vasp_files_lie_at_any_depth_and_count_once(tmp_path: Path) -> None:
    for name in (
        "MD/1/OUTCAR",
        "MD/1/vasprun.xml",
        "MD/2/deep/OUTCAR",
        "MD/10/vasprun.xml",
        "MD/10/POSCAR",
        "OUTCAR_x",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    found = [source.id for source in list_files(settings_of(tmp_path, row("MD"), row("OUTCAR_x"), kind="VASP"))]
    assert found == ["MD/1/vasprun.xml", "MD/2/deep/OUTCAR", "MD/10/vasprun.xml", "OUTCAR_x/OUTCAR_x"]


def test_a_file_in_two_groups_is_refused(folder: Path) -> None:
    settings = settings_of(folder, row("A"))
    source = list_files(settings)[0]
    with pytest.raises(DataError, match=r"A/f0\.json was read more than once"):
        assemble(settings, read_files(settings, [source, source], []), 1)


def test_the_units_of_the_table_reach_the_labels(folder: Path) -> None:
    settings = settings_of(folder, row("A"))
    settings = replace(settings, scraper=Scraper(property_array="Energy: energy meV metal"))
    assert load(settings).configurations[0].energy == pytest.approx(-1e-3)
    with pytest.raises(DataError, match=r"\[SCRAPER\] property_array: unknown energy unit"):
        load(replace(settings, scraper=Scraper(property_array="Energy: calories")))


def test_warnings_name_what_looks_wrong(folder: Path) -> None:
    shutil.copy(folder / "A" / "f0.json", folder / "A" / "f9.json")
    write(folder / "A" / "f1.json", 3.9)
    dataset = load(settings_of(folder, row("A", 0.5, 0.5), elements="Ta W"))
    assert dataset.warnings[0].startswith("no configuration contains W")
    assert dataset.warnings[1].startswith("A/f9.json (as A/f0.json): in the validation or test set, but the same")
    assert len(dataset.warnings) == 2


def test_a_stress_without_a_volume_is_left_out(tmp_path: Path) -> None:
    comment = 'Lattice="4 0 0 0 4 0 0 0 4" stress="1 0 0 0 1 0 0 0 1" energy=1'
    frames = "".join(f"1\n{comment} pbc={pbc}\nTa {k} 0 0\n" for k, pbc in enumerate(('"T T T"', '"T T F"')))
    (tmp_path / "slab.xyz").write_text(frames)
    dataset = load(settings_of(tmp_path, row("slab"), kind="XYZ"))
    assert [item.stress is None for item in dataset.configurations] == [False, True]
    assert "slab/slab.xyz#1: the stress label is ignored" in dataset.warnings[0]


def test_a_drawn_seed_is_never_zero() -> None:
    assert all(1 <= draw_seed() < 100000 for _ in range(100))
    assert len({draw_seed() for _ in range(20)}) > 1


def test_fitsnap_counts_of_the_tantalum_example(tantalum: DataSet) -> None:
    """FitSNAP trains on 253 and tests on 110 of its 363 configurations with 0.7 and 0.3 for each group."""
    groups = sorted(path.name for path in tantalum.folder.iterdir())
    rows = [row(name, 0.7, 0.3) for name in groups]
    dataset = load(settings_of(tantalum.folder, *rows, random_sampling=True), seed=1234)
    assert len(ids(dataset, TRAINING)) == tantalum.training
    assert len(ids(dataset, VALIDATION)) == tantalum.configurations - tantalum.training
    assert sum(len(item) for item in dataset.configurations) == tantalum.atoms
    assert [warning for warning in dataset.warnings if "(Pulay stress)" not in warning] == []
    assert [source.path for source in list_files(settings_of(tantalum.folder, row("*")))] == [
        source.path for source in list_files(settings_of(tantalum.folder, *rows))
    ]


def test_indium_phosphide_is_read_whole(indium_phosphide: DataSet) -> None:
    settings = settings_of(indium_phosphide.folder, row("*", 0.9, 0.1), elements="In P")
    configurations = read_files(settings, list_files(settings), [])
    assert len(configurations) == indium_phosphide.configurations
    assert sum(len(item) for item in configurations) == indium_phosphide.atoms
    assert {symbol for item in configurations for symbol in item.species} == {"In", "P"}
    assert all(
        item.energy is not None and item.forces is not None and item.stress is not None for item in configurations
    )
    assert np.abs(np.array([item.forces.sum(axis=0) for item in configurations])).max() < 0.1
    assert isinstance(list_files(settings)[0], DataFile)

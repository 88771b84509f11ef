"""The group table: FitSNAP's columns, sizes and types, and what is wrong with a row."""

from __future__ import annotations

import pytest

from fitsnap_nn.errors import InputError
from fitsnap_nn.settings import GroupRow, load_settings

COLUMNS = "group_sections = name training_size testing_size eweight fweight vweight"
BULK = "Bulk = 0.7 0.3 100 1 1e-8"


def row(path, name: str = "Bulk") -> GroupRow:
    return next(row for row in load_settings(path).groups.rows if row.name == name)


def problems(path) -> list[str]:
    with pytest.raises(InputError) as error:
        load_settings(path)
    return [str(problem) for problem in error.value.problems]


def test_rows_in_the_order_of_the_file(write_input):
    path = write_input()
    assert load_settings(path).groups.rows == (
        GroupRow("Bulk", 0.7, 0.3, 100.0, 1.0, 1e-8, f"{path}:14"),
        GroupRow("Liquid", 1.0, 0.0, 1.0, 1.0, 0.0, f"{path}:15"),
    )


def test_columns_in_any_order(write_input):
    path = write_input(
        (COLUMNS, "group_sections = vweight name eweight fweight testing_size training_size"),
        (BULK, "Bulk = 1e-8 100 1 0.3 0.7"),
    )
    bulk = row(path)
    assert (bulk.training_size, bulk.testing_size, bulk.eweight, bulk.fweight, bulk.vweight) == (0.7, 0.3, 100, 1, 1e-8)


@pytest.mark.parametrize(
    ("types", "text", "size"),
    [
        ("float", "1", 1.0),
        ("float", "1.0", 1.0),
        ("float", "0", 0.0),
        ("float", "0.25", 0.25),
        ("float", "50", 50),
        ("int", "1", 1),
        ("int", "50", 50),
    ],
)
def test_sizes_are_fractions_or_counts(write_input, types, text, size):
    changes = (COLUMNS, f"{COLUMNS}\ngroup_types = str {types} float float float float"), ("= 0.7 0.3", f"= {text} 0.3")
    if types == "int":
        changes += (("Liquid = 1.0", "Liquid = 1"),)
    got = row(write_input(*changes)).training_size
    assert got == size
    assert type(got) is type(size)


def test_size_alone_leaves_the_rest_for_testing(write_input):
    change = (COLUMNS, "group_sections = name size eweight fweight vweight"), (BULK, "Bulk = 0.7 100 1 1e-8")
    path = write_input(*change, ("Liquid = 1.0 0.0 1", "Liquid = 20 1"))
    assert (row(path).training_size, row(path).testing_size) == (0.7, None)
    # A count leaves the others unused, as in FitSNAP.
    assert (row(path, "Liquid").training_size, row(path, "Liquid").testing_size) == (20, 0)


def test_training_size_alone_tests_on_nothing(write_input):
    change = (COLUMNS, "group_sections = name training_size eweight"), (BULK, "Bulk = 0.7 2")
    settings = load_settings(write_input(*change, ("Liquid = 1.0 0.0 1 1 0", "Liquid = 1 1")))
    bulk = settings.groups.rows[0]
    assert (bulk.testing_size, bulk.eweight, bulk.fweight, bulk.vweight) == (0, 2.0, 1.0, 0.0)
    assert any("no column fweight: 1 is used for all groups" in notice for notice in settings.notices)


WITH_TEST = (COLUMNS, COLUMNS.replace("testing_size", "testing_size test_size"))


@pytest.mark.parametrize(("text", "size"), [("0.1", 0.1), ("0", 0.0), ("12", 12)])
def test_a_test_set_is_a_fraction_or_a_count(write_input, text, size):
    path = write_input(WITH_TEST, (BULK, f"Bulk = 0.7 0.2 {text} 100 1 1e-8"), ("= 1.0 0.0 1", "= 1.0 0.0 0 1"))
    got = row(path).test_size
    assert got == size
    assert type(got) is type(size)
    assert row(path, "Liquid").test_size == 0.0


def test_without_the_column_there_is_no_test_set(write_input):
    assert row(write_input()).test_size is None
    size = (COLUMNS, "group_sections = name size test_size eweight"), (BULK, "Bulk = 0.7 0.1 2")
    bulk = row(write_input(*size, ("Liquid = 1.0 0.0 1 1 0", "Liquid = 1 0 1")))
    assert (bulk.training_size, bulk.testing_size, bulk.test_size) == (0.7, None, 0.1)


def test_fractions_must_leave_room_for_the_test_set(write_input):
    changes = WITH_TEST, (BULK, "Bulk = 0.7 0.3 0.1 1 1 0"), ("= 1.0 0.0 1", "= 0.6 0.3 0.1 1")
    path = write_input(*changes)
    (found,) = problems(path)
    what = "[GROUPS] Bulk — training_size + testing_size + test_size = 1.1. The sum must not exceed 1."
    assert found == f"{path}:14  {what}"
    # FitSNAP accepts training and validation sets that overlap in size: the validation set is smaller then.
    assert row(write_input((BULK, "Bulk = 1.0 0.3 100 1 1e-8"))).testing_size == 0.3


def test_a_zero_of_type_bool_is_false(write_input):
    path = write_input((COLUMNS, f"{COLUMNS}\ngroup_types = str float float bool float float"), ("0.3 100", "0.3 0"))
    assert row(path).eweight == 0.0


def test_group_file_instead_of_rows(write_input, tmp_path):
    table = tmp_path / "table.txt"
    table.write_text("# name train test e f v\nBulk 0.7 0.3 100 1 1e-8 # note\n\nLiquid\t1 0 1 1 0\n")
    path = write_input(
        ("dataPath = data", "dataPath = data\ngroupFile = table.txt"),
        (f"{BULK}\nLiquid = 1.0 0.0 1 1 0\n", ""),
    )
    rows = load_settings(path).groups.rows
    assert rows[0] == GroupRow("Bulk", 0.7, 0.3, 100.0, 1.0, 1e-8, f"{table}:2")
    assert [row.name for row in rows] == ["Bulk", "Liquid"]
    table.write_text("Bulk 0.7 0.3 100 1\nLiquid 1 0 1 1 0\nLiquid 1 0 1 1 0\nGas 1 0 1 1 0\n")
    first, second, third = problems(path)
    assert first.startswith(f"{table}:1  [GROUPS] Bulk — 4 values for the 5 columns")
    assert second.startswith(f"{table}:3  [GROUPS] Liquid — given twice, first at {table}:2")
    assert third.startswith(f"{table}:4  [GROUPS] Gas — no such folder or file")


@pytest.mark.parametrize(
    ("changes", "line", "message"),
    [
        ((("0.7 0.3", "0.7"),), 14, "[GROUPS] Bulk — 4 values for the 5 columns"),
        ((("0.7 0.3", "1.5 0.3"),), 14, "training_size: 1.5 is neither a fraction (0 to 1) nor an integer number"),
        ((("0.7 0.3", "-1 0.3"),), 14, "training_size: -1 is negative"),
        ((("testing_size", "testing_size tset_size"),), 13, "unknown column tset_size. Did you mean test_size?"),
        ((("0.7 0.3 100", "0.7 0.3 x"),), 14, "eweight: 'x' is not a number"),
        ((("0.7 0.3 100", "0.7 0.3 nan"),), 14, "eweight: 'nan' is not a finite number"),
        ((("fweight", "fwieght"),), 13, "unknown column fwieght. Did you mean fweight?"),
        ((("name training_size", "name name"),), 13, "column name is given 2 times"),
        ((("name training_size", "training_size"),), 13, "the column name is missing. Put name first."),
        (
            (("name training_size", "name size"),),
            13,
            "size cannot be combined with training_size or testing_size. Keep",
        ),
        (((COLUMNS, f"{COLUMNS}\ngroup_types = str float"),), 14, "2 types for 6 columns"),
        (((COLUMNS, f"{COLUMNS}\ngroup_types = str float float flaot float float"),), 14, "Did you mean float?"),
        (((COLUMNS, f"{COLUMNS}\ngroup_types = str float float str float float"),), 14, "column eweight cannot be str"),
        (((COLUMNS, f"{COLUMNS}\ngroup_types = str int float float float float"),), 15, "Use float for this column"),
        (((COLUMNS, f"{COLUMNS}\nrandom_samplng = 1"),), 14, "Did you mean random_sampling?"),
        ((("Bulk =", "Blk ="),), 14, "no such folder or file in"),
        ((("Bulk =", "Blk ="),), 14, "Did you mean Bulk?"),
        ((("Bulk =", "Gas* ="),), 14, "[GROUPS] Gas* — no such folder or file"),
        ((("Bulk =", "deep/Slob ="),), 14, "Did you mean deep/Slab?"),
        ((("Bulk =", "../data/Bulk ="),), 14, "groups must be inside dataPath. Change dataPath."),
    ],
)
def test_what_is_wrong_and_where(write_input, changes, line, message):
    path = write_input(*changes)
    assert any(text.startswith(f"{path}:{line}  ") and message in text for text in problems(path)), problems(path)


def test_rows_and_a_group_file_exclude_each_other(write_input, tmp_path):
    (tmp_path / "table.txt").write_text("Bulk 0.7 0.3 100 1 1e-8\n")
    found = problems(write_input(("dataPath = data", "dataPath = data\ngroupFile = table.txt")))
    assert "Keep one of the two." in found[0]


def test_a_missing_group_file_and_an_empty_table(write_input):
    rows = (f"{BULK}\nLiquid = 1.0 0.0 1 1 0\n", "")
    assert "no such file" in problems(write_input(rows, ("dataPath = data", "dataPath = data\ngroupFile = t")))[0]
    assert "the group table is empty. Add a row: Name = training_size" in problems(write_input(rows))[0]


@pytest.mark.parametrize("name", ["B*", "Liqu?d", "deep/*", "deep/Slab"])
def test_wildcards_and_nested_names_stay_as_they_are(write_input, name):
    assert row(write_input(("Bulk =", f"{name} =")), name).name == name


def test_groups_of_other_scrapers_are_files_or_folders(write_input, tmp_path):
    data = tmp_path / "data"
    (data / "Gas.extxyz").touch()
    (data / "Ice.traj").touch()
    xyz = ("[PATH]", "[SCRAPER]\nscraper = XYZ\n[PATH]")
    assert row(write_input(xyz, ("Liquid =", "Gas =")), "Gas").name == "Gas"
    assert "no such folder or file" in problems(write_input(xyz, ("Liquid =", "Ice =")))[0]
    assert row(write_input((xyz[0], xyz[1].replace("XYZ", "ASE")), ("Liquid =", "Ice =")), "Ice").name == "Ice"
    # Groups of a single file are in its frames, which are not read here.
    single = ("dataPath = data", "dataPath = data/Gas.extxyz"), ("Liquid =", "anything =")
    assert row(write_input(xyz, *single), "anything").name == "anything"
    assert "A single file with all groups needs scraper = ASE or XYZ." in problems(write_input(*single))[0]

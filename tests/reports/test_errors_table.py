"""The table of errors against numbers worked out by hand and scikit-free formulas of numpy."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest

from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.data.properties import STANDARD, user_property
from fitsnap_nn.data.symmetries import Cartesian, Scalar
from fitsnap_nn.reports.errors_table import ErrorRow, errors_table, summary, write_errors_table
from fitsnap_nn.reports.verdict import verdict_of_errors


def find(rows, group, subset, name):
    (row,) = [row for row in rows if (row.group, row.subset, row.property) == (group, subset, name)]
    return row


def test_energy_errors_are_per_atom_and_worked_out_by_hand(make_result):
    rows = errors_table(
        [
            make_result(atoms=2, label=4.0, energy=6.0),  # 2.0 and 3.0 eV/atom
            make_result(atoms=4, label=16.0, energy=4.0),  # 4.0 and 1.0 eV/atom
        ],
        STANDARD,
    )
    row = find(rows, "bulk", "Train", "Energy")
    assert (row.count, row.unit) == (2, "eV/atom")
    assert row.mae == pytest.approx(2.0)
    assert row.rmse == pytest.approx(math.sqrt(5.0))
    assert row.r2 == pytest.approx(1 - 10.0 / 2.0)


def test_force_errors_count_atoms_but_average_components(make_result):
    rows = errors_table([make_result(atoms=2, force_label=np.zeros((2, 3)), forces=[[3, 0, 0], [0, -3, 0]])], STANDARD)
    row = find(rows, "*ALL", "Train", "Force")
    assert (row.count, row.unit) == (2, "eV/Å")
    assert row.mae == pytest.approx(1.0)
    assert row.rmse == pytest.approx(math.sqrt(3.0))


def test_configurations_without_weight_are_not_in_the_mean_of_all_groups(make_result):
    def results(test_weight):
        return [
            make_result(atoms=1, label=1.0, energy=2.0),
            make_result(atoms=1, label=1.0, energy=9.0, group="isolated", weights={"energy": 0.0}),
            make_result(atoms=1, label=1.0, energy=4.0, subset=Subset.TEST, weights={"energy": test_weight}),
        ]

    for test_weight in (0.0, 1.0):  # a test set without weights is shown
        rows = errors_table(results(test_weight), STANDARD)
        assert [find(rows, "*ALL", subset, "Energy").mae for subset in ("Train", "Test")] == [1.0, 3.0]
        assert find(rows, "isolated", "Train", "Energy").mae == 8.0
        assert not any("isolated" in line for line in verdict_of_errors(results(test_weight), STANDARD))


def test_stress_is_compared_in_gpa_and_in_voigt_order(make_result):
    label = np.array([[1, 6, 5], [6, 2, 4], [5, 4, 3]]) / 160.2176634
    exact = make_result(stress_label=label, stress=np.arange(1, 7) / 160.2176634)
    assert find(errors_table([exact], STANDARD), "*ALL", "Train", "Stress").mae == pytest.approx(0.0, abs=1e-12)
    off = make_result(stress_label=label, stress=np.array([1, 2, 3, 4, 5, 12]) / 160.2176634)
    row = find(errors_table([off], STANDARD), "*ALL", "Train", "Stress")
    assert (row.count, row.unit) == (1, "GPa")
    assert row.mae == pytest.approx(1.0)


def test_groups_agree_with_numpy(random_results):
    rows = errors_table(random_results, STANDARD)
    for group in ("*ALL", "bulk", "melt", "slab"):
        for subset in Subset:
            chosen = [
                result
                for result in random_results
                if result.configuration.subset is subset and group in ("*ALL", result.configuration.group)
            ]
            found = [row for row in rows if (row.group, row.subset, row.property) == (group, subset.value, "Force")]
            assert bool(found) == bool(chosen)
            if not chosen:
                continue
            label = np.concatenate([result.configuration.forces.ravel() for result in chosen])
            model = np.concatenate([result.evaluation.forces.ravel() for result in chosen])
            assert found[0].mae == pytest.approx(np.mean(np.abs(label - model)))
            assert found[0].rmse == pytest.approx(np.sqrt(np.mean((label - model) ** 2)))
            assert found[0].r2 == pytest.approx(1 - np.sum((label - model) ** 2) / (label.size * np.var(label)))


def test_last_group_without_validation_data_leaves_the_totals_alone(make_result):
    rows = errors_table(
        [
            make_result("first", subset=Subset.VALIDATION, label=2.0, energy=0.0),
            make_result("last", label=2.0, energy=4.0),
        ],
        STANDARD,
    )
    assert find(rows, "*ALL", "Validation", "Energy").mae == pytest.approx(1.0)
    assert [row.subset for row in rows if row.group == "last"] == ["Train"]


def test_missing_labels_and_predictions_are_left_out(make_result):
    rows = errors_table(
        [
            make_result(label=2.0, energy=1.0),
            make_result(energy=99.0, force_label=np.ones((2, 3))),
            make_result(energy=99.0, forces=np.ones((2, 3)), stress=np.ones(6)),
        ],
        STANDARD,
    )
    assert [(row.property, row.count) for row in rows if row.group == "*ALL"] == [("Energy", 1)]
    assert errors_table([], STANDARD) == []


@pytest.mark.parametrize("labels", [[3.0], [3.0, 3.0], [3.0, 3.0 + 1e-14]])
def test_r2_is_not_a_number_where_labels_do_not_vary(make_result, tmp_path, labels):
    rows = errors_table([make_result(atoms=1, label=label, energy=1.0) for label in labels], STANDARD)
    assert math.isnan(rows[0].r2)
    write_errors_table(tmp_path / "metrics", rows)
    assert (tmp_path / "metrics").read_text(encoding="utf-8").splitlines()[2].split("|")[7].strip() == "-"


def test_order_is_all_first_then_groups_as_they_appear_train_before_validation_before_test(random_results):
    keys = [(row.group, row.subset, row.property) for row in errors_table(random_results, STANDARD)]
    assert list(dict.fromkeys(group for group, _, _ in keys)) == ["*ALL", "bulk", "melt", "slab"]
    assert [key[1:] for key in keys[:9]] == [
        (subset, name) for subset in ("Train", "Validation", "Test") for name in ("Energy", "Force", "Stress")
    ]


def test_summary_is_in_units_people_read():
    rows = [
        ErrorRow("*ALL", "Test", "Energy", 3, 0.1172, 0, 0, "eV/atom"),
        ErrorRow("*ALL", "Test", "Force", 3, 0.0761, 0, 0, "eV/Å"),
        ErrorRow("*ALL", "Test", "Stress", 3, 0.4125, 0, 0, "GPa"),
        ErrorRow("*ALL", "Train", "Energy", 3, 9.0, 0, 0, "eV/atom"),
        ErrorRow("bulk", "Test", "Energy", 3, 8.0, 0, 0, "eV/atom"),
    ]
    assert summary(rows, Subset.TEST, STANDARD) == "E 117.2 meV/atom, F 76.10 meV/Å, P 0.4125 GPa"
    assert summary(rows, Subset.TRAINING, STANDARD) == "E 9000 meV/atom"
    assert summary(rows, Subset.VALIDATION, STANDARD) == ""
    assert summary([], Subset.TEST, STANDARD) == ""


def test_markdown_is_aligned_and_complete(random_results, tmp_path):
    rows = errors_table(random_results, STANDARD)
    write_errors_table(tmp_path / "metrics", rows, "MD")
    lines = (tmp_path / "metrics").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(rows) + 2
    assert len({tuple(i for i, letter in enumerate(line) if letter == "|") for line in lines}) == 1
    assert [cell.strip() for cell in lines[0].split("|")[1:-1]] == [
        *("Group", "Set", "Property", "Count", "MAE", "RMSE", "R²", "Unit")
    ]


@pytest.mark.parametrize(("style", "delimiter"), [("CSV", ","), ("SSV", " ")])
def test_separated_styles_keep_every_digit(make_result, tmp_path, style, delimiter):
    rows = errors_table([make_result("two words", label=1 / 3), make_result("two words", label=1 / 7)], STANDARD)
    write_errors_table(tmp_path / "metrics", rows, style)
    with (tmp_path / "metrics").open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file, delimiter=delimiter))
    assert [row["Group"] for row in read] == ["*ALL", "two words"]
    assert [float(row["MAE"]) for row in read] == [row.mae for row in rows]


def test_json_is_json_even_without_r2(make_result, tmp_path):
    rows = errors_table([make_result(label=1.0)], STANDARD)
    write_errors_table(tmp_path / "metrics", rows, "JSON")

    def refuse(constant):
        raise AssertionError(constant)

    read = json.loads((tmp_path / "metrics").read_text(encoding="utf-8"), parse_constant=refuse)
    assert read[0]["r2"] is None
    assert read[0]["mae"] == rows[0].mae


def test_df_has_the_columns_of_fitsnap(random_results, tmp_path):
    rows = errors_table(random_results, STANDARD)
    write_errors_table(tmp_path / "metrics", rows, "DF")
    header, *lines = [line.split() for line in (tmp_path / "metrics").read_text(encoding="utf-8").splitlines()]
    assert header == ["Group", "Train/Test", "Property", "Count", "MAE", "RMSE"]
    assert [(line[0], int(line[3])) for line in lines] == [(row.group, row.count) for row in rows]
    np.testing.assert_allclose([float(line[4]) for line in lines], [row.mae for row in rows], rtol=1e-3)


def test_properties_of_the_user_have_rows_in_their_own_units(make_result):
    charge = user_property("charge", "atom", Scalar(), "e")
    dipole = user_property("dipole", "configuration", Cartesian(1), "eÅ", intensive=False)
    result = make_result(atoms=2, label=1.0)
    result.configuration.labels.update(charge=np.array([0.5, -0.5]), dipole=np.array([2.0, 4.0, 6.0]))
    result.evaluation.values.update(charge=np.array([[0.25], [-0.25]]), dipole=np.array([1.0, 4.0, 6.0]))
    properties = (*STANDARD, charge, dipole)
    rows = errors_table([result, make_result(atoms=1, label=1.0)], properties)
    row = find(rows, "bulk", "Train", "charge")
    assert (row.count, row.unit, row.mae) == (2, "e", pytest.approx(0.25))
    row = find(rows, "bulk", "Train", "dipole")
    assert (row.count, row.unit, row.mae) == (1, "eÅ/atom", pytest.approx(1 / 6))
    assert summary(rows, Subset.TRAINING, (charge, dipole, *STANDARD)).endswith(
        "charge 0.2500 e, dipole 0.1667 eÅ/atom"
    )


def test_each_set_counts_its_own(random_results):
    rows = errors_table(random_results, STANDARD)
    counts = {row.subset: row.count for row in rows if (row.group, row.property) == ("*ALL", "Energy")}
    assert counts == {"Train": 7, "Validation": 4, "Test": 1}
    assert {row.subset for row in rows if row.group == "melt"} == {"Train"}


@pytest.mark.parametrize("style", ["MD", "CSV", "SSV", "JSON", "DF"])
def test_every_style_names_the_three_sets(random_results, tmp_path, style):
    write_errors_table(tmp_path / "metrics", errors_table(random_results, STANDARD), style)
    text = (tmp_path / "metrics").read_text(encoding="utf-8")
    assert all(text.count(name) >= 3 for name in ("Train", "Validation", "Test"))

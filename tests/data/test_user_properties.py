"""Properties of the section [TARGETS]: from the data files to labels, weights and the properties of a fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.files import list_files, read_files
from fitsnap_nn.data.fitted import fitted_properties, property_of
from fitsnap_nn.data.groups import assemble
from fitsnap_nn.data.label_checks import check_labels
from fitsnap_nn.errors import DataError
from fitsnap_nn.settings.rows import PropertyRow
from fitsnap_nn.settings.schema import Bispectrum, GroupRow, Groups, PathSection, Scraper, Settings

CHARGE = PropertyRow("charge", "atom", "scalar", "ref_charge", unit="e", weight=3.0)
MOMENT = PropertyRow("moment", "atom", "vector", "magmom")
GAP = PropertyRow("gap", "configuration", "scalar", "gap", unit="eV", intensive=True, weight=2.0)
DIPOLE = PropertyRow("dipole", "configuration", "vector", "Dipole", unit="eÅ")
FOUR = (CHARGE, MOMENT, GAP, DIPOLE)
POLARIZABILITY = PropertyRow("polarizability", "configuration", "symmetric_tensor", "alpha")
SHIELDING = PropertyRow("shielding", "atom", "tensor", "sigma")
COUPLING = PropertyRow("coupling", "configuration", "tensor", "J")
MULTIPOLE = PropertyRow("multipole", "configuration", "spherical", "q4", degree=4)
QUADRUPOLE = PropertyRow("quadrupole", "atom", "spherical", "q2", degree=2)
CELL = np.diag([4.0, 5.0, 6.0])
VALUES = {
    "ref_charge": [0.5, -0.5],
    "magmom": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]],
    "gap": 1.25,
    "Dipole": [1.0, -2.0, 0.5],
}


def settings_of(folder: Path, kind: str, *rows: PropertyRow) -> Settings:
    return Settings(
        bispectrum=Bispectrum(type=("Ta",)),
        scraper=Scraper(scraper=kind),
        path=PathSection(data_path=str(folder)),
        groups=Groups(rows=(GroupRow("bulk", 1.0, 0, 1.0, 1.0, 1.0, "Ta.in:1"),)),
        targets=rows,
    )


def load(settings: Settings) -> tuple[Configuration, ...]:
    return assemble(settings, read_files(settings, list_files(settings), []), 1).configurations


def write_json(folder: Path, **values: Any) -> None:
    data = {"AtomTypes": ["Ta", "Ta"], "Positions": [[0, 0, 0], [2, 2, 2]], "Lattice": CELL.tolist(), "Energy": -1.0}
    folder.joinpath("bulk").mkdir(exist_ok=True)
    folder.joinpath("bulk/a.json").write_text(json.dumps({"Dataset": {"Data": [{**data, **values}]}}))


def write_xyz(folder: Path, **values: Any) -> None:
    atoms = Atoms("Ta2", [[0, 0, 0], [2, 2, 2]], cell=CELL, pbc=True)
    for name, value in values.items():
        if np.shape(value)[:1] == (2,):
            atoms.arrays[name] = np.asarray(value)
        else:
            atoms.info[name] = value
    ase.io.write(folder / "bulk.xyz", atoms, format="extxyz")


WRITERS = {"JSON": write_json, "XYZ": write_xyz}


@pytest.mark.parametrize("kind", WRITERS)
def test_labels_are_read_with_the_shapes_of_their_symmetry(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path, **VALUES)
    (configuration,) = load(settings_of(tmp_path, kind, *FOUR))
    for row in FOUR:
        np.testing.assert_array_equal(configuration.labels[row.name], VALUES[row.column])
    weights = {row.name: configuration.weight(row.name) for row in FOUR}
    assert weights == {"charge": 3.0, "moment": 1.0, "gap": 2.0, "dipole": 1.0}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_missing_label_is_absent(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path, gap=1.25)
    (configuration,) = load(settings_of(tmp_path, kind, *FOUR))
    assert "gap" in configuration.labels
    assert configuration.labels.keys().isdisjoint({"charge", "moment", "dipole"})


@pytest.mark.parametrize("kind", WRITERS)
def test_a_label_that_no_file_has_is_named_by_its_column(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path, gap=1.25, energy=-1.0)
    settings = settings_of(tmp_path, kind, GAP, CHARGE)
    (warned,) = (one.what for one in check_labels(settings, load(settings), []) if "for charge has this" in one.what)
    assert f"(looked for: {CHARGE.column})" in warned
    assert "Correct column= in [TARGETS]" in warned


@pytest.mark.parametrize("kind", WRITERS)
def test_a_name_in_another_case_is_found(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path, Ref_Charge=VALUES["ref_charge"])
    (configuration,) = load(settings_of(tmp_path, kind, CHARGE))
    np.testing.assert_array_equal(configuration.labels["charge"], VALUES["ref_charge"])


def test_an_explicit_null_in_json_is_a_missing_label(tmp_path: Path) -> None:
    write_json(tmp_path, ref_charge=None)
    (configuration,) = load(settings_of(tmp_path, "JSON", CHARGE))
    assert "charge" not in configuration.labels


def test_a_weight_in_a_frame_multiplies_that_of_the_property(tmp_path: Path) -> None:
    write_xyz(tmp_path, **VALUES, charge_weight=0.5)
    (configuration,) = load(settings_of(tmp_path, "XYZ", CHARGE, GAP))
    assert (configuration.weight("charge"), configuration.weight("gap")) == (1.5, 2.0)


def test_smartweights_divide_by_the_components_of_the_property(tmp_path: Path) -> None:
    write_json(tmp_path, **VALUES)
    settings = settings_of(tmp_path, "JSON", *FOUR)
    settings = replace(settings, groups=replace(settings.groups, smartweights=True))
    (configuration,) = load(settings)
    weights = [configuration.weight(row.name) for row in FOUR]
    assert weights == pytest.approx([3.0 / 2, 1.0 / 6, 2.0, 1.0 / 3])


@pytest.mark.parametrize(
    ("row", "value", "shape"),
    [
        (CHARGE, [0.5, 0.5, 0.5], r"charge has shape \(3,\), not \(2,\) or \(2, 1\)"),
        (CHARGE, 0.5, r"charge has shape \(\), not \(2,\) or \(2, 1\)"),
        (MOMENT, [0.5, 0.5], r"moment has shape \(2,\), not \(2, 3\)"),
        (GAP, [1.0, 2.0], r"gap has shape \(2,\), not \(\) or \(1,\)"),
        (DIPOLE, [1.0, 2.0], r"dipole has shape \(2,\), not \(3,\)"),
        (CHARGE, ["a", "b"], "charge is not an array of numbers"),
        (GAP, float("nan"), "gap contains a number that is not finite"),
    ],
)
def test_a_label_of_another_shape_is_named_with_its_file(
    tmp_path: Path, row: PropertyRow, value: Any, shape: str
) -> None:
    write_json(tmp_path, **{row.column: value})
    with pytest.raises(DataError, match=rf"a\.json.*{shape}"):
        load(settings_of(tmp_path, "JSON", row))


@pytest.mark.parametrize(
    ("row", "value"), [(CHARGE, [[0.5], [-0.5]]), (GAP, [1.25]), (MOMENT, VALUES["magmom"]), (DIPOLE, [1.0, -2.0, 0.5])]
)
def test_rows_of_components(tmp_path: Path, row: PropertyRow, value: Any) -> None:
    write_json(tmp_path, **{row.column: value})
    settings = settings_of(tmp_path, "JSON", row)
    (configuration,) = load(settings)
    (quantity,) = [one for one in fitted_properties(settings, [configuration]) if one.name == row.name]
    rows = quantity.rows(configuration.labels[row.name])
    count = {"scalar": 1, "vector": 3}[row.symmetry]
    assert rows.shape == ({"atom": 2, "configuration": 1}[row.per], count)
    assert quantity.count(len(configuration)) == rows.size


def test_properties_of_the_fit_come_after_energy_and_forces(tmp_path: Path) -> None:
    write_json(tmp_path, **VALUES)
    settings = settings_of(tmp_path, "JSON", *FOUR)
    found = fitted_properties(settings, load(settings))
    assert [one.name for one in found] == ["energy", "forces", "charge", "moment", "gap", "dipole"]
    assert [one.loss_unit.label for one in found[2:]] == ["e", "", "eV", "eÅ/atom"]
    assert [one.per_atom for one in found[2:]] == [False, False, False, True]


NINE = np.arange(9.0).reshape(3, 3)
SYMMETRIC = NINE + NINE.T
TENSORS = [
    (POLARIZABILITY, SYMMETRIC, [0.0, 8.0, 16.0, 12.0, 8.0, 4.0]),
    (POLARIZABILITY, np.array([0.0, 8.0, 16.0, 12.0, 8.0, 4.0]), [0.0, 8.0, 16.0, 12.0, 8.0, 4.0]),
    (COUPLING, NINE, NINE.ravel()),
    (SHIELDING, np.stack([NINE.ravel(), -NINE.ravel()]), [NINE.ravel(), -NINE.ravel()]),
    (MULTIPOLE, NINE.ravel(), NINE.ravel()),
    (QUADRUPOLE, np.arange(10.0).reshape(2, 5), np.arange(10.0).reshape(2, 5)),
]


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(("row", "value", "rows"), TENSORS)
def test_tensors(tmp_path: Path, kind: str, row: PropertyRow, value: Any, rows: Any) -> None:
    """The same components from JSON and from extended XYZ that ASE has written, which has matrices by column."""
    WRITERS[kind](tmp_path, **{row.column: value.tolist() if kind == "JSON" else value})
    (configuration,) = load(settings_of(tmp_path, kind, row))
    np.testing.assert_array_equal(property_of(row).rows(configuration.labels[row.name]), np.atleast_2d(rows))


@pytest.mark.parametrize(
    ("row", "value", "message"),
    [
        (
            POLARIZABILITY,
            NINE,
            "not a symmetric matrix: two components that should be equal differ by 4. Declare it as",
        ),
        (MULTIPOLE, NINE, r"multipole has shape \(3, 3\), not \(9,\)"),
        (
            QUADRUPOLE,
            np.zeros(5),
            r"shape \(5,\), not \(2, 5\)\. Correct the file, or the words .* in \[TARGETS\]: per_atom",
        ),
        (SHIELDING, np.zeros((2, 6)), r"shape \(2, 6\), not \(2, 3, 3\) or \(2, 9\)"),
    ],
)
def test_wrong_tensors(tmp_path: Path, row: PropertyRow, value: Any, message: str) -> None:
    write_json(tmp_path, **{row.column: value.tolist()})
    with pytest.raises(DataError, match=rf"a\.json.*{message}"):
        load(settings_of(tmp_path, "JSON", row))

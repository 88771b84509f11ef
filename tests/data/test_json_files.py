"""FitSNAP's JSON: units, signs, shapes, and what is said about files that are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ase.units
import numpy as np
import pytest
from places import EXAMPLE

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.findings import Finding
from fitsnap_nn.data.readers import DataFile, ReadOptions
from fitsnap_nn.data.readers.json_files import read_json
from fitsnap_nn.errors import DataError

FRAME = {
    "AtomTypes": ["Ta", "W"],
    "Positions": [[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]],
    "Lattice": [[4.0, 0.0, 0.0], [0.0, 5.0, 0.0], [1.0, 0.0, 6.0]],
    "Energy": -3,
    "Forces": [[1.0, 0.0, -2.0], [-1.0, 0.0, 2.0]],
    "Stress": [[1.0, 0.4, 0.5], [0.4, 2.0, 0.6], [0.5, 0.6, 3.0]],
    "NumAtoms": 2,
}


def write(path: Path, *frames: dict[str, Any], comment: str = "# comment\n", **styles: str) -> DataFile:
    path.write_text(comment + json.dumps({"Dataset": {"Data": frames, **styles}}))
    return DataFile(str(path), "group", f"group/{path.name}")


def read_one(source: DataFile, units: dict[str, str] | None = None) -> Configuration:
    (configuration,) = read_json(source, ReadOptions(units or {}), [])
    return configuration


def without(*fields: str) -> dict[str, Any]:
    return {field: value for field, value in FRAME.items() if field not in fields}


@pytest.mark.parametrize("comment", ["", "# one line\n", "# {one}\n\n# two: {\n"])
def test_metal_units_and_any_comment(tmp_path: Path, comment: str) -> None:
    configuration = read_one(write(tmp_path / "a.json", FRAME, comment=comment))
    assert configuration.id == "group/a.json"
    assert configuration.group == "group"
    assert configuration.species == ("Ta", "W")
    assert configuration.pbc == (True, True, True)
    assert configuration.energy == -3.0
    assert np.array_equal(configuration.positions, FRAME["Positions"])
    assert np.array_equal(configuration.cell, FRAME["Lattice"])
    assert np.array_equal(configuration.forces, FRAME["Forces"])
    assert np.allclose(configuration.stress, -ase.units.bar * np.array(FRAME["Stress"]), rtol=1e-7)


@pytest.mark.parametrize(
    ("style", "scale"),
    [("bar", ase.units.bar), ("kB", 1e3 * ase.units.bar), ("GPa", ase.units.GPa), ("eV/Angstrom^3", 1.0)],
)
def test_stress_is_minus_the_pressure_in_any_unit(tmp_path: Path, style: str, scale: float) -> None:
    configuration = read_one(write(tmp_path / "a.json", FRAME, StressStyle=style))
    assert np.allclose(configuration.stress, -scale * np.array(FRAME["Stress"]), rtol=1e-7)


def test_the_styles_of_all_other_fields_whatever_their_case(tmp_path: Path) -> None:
    styles = {
        "energystyle": "HARTREE",
        "ForcesStyle": "hartreeperbohr",
        "PositionsStyle": "Bohr",
        "LatticeStyle": "nm",
    }
    configuration = read_one(write(tmp_path / "a.json", FRAME, **styles))
    assert configuration.energy == pytest.approx(-3.0 * ase.units.Hartree, rel=1e-7)
    force = ase.units.Hartree / ase.units.Bohr
    assert np.allclose(configuration.forces, force * np.array(FRAME["Forces"]), rtol=1e-7)
    assert np.allclose(configuration.positions, ase.units.Bohr * np.array(FRAME["Positions"]), rtol=1e-7)
    assert np.allclose(configuration.cell, 10.0 * np.array(FRAME["Lattice"]))


def test_units_do_not_leak_into_the_next_file(tmp_path: Path) -> None:
    first = write(tmp_path / "a.json", FRAME, EnergyStyle="hartree")
    second = write(tmp_path / "b.json", FRAME)
    assert read_one(first).energy == pytest.approx(-3.0 * ase.units.Hartree, rel=1e-7)
    assert read_one(second).energy == -3.0


def test_units_given_from_outside_stand_instead_of_the_files(tmp_path: Path) -> None:
    source = write(tmp_path / "a.json", FRAME, EnergyStyle="hartree", StressStyle="bar")
    configuration = read_one(source, {"Energy": "Rydberg", "Stress": "GPa"})
    assert configuration.energy == pytest.approx(-3.0 * ase.units.Rydberg, rel=1e-7)
    assert np.allclose(configuration.stress, -ase.units.GPa * np.array(FRAME["Stress"]), rtol=1e-7)


def test_several_configurations_in_a_file(tmp_path: Path) -> None:
    frames = [{**FRAME, "Energy": energy} for energy in (1.0, 2.0, 3.0)]
    configurations = list(read_json(write(tmp_path / "a.json", *frames), ReadOptions(), []))
    assert [item.id for item in configurations] == [f"group/a.json#{k}" for k in range(3)]
    assert [item.energy for item in configurations] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "frame", [without("Energy", "Forces", "Stress"), {**FRAME, "Energy": None, "Forces": None, "Stress": None}]
)
def test_missing_labels_are_none(tmp_path: Path, frame: dict[str, Any]) -> None:
    configuration = read_one(write(tmp_path / "a.json", frame))
    assert configuration.energy is None
    assert configuration.forces is None
    assert configuration.stress is None


def test_no_lattice_is_not_periodic(tmp_path: Path) -> None:
    configuration = read_one(write(tmp_path / "a.json", without("Lattice")))
    assert configuration.pbc == (False, False, False)
    assert not configuration.cell.any()


def test_spins_and_charges(tmp_path: Path) -> None:
    spins = [[2.0, 0.0, 0.0, 1.0], [1.5, 0.0, 1.0, 0.0]]
    configuration = read_one(write(tmp_path / "a.json", {**FRAME, "Spins": spins, "Charges": [0.5, -0.5]}))
    assert np.array_equal(configuration.spins, spins)
    assert np.array_equal(configuration.charges, [0.5, -0.5])


def test_one_atom(tmp_path: Path) -> None:
    frame = {**FRAME, "AtomTypes": ["W"], "Positions": [[0, 0, 0]], "Forces": [[0, 0, 0]], "NumAtoms": 1}
    assert len(read_one(write(tmp_path / "a.json", frame))) == 1


@pytest.mark.parametrize(
    ("frame", "what"),
    [
        ({**FRAME, "Forces": [[0.0, 0.0, 0.0]]}, r"Forces has shape \(1, 3\), not \(2, 3\)"),
        ({**FRAME, "Forces": [[0.0, 0.0, 0.0], [0.0, 0.0]]}, "Forces is not an array of numbers"),
        (
            {**FRAME, "Forces": [[0.0, 0.0, float("nan")], [0.0, 0.0, 0.0]]},
            "Forces contains a number that is not finite",
        ),
        ({**FRAME, "Energy": float("nan")}, "Energy contains a number that is not finite"),
        ({**FRAME, "Energy": float("-inf")}, "Energy contains a number that is not finite"),
        ({**FRAME, "Energy": [1.0, 2.0]}, r"Energy has shape \(2,\)"),
        ({**FRAME, "Stress": [1.0, 2.0, 3.0]}, r"Stress has shape \(3,\)"),
        ({**FRAME, "Lattice": [[1.0, 0.0], [0.0, 1.0]]}, r"Lattice has shape \(2, 2\), not \(3, 3\)"),
        ({**FRAME, "Positions": [[0.0, 0.0, 0.0]]}, r"Positions has shape \(1, 3\), not \(2, 3\)"),
        ({**FRAME, "NumAtoms": 3}, "NumAtoms is 3, but there are 2 AtomTypes"),
        ({**FRAME, "AtomTypes": []}, "NumAtoms is 2, but there are 0"),
        ({**without("NumAtoms"), "AtomTypes": []}, "the configuration has no atoms"),
        ({**FRAME, "AtomTypes": [73, 74]}, "AtomTypes must be chemical symbols"),
        (without("AtomTypes", "Positions"), "no list AtomTypes and no list Positions"),
        ({**FRAME, "Charges": [1.0]}, r"Charges has shape \(1,\), not \(2,\)"),
        ({**FRAME, "Spins": [1.0, 1.0]}, r"Spins has shape \(2,\), not \(2, 4\)"),
    ],
)
def test_what_does_not_fit_is_named_with_its_file(tmp_path: Path, frame: dict[str, Any], what: str) -> None:
    source = write(tmp_path / "bad.json", frame)
    with pytest.raises(DataError, match=rf"bad\.json.*{what}"):
        read_one(source)


def test_the_configuration_is_named_too_where_there_are_several(tmp_path: Path) -> None:
    source = write(tmp_path / "bad.json", FRAME, {**FRAME, "Energy": float("nan")})
    with pytest.raises(DataError, match=r"bad\.json, configuration 1: Energy"):
        list(read_json(source, ReadOptions(), []))


def test_an_unknown_style_is_named_with_its_field(tmp_path: Path) -> None:
    source = write(tmp_path / "bad.json", FRAME, StressStyle="kBx")
    with pytest.raises(DataError, match=r"bad\.json: Stress: unknown pressure unit 'kBx'.*property_array"):
        read_one(source)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no line starts with"),
        ("# comment only\n", "no line starts with"),
        ('# comment\n{"Dataset":\n {"Data": [}}', ":3: the file is not valid JSON"),
        ('{"Data": []}', "no object 'Dataset'"),
        ('{"Dataset": {"Data": []}}', "at least one configuration"),
        ('{"Dataset": {"Data": {}}}', "at least one configuration"),
        ('{"Dataset": {"Data": [1]}}', "at least one configuration"),
    ],
)
def test_files_of_another_form(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"bad\.json.*{what}"):
        list(read_json(DataFile(str(path), "group", "group/bad.json"), ReadOptions(), []))


@pytest.fixture(
    params=[pytest.param("example", marks=pytest.mark.sample), pytest.param("FitSNAP", marks=pytest.mark.shared)]
)
def volumes(request: pytest.FixtureRequest) -> Path:
    """Groups of tantalum at many volumes: those of the example, and FitSNAP's, from -3 to +28 eV/atom."""
    if request.param == "example":
        return EXAMPLE / "JSON"
    return request.getfixturevalue("fitsnap_tantalum")


@pytest.mark.parametrize("group", ["Volume_A15", "Volume_BCC", "Volume_FCC"])
def test_the_sign_of_the_stress_is_that_of_the_energy_over_volume(volumes: Path, group: str) -> None:
    """dE = (tr stress / 3) dV from one volume to the next (trapezoids)."""
    files = [DataFile(str(path), group, path.name) for path in (volumes / group).glob("*.json")]
    configurations = sorted(
        (configuration for file in files for configuration in read_json(file, ReadOptions(), [])),
        key=lambda configuration: configuration.volume,
    )
    assert len(configurations) > 20
    volume = np.array([item.volume for item in configurations])
    energy = np.array([item.energy for item in configurations])
    slope = np.array([np.trace(item.stress) / 3.0 for item in configurations])
    work = np.diff(volume) * (slope[1:] + slope[:-1]) / 2.0
    assert np.allclose(work, np.diff(energy), rtol=0.025, atol=0.015)


SIX = [1.0, 2.0, 3.0, 0.4, 0.6, 0.5]  # xx yy zz xy yz zx


def test_six_stress_components_need_an_order(tmp_path: Path) -> None:
    source = write(tmp_path / "a.json", {**FRAME, "Stress": SIX})
    with pytest.raises(DataError, match=r"a\.json: Stress has six components.*stress_order"):
        list(read_json(source, ReadOptions(), []))
    options = ReadOptions(stress_order=("xx", "yy", "zz", "xy", "yz", "zx"))
    (configuration,) = read_json(source, options, [])
    assert np.allclose(configuration.stress, -ase.units.bar * np.array(FRAME["Stress"]), rtol=1e-7)


def test_the_sign_of_the_stress_can_be_stated(tmp_path: Path) -> None:
    findings: list[Finding] = []
    (configuration,) = read_json(write(tmp_path / "a.json", FRAME), ReadOptions(stress_sign="tension"), findings)
    assert np.allclose(configuration.stress, ase.units.bar * np.array(FRAME["Stress"]), rtol=1e-7)
    assert "positive in tension" in findings[0].what


def test_weights_names_and_isotopes(tmp_path: Path) -> None:
    frame = {**without("Energy", "Stress"), "E0": -4.0, "AtomTypes": ["D", "W"], "config_weight": 2, "forces_weight": 3}
    findings: list[Finding] = []
    (configuration,) = read_json(write(tmp_path / "a.json", frame), ReadOptions(names={"energy": "E0"}), findings)
    assert configuration.species == ("H", "W")
    assert configuration.energy == -4.0
    assert (configuration.weight("energy"), configuration.weight("forces")) == (2.0, 6.0)
    text = " ".join(one.what for one in findings)
    assert all(words in text for words in ("D as H", "energy = E0", "config_weight, forces_weight"))
    with pytest.raises(DataError, match=r"a\.json: forces_weight is -1"):
        read_one(write(tmp_path / "a.json", {**FRAME, "forces_weight": -1}))

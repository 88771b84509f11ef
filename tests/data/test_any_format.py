"""Detection of the format of data files, and the groups and ids of what is read without a group table."""

from __future__ import annotations

from pathlib import Path

import ase.io
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from fitsnap_nn.data.any_format import detect_format, read_any, unique
from fitsnap_nn.data.readers import ReadOptions
from fitsnap_nn.errors import DataError

JSON = (
    '# comment\n{"Dataset": {"Data": [{"AtomTypes": ["Ta"], "Positions": [[0, 0, 0]], "NumAtoms": 1, "Energy": -1,'
    ' "Lattice": [[9, 0, 0], [0, 9, 0], [0, 0, 9]]}]}}'
)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.json", JSON, "JSON"),
        ("b", JSON, "JSON"),
        ("c.xyz", "1\nenergy=1\nTa 0 0 0\n", "XYZ"),
        ("d.extxyz", "1\nenergy=1\nTa 0 0 0\n", "XYZ"),
        ("OUTCAR", " vasp.5.4.4\n", "VASP"),
        ("OUTCAR_02", " vasp.5.4.4\n", "VASP"),
        ("vasprun.xml", "<modeling>\n", "VASP"),
        ("POSCAR", "x\n1\n", "ASE"),
    ],
)
def test_formats_are_detected(tmp_path: Path, name: str, content: str, expected: str):
    (tmp_path / name).write_text(content)
    assert detect_format(str(tmp_path / name)) == expected


@pytest.mark.parametrize("name", ["a.traj", "b.db", "c.json", "d.cif"])
def test_formats_of_ase_are_read(tmp_path: Path, name: str):
    atoms = bulk("Ta", cubic=True)
    atoms.calc = SinglePointCalculator(atoms, energy=-22.0)
    path = str(tmp_path / name)
    ase.io.write(path, atoms)
    assert detect_format(path) == "ASE"
    (found,) = read_any(path, ReadOptions(), [])
    assert found.energy == (None if name == "d.cif" else -22.0)
    assert (found.group, found.id) == (str(tmp_path), path)


def test_config_type_is_the_group_and_the_file_is_in_the_id(tmp_path: Path):
    path = str(tmp_path / "a.xyz")
    Path(path).write_text("1\nconfig_type=melt\nTa 0 0 0\n1\n\nTa 0 0 0\n")
    assert [(one.group, one.id) for one in read_any(path, ReadOptions(), [])] == [
        ("melt", f"{path}#0"),
        (path, f"{path}#1"),
    ]


def test_a_file_given_twice_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("a.xyz").touch()
    assert unique(["a.xyz", "b.xyz", "./a.xyz", str(tmp_path / "b.xyz")]) == ["a.xyz", "b.xyz"]


def test_what_is_no_data_is_named(tmp_path: Path):
    (tmp_path / "empty").touch()
    with pytest.raises(DataError, match="format of the file is not recognised"):
        detect_format(str(tmp_path / "empty"))

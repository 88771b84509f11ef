"""Groups without a row are named; the checks of an input and the readers agree on which groups exist."""

from __future__ import annotations

from pathlib import Path

import ase.io
import pytest
from ase import Atoms

from fitsnap_nn.cli import main
from fitsnap_nn.data.files import list_files, read_files, unlisted_groups
from fitsnap_nn.data.findings import Finding
from fitsnap_nn.data.groups import assemble
from fitsnap_nn.errors import DataError
from fitsnap_nn.settings.files import group_exists, nearest_group
from fitsnap_nn.settings.formats import LAYOUTS
from fitsnap_nn.settings.problems import did_you_mean
from fitsnap_nn.settings.schema import Bispectrum, GroupRow, Groups, PathSection, Scraper, Settings


def settings_of(data: Path, kind: str, *names: str) -> Settings:
    rows = tuple(GroupRow(name, 1.0, 0, 1.0, 1.0, 1.0, "Ta.in:1") for name in names)
    return Settings(
        bispectrum=Bispectrum(type=("Ta",)),
        scraper=Scraper(scraper=kind),
        path=PathSection(data_path=str(data)),
        groups=Groups(rows=rows),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folders, files and nested groups of several formats, with files that are no data."""
    for name in (
        "A/1.json", "B/1.json", "C/x/1.json", "D/README.md", "E.json", "notes.txt", ".hidden/1.json",
        "Gas.extxyz", "Ice.traj", "MD/1/OUTCAR", "MD/2/vasprun.xml.gz", "OUTCAR_x", "scan.xml",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize("kind", sorted(LAYOUTS))
@pytest.mark.parametrize(
    "row", ["A", "A*", "?", "C/x", "E", "Gas", "Ice", "Ice.traj", "MD", "OUTCAR_x", "scan", "scan.xml", "none", "*"]
)
def test_the_checks_and_the_readers_find_the_same_groups(folder: Path, kind: str, row: str) -> None:
    """The search for files finds all groups that the checks accept, except folders without files of the format."""
    settings = settings_of(folder, kind, row)
    if group_exists(str(folder), row, kind):
        try:
            assert list_files(settings)
        except DataError as error:
            assert "no data files of this format" in str(error) or "is both" in str(error)  # noqa: PT017
    else:
        with pytest.raises(DataError, match="there are no data for this row"):
            list_files(settings)


def test_groups_without_a_row_are_noted(folder: Path) -> None:
    (note,) = unlisted_groups(settings_of(folder, "JSON", "A", "C/x"))
    assert not note.warning
    assert note.what == f"the groups B, E in {folder} have no row in [GROUPS] and are left out. To use them, add rows."
    assert unlisted_groups(settings_of(folder, "JSON", "*", "C/x")) == []
    (note,) = unlisted_groups(settings_of(folder, "XYZ", "none"))
    assert "the groups Gas in" in note.what
    assert unlisted_groups(settings_of(folder, "VASP", "MD")) == []


def test_frames_of_groups_without_a_row_are_counted(tmp_path: Path) -> None:
    frames = [
        Atoms("Ta2", [[0, 0, 0], [3 + k, 0, 0]], info={"config_type": name, "energy": -1.0 - k})
        for k, name in enumerate("abcabcdee")
    ]
    ase.io.write(tmp_path / "all.xyz", frames, format="extxyz")
    settings = settings_of(tmp_path / "all.xyz", "XYZ", "a")
    findings: list[Finding] = []
    dataset = assemble(settings, read_files(settings, list_files(settings), findings), 1, findings)
    assert len(dataset.configurations) == 2
    assert dataset.warnings == []
    assert dataset.notes == [
        "7 configurations of the groups b (2), c (2), d (1) and 1 more have no row in [GROUPS] and are left out. "
        "To use them, add rows."
    ]


def test_a_name_is_not_suggested_for_itself(folder: Path) -> None:
    assert did_you_mean("Bulk", ["Bulk", "bulk"]) == "Did you mean bulk?"
    assert did_you_mean("Bulk", ["Bulk"]) == ""
    with pytest.raises(DataError, match=r"\[GROUPS\] D: there are no data for this row. It exists, but has no data"):
        list_files(settings_of(folder, "JSON", "D"))
    assert nearest_group(str(folder), "Ices.traj", "ASE") == "Did you mean Ice.traj?"


def test_strict_turns_warnings_into_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The report is printed before the error, which lists all warnings and sets the exit code of data errors."""
    frame = Atoms("Ta2", [[0, 0, 0], [0.3, 0, 0]], info={"REF_energy": -1.0, "config_type": "a"})
    ase.io.write(tmp_path / "all.xyz", [frame, frame], format="extxyz")
    lines = ["[BISPECTRUM]", "numTypes = 1", "type = Ta", "[SCRAPER]", "scraper = XYZ", "[PATH]", "dataPath = all.xyz"]
    lines += ["[CALCULATOR]", "force = 0", "stress = 0", "[GROUPS]", "group_sections = name training_size", "a = 1.0"]
    path = tmp_path / "Ta.in"
    path.write_text("\n".join(lines))
    assert main(["check", str(path)]) == 0
    assert "  warning: a/all.xyz#0 (Ta-Ta 0.30 Å), a/all.xyz#1 (Ta-Ta 0.30 Å): atoms too" in capsys.readouterr().out
    assert main([str(path), "--check", "--strict"]) == 3
    printed = capsys.readouterr()
    assert "max force" in printed.out
    assert "error: 2 warnings about the data, which --strict treats as errors:\n  a/all.xyz#0 (Ta-Ta" in printed.err
    assert "the same structure and energy twice" in printed.err


def test_strict_stops_a_fit_before_it_computes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test_strict_turns_warnings_into_an_error(tmp_path, capsys)
    assert main([str(tmp_path / "Ta.in"), "--strict", "--set", f"OUTFILE.folder={tmp_path / 'out'}"]) == 3
    printed = capsys.readouterr()
    assert "error: 2 warnings about the data" in printed.err
    assert "computed" not in printed.out

"""Reports of tests and of combined models: what they show, how they compare, and which files they never replace."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write
from places import EXAMPLE
from processes import run_on_ranks
from small_fit import fit, write_small_input

from fitsnap_nn.cli import main
from fitsnap_nn.folders import own_files
from fitsnap_nn.reports.fit_record import load_record
from fitsnap_nn.workflow.combine import combine_models
from fitsnap_nn.workflow.model_report import NAMES

DATA = [str(path) for name in ("Displaced_BCC", "Volume_BCC") for path in sorted((EXAMPLE / "JSON" / name).glob("*"))]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Model files of two fits that differ in their layers."""
    found = []
    for nodes in ("8 8", "4"):
        path = write_small_input(tmp_path_factory.mktemp("fit"), ("num_desc 8 8 1", f"num_desc {nodes} 1"))
        found.append(fit(path, "out", num_epochs=2).model_file)
    return found


@pytest.fixture(scope="module")
def folders(models: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Reports of tests of both models on the same files."""
    found = [tmp_path_factory.mktemp("reports") / name for name in ("large", "small")]
    for model, folder in zip(models, found, strict=True):
        assert main(["test", str(model), *DATA, "--report", str(folder), "--quiet"]) == 0
    return found


@pytest.mark.usefixtures("matplotlib")
def test_the_report_of_a_test(folders: list[Path], models: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    page = (folders[0] / "report.html").read_text(encoding="utf-8")
    assert "out on Displaced_BCC.json, Volume_BCC.json: report</title>" in page
    assert " · test of 20" in page
    assert f"{models[0]}" in page
    for title in ("Verdict", "Errors", "Pictures", "Configurations with the largest errors", "Run"):
        assert f">{title}</h2>" in page
    for title in ("Data", "Input", "Citations"):
        assert f">{title}</h2>" not in page
    assert "not verified" not in page
    assert {"report.html", "fit.json", "predictions.npz", "parity.png"} <= own_files(folders[0], ())
    record = load_record(folders[0])
    assert (record.kind, record.architecture) == ("test", "BPNN")
    assert len(record.errors) > 6
    assert main(["report", str(folders[0])]) == 0
    assert "report.html" in capsys.readouterr().out
    assert (folders[0] / "report.html").read_text(encoding="utf-8") == page


def test_tests_are_compared(folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "compare.html"
    assert main(["compare", *map(str, folders), "-o", str(output)]) == 0
    text = capsys.readouterr().out
    assert "RMSE Force (meV/Å)" in text
    assert "note:" not in text  # the same data
    (line,) = [line for line in text.splitlines() if line.startswith("LAMMPS")]
    assert line.split() == ["LAMMPS", "–", "–"]
    assert output.exists()


def test_files_without_labels(models: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "bare.xyz", bulk("Ta", cubic=True), format="extxyz")
    folder = tmp_path / "bare"
    assert main(["test", str(models[0]), str(tmp_path / "bare.xyz"), "--report", str(folder), "--quiet"]) == 0
    capsys.readouterr()
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "The data contain no labels: there are no errors." in page
    assert "no sign of a problem" not in page
    assert main(["compare", str(folder), str(models[0].parent), "-o", str(tmp_path / "compare.html")]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("verdict")]
    assert line.split()[1] == "–"


@pytest.mark.mpi
def test_two_ranks_write_the_same(models: list[Path], folders: list[Path], tmp_path: Path) -> None:
    run_on_ranks(2, [["test", str(models[0]), *DATA, "--report", "report"]], tmp_path)
    one, other = load_record(folders[0]), load_record(tmp_path / "report")
    assert one.data["hash"] == other.data["hash"]
    for row, same in zip(one.errors, other.errors, strict=True):
        assert (row.group, row.subset, row.property) == (same.group, same.subset, same.property)
        assert same.rmse == pytest.approx(row.rmse, rel=1e-9, abs=1e-12)


def test_nothing_is_lost(models: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["test", str(models[0]), DATA[0], "--report"]
    fitted = models[0].parent
    before = (fitted / "fit.json").read_bytes()
    for more in ([], ["--overwrite"]):
        assert main([*command, str(fitted), *more]) == 2
        assert "contains the report of a fit (fit.json), which is not replaced" in capsys.readouterr().err
    assert (fitted / "fit.json").read_bytes() == before
    (tmp_path / "parity.png").write_text("mine")
    assert main([*command, str(tmp_path), "--overwrite"]) == 2
    assert "has not written and would replace: parity.png" in capsys.readouterr().err
    (tmp_path / "parity.png").unlink()
    (tmp_path / "CITE.bib").write_text("mine")
    assert main([*command, str(tmp_path)]) == 0
    assert main([*command, str(tmp_path)]) == 2
    assert "contains a report already (fit.json). --overwrite replaces it" in " ".join(capsys.readouterr().err.split())
    assert main([*command, str(tmp_path), "--overwrite"]) == 0
    assert (tmp_path / "CITE.bib").read_text() == "mine"
    assert main(["test", str(fitted.parent / "small.in"), "--report", str(tmp_path / "new")]) == 2
    assert "--report is for data files" in capsys.readouterr().err


@pytest.mark.lammps
def test_the_report_of_combined_models(models: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "mean"
    combine_models(models, folder, data=DATA, name="Ta_mean", equal=True, quiet=True)
    record = load_record(folder)
    assert (record.kind, record.name, record.model) == ("combination", "Ta_mean", "mean of 2 models")
    assert record.verification["passed"] is True
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "verified in LAMMPS" in page
    assert ">Uncertainty</h2>" in page
    assert main(["compare", str(folder), str(models[0].parent), "-o", str(tmp_path / "compare.html")]) == 0
    assert "mean of 2 models" in capsys.readouterr().out
    combine_models(models, folder, name="Ta_mean", overwrite=True, quiet=True)  # without data: no report
    assert not any((folder / name).exists() for name in NAMES)
    assert main(["combine", *map(str, models), "-o", str(models[0].parent), "--name", "new"]) == 2
    assert "contains the report of a fit" in capsys.readouterr().err

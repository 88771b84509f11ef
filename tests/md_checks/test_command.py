"""The command ``checks`` and the key ``md_checks``: data, files, exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from places import EXAMPLE
from small_fit import fit, log_of, write_small_input

from fitsnap_nn.cli import main
from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.errors import LammpsError
from fitsnap_nn.lammps.files import LammpsFiles
from fitsnap_nn.md_checks.check import Check, Verdict
from fitsnap_nn.md_checks.suite import Checks

GOOD, BAD = Check("a", "Good", Verdict.PASS, "Fine."), Check("b", "Bad", Verdict.FAIL, "Broken.")


class StandIn:
    """Takes the place of the checks, and records what they are given."""

    def __init__(self) -> None:
        self.configurations: list[Configuration] = []
        self.result = (GOOD,)
        self.cut_off: tuple[str, ...] = ()
        self.limit = 0.0
        self.calls = 0

    def __call__(self, files: LammpsFiles, configurations: Sequence[Configuration], **options: Any) -> Checks:
        assert all(path.is_file() for path in files.potential)
        self.configurations, self.limit = list(configurations), options.get("limit", 0.0)
        self.calls += 1
        return Checks(options["name"], self.result, "2026-01-01", self.cut_off)


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    run = StandIn()
    with patch("fitsnap_nn.workflow.md_checks.run_checks", run), patch("fitsnap_nn.workflow.delivery.run_checks", run):
        yield run


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a fit without checks."""
    path = write_small_input(tmp_path_factory.mktemp("fit"))
    return fit(path, "fitted", num_epochs=1).folder


def test_folder_and_model_use_the_data_of_the_fit(fitted: Path, stand_in: StandIn) -> None:
    assert main(["checks", str(fitted), "--time", "50"]) == 0
    assert len(stand_in.configurations) == 15
    assert stand_in.limit == 50
    content = json.loads((fitted / "md_checks.json").read_text(encoding="utf-8"))
    assert content["checks"] == [{**GOOD.plain()}]
    assert main(["checks", str(fitted / "fit_model.pt")]) == 5  # no such model
    model = next(fitted.glob("*Pytorch.pt"), None) or next(fitted.glob("*.pt"))
    assert main(["checks", str(model)]) == 2  # md_checks.json exists
    assert main(["checks", str(model), "--overwrite"]) == 0
    assert len(stand_in.configurations) == 15
    (fitted / "md_checks.json").unlink()


def test_a_failed_check_has_its_own_exit_code(
    fitted: Path, stand_in: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in.result = (GOOD, BAD)
    assert main(["checks", str(fitted), "--overwrite"]) == 10
    assert "1 check failed: Bad." in capsys.readouterr().err
    assert json.loads((fitted / "md_checks.json").read_text(encoding="utf-8"))["checks"][1]["verdict"] == "fail"


def test_checks_without_time_are_no_success(
    fitted: Path, stand_in: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in.cut_off = ("Good",)
    assert main(["checks", str(fitted), "--overwrite"]) == 10
    assert "no time for 1 check: Good. Increase --time." in capsys.readouterr().err


def test_data_files_take_the_place_of_the_data(fitted: Path, stand_in: StandIn) -> None:
    data = EXAMPLE / "JSON" / "Volume_FCC" / "Volume_FCC.json"
    assert main(["checks", str(fitted), str(data), "--overwrite"]) == 0
    assert len(stand_in.configurations) == 25


def test_a_model_without_its_data_has_its_structure(
    fitted: Path, stand_in: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = next(path for path in fitted.glob("*.pt") if path.name != "restart.pt")
    (tmp_path / "moved.pt").write_bytes(source.read_bytes())
    assert main(["checks", str(tmp_path / "moved.pt")]) == 0
    assert len(stand_in.configurations) == 1
    assert "the data of the fit were not found" in capsys.readouterr().out


def test_files_of_others_are_kept(fitted: Path, stand_in: StandIn, tmp_path: Path) -> None:
    source = next(path for path in fitted.glob("*.pt") if path.name != "restart.pt")
    (tmp_path / "moved.pt").write_bytes(source.read_bytes())
    (tmp_path / "md_checks.json").write_text("mine")
    assert main(["checks", str(tmp_path / "moved.pt"), "--overwrite"]) == 2
    assert (tmp_path / "md_checks.json").read_text() == "mine"
    assert stand_in.calls == 0


def test_wrong_targets_are_refused(tmp_path: Path) -> None:
    assert main(["checks", str(tmp_path)]) == 5
    assert main(["checks", "x.pt", "--time", "1"]) == 2


def test_a_fit_prints_the_verdicts_and_does_not_fail(tmp_path: Path, stand_in: StandIn) -> None:
    stand_in.result = (GOOD, BAD)
    path = write_small_input(tmp_path, ("[GROUPS]", "[EXTRAS]\nmd_checks = 1\n\n[GROUPS]"))
    result = fit(path, "fitted", num_epochs=1)
    assert "MD checks: 1 pass, 1 fail, 0 not run" in log_of(result)
    assert "md_checks.json" in log_of(result)
    assert (result.folder / "md_checks.json").is_file()
    # A later fit in the folder is another model: the verdicts do not stay.
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("md_checks = 1", "md_checks = 0"), encoding="utf-8")
    fit(path, "fitted", resume=True, num_epochs=2)
    assert not (result.folder / "md_checks.json").exists()


def test_a_fit_survives_a_lammps_that_cannot_run_the_checks(tmp_path: Path) -> None:
    path = write_small_input(tmp_path, ("[GROUPS]", "[EXTRAS]\nmd_checks = 1\n\n[GROUPS]"))
    with patch("fitsnap_nn.workflow.delivery.run_checks", side_effect=LammpsError("no LAMMPS")):
        assert "MD checks: not run: no LAMMPS" in log_of(fit(path, "fitted", num_epochs=1))

"""The end of a fit: its description and report are written whatever happens then."""

from __future__ import annotations

import errno
import io
import json
from collections.abc import Callable
from pathlib import Path
from unittest.mock import create_autospec, patch

import numpy as np
import pytest

from fitsnap_nn.errors import VerificationError
from fitsnap_nn.lammps.files import LammpsFiles
from fitsnap_nn.lammps.verify import Difference, Verification
from fitsnap_nn.models import Model
from fitsnap_nn.reports.fit_record import FitRecord, load_record
from fitsnap_nn.reports.predicted import Predicted
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.settings.schema import Extras, Outfile, Settings
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.usage import StepTimes, Stopwatch
from fitsnap_nn.workflow import delivery
from fitsnap_nn.workflow.conclusion import verify_and_report
from fitsnap_nn.workflow.preparation import Prepared
from fitsnap_nn.workflow.run import Outcome, Run
from fitsnap_nn.workflow.summary import OF_A_FIT, remove_earlier

NOTHING = Predicted([], [], [], np.zeros(0, dtype=np.int64), {})
RECORD = FitRecord("Ta", "BPNN", "BPNN 55 8 1", 457, ("Ta",), 5.3, "2026-11-27T20:58:01+00:00", NOTHING)


def finish(
    folder: Path,
    verify: Callable[..., Verification] | None = None,
    settings: Settings | None = None,
    screen: io.StringIO | None = None,
) -> tuple[Verification | None, set[str], str]:
    """Return the verification, the names of the files that are written, and what is printed."""
    screen = screen or io.StringIO()
    prepared, model, files = (create_autospec(kind, instance=True) for kind in (Prepared, Model, LammpsFiles))
    start = Stopwatch.now(), StepTimes()
    run = Run(settings or Settings(), prepared, Ranks(), Console(screen), folder, [], *start)
    outcome = Outcome(model, {}, lambda *_: [])
    with patch.object(delivery, "verify", verify):
        found, written = verify_and_report(run, outcome, files, RECORD, verify is not None)
    return found, set(written), screen.getvalue()


def test_a_verified_fit(tmp_path):
    done = Verification("22 Jul 2025", ("nn",), (1, 2), 5, Difference(1e-12, 1e-13, None))
    verification, files, _ = finish(tmp_path, lambda *_: done)
    assert verification is done
    assert files >= {"fit.json", "predictions.npz", "CITE.bib", "report.html"}
    assert load_record(tmp_path).verification == {"passed": True, "text": str(done)}
    assert "verification in LAMMPS" in load_record(tmp_path).seconds


def test_a_fit_whose_files_are_wrong_has_a_report_that_says_so(tmp_path):
    def fail(*_: object) -> Verification:
        raise VerificationError("forces differ by 3 eV/Å")

    with pytest.raises(VerificationError, match="forces differ"):
        finish(tmp_path, fail, Settings(extras=Extras(md_checks=True)), screen := io.StringIO())
    assert "MD checks: not run, because the verification in LAMMPS failed" in screen.getvalue()
    assert load_record(tmp_path).verification == {"passed": False, "text": "forces differ by 3 eV/Å"}
    assert "FAILED" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_not_verified_is_not_verified(tmp_path):
    finish(tmp_path, lambda *_: Verification("", reason="LAMMPS is missing"))
    assert load_record(tmp_path).verification["passed"] is None
    finish(tmp_path)
    assert "--no-verify" in load_record(tmp_path).verification["text"]


def test_the_report_can_be_switched_off(tmp_path):
    _, files, _ = finish(tmp_path, settings=Settings(outfile=Outfile(report=False)))
    assert "report.html" not in files
    assert not (tmp_path / "report.html").exists()
    assert (tmp_path / "fit.json").exists()


def test_a_page_that_cannot_be_written_does_not_lose_the_fit(tmp_path):
    with patch("fitsnap_nn.workflow.summary.write_report", side_effect=ZeroDivisionError("no paper")):
        _, files, printed = finish(tmp_path)
    assert "no report.html: it could not be written (ZeroDivisionError: no paper)" in printed
    assert "fit.json" in files
    full = OSError(errno.ENOSPC, "No space left on device")
    with patch("fitsnap_nn.workflow.summary.write_report", side_effect=full), pytest.raises(OSError, match="No space"):
        finish(tmp_path)


def test_what_describes_an_earlier_fit_is_removed(tmp_path):
    for name in (*OF_A_FIT, "restart.pt"):
        (tmp_path / name).write_text("old", encoding="utf-8")
    remove_earlier(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["restart.pt"]


def test_times_of_the_steps_add_up():
    times = iter([0.0, 2.0, 5.0])
    steps = StepTimes(clock=lambda: next(times))
    steps.lap("one")
    steps.lap("two")
    assert steps.seconds == {"one": 2.0, "two": 3.0, "total": 5.0}


def test_the_description_is_json_without_nan(tmp_path):
    finish(tmp_path)
    json.loads((tmp_path / "fit.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)

"""The end of a fit: its description and report are written whatever happens then."""

from __future__ import annotations

import errno
import io
import json
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from fitsnap_nn.errors import VerificationError
from fitsnap_nn.lammps.verify import Difference, Verification
from fitsnap_nn.reports.fit_record import FitRecord, load_record
from fitsnap_nn.reports.predicted import Predicted
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.settings.schema import Outfile, Settings
from fitsnap_nn.workflow.summary import OF_A_FIT, Stopwatch, conclude, remove_earlier

NOTHING = Predicted([], [], [], np.zeros(0, dtype=np.int64), {})
RECORD = FitRecord("Ta", "BPNN", "BPNN 55 8 1", 457, ("Ta",), 5.3, "2026-11-27T20:58:01+00:00", NOTHING)


def finish(folder: Path, verify=None, settings: Settings | None = None) -> tuple[Verification | None, set[str], str]:
    """Return the verification, the names of the files that are written, and what is printed."""
    screen = io.StringIO()
    watch, used = Stopwatch(), settings or Settings()
    found, files = conclude(folder, used, RECORD, verify, None, watch, Console(screen), nullcontext([]))
    return found, set(files), screen.getvalue()


def test_a_verified_fit(tmp_path):
    done = Verification("22 Jul 2025", ("nn",), (1, 2), 5, Difference(1e-12, 1e-13, None))
    verification, files, _ = finish(tmp_path, lambda: done)
    assert verification is done
    assert files >= {"fit.json", "predictions.npz", "CITE.bib", "report.html"}
    assert load_record(tmp_path).verification == {"passed": True, "text": str(done)}
    assert "verification in LAMMPS" in load_record(tmp_path).seconds


def test_a_fit_whose_files_are_wrong_has_a_report_that_says_so(tmp_path):
    def fail() -> Verification:
        raise VerificationError("forces differ by 3 eV/Å")

    with pytest.raises(VerificationError, match="forces differ"):
        finish(tmp_path, fail)
    assert load_record(tmp_path).verification == {"passed": False, "text": "forces differ by 3 eV/Å"}
    assert "FAILED" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_not_verified_is_not_verified(tmp_path):
    finish(tmp_path, lambda: Verification("", reason="LAMMPS is missing"))
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
    watch = Stopwatch(lambda: next(times))
    watch.lap("one")
    watch.lap("two")
    assert watch.seconds == {"one": 2.0, "two": 3.0, "total": 5.0}


def test_the_description_is_json_without_nan(tmp_path):
    finish(tmp_path)
    json.loads((tmp_path / "fit.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)

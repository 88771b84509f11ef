"""Reports of finished fits, and their comparison, from the files of their output folders."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fitsnap_nn.errors import InputError, Problem
from fitsnap_nn.files import one_line_errors, unwritable, write_text
from fitsnap_nn.folders import claim, locked, refuse_foreign_files
from fitsnap_nn.reports.compare import comparison_page, comparison_text, load_fits
from fitsnap_nn.reports.fit_record import load_record
from fitsnap_nn.reports.html import GENERATOR
from fitsnap_nn.reports.plots import DESCRIPTIONS
from fitsnap_nn.reports.report import REPORT_FILE
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.settings.ini import COMMAND_LINE
from fitsnap_nn.workflow.summary import write_pages


def report_again(folder: str | os.PathLike[str]) -> Path:
    """Write pictures and ``report.html`` of a finished fit again; return the path of the page.

    Args:
        folder: output folder of the fit.

    Raises:
        InputError: it is not the output folder of a finished fit, or another run writes to it.
        CheckpointError: a file is damaged.
        OutputError: a file cannot be written.
    """
    path = Path(folder)
    record = load_record(path)
    names = [REPORT_FILE, *DESCRIPTIONS]
    with one_line_errors(), locked(path):
        refuse_foreign_files(path, names)
        claim(path, names)
        written = write_pages(path, record, Console(sys.stdout))
    if REPORT_FILE not in written:
        raise InputError([Problem(str(path), f"{REPORT_FILE} could not be written, see above.")])
    return path / REPORT_FILE


def compare_fits(folders: Sequence[str], output: str) -> str:
    """Write a page that compares fits; return the comparison as text.

    Args:
        folders: output folders of finished fits.
        output: the page; an existing file is replaced if it is a page of this program.

    Raises:
        InputError: a folder is not that of a finished fit, or ``output`` is a file of somebody else.
        CheckpointError: a file is damaged.
        OutputError: the page cannot be written.
    """
    path = Path(output)
    if problem := _unwritable(path):
        raise InputError([Problem(COMMAND_LINE, f"-o {output} {problem}.", "Choose another name.")])
    fits = load_fits([Path(folder) for folder in folders])
    with one_line_errors():
        write_text(path, comparison_page(fits))
    return f"{comparison_text(fits)}\nwritten: {path}"


def _unwritable(path: Path) -> str:
    """Return why a page cannot be written to a path; empty if it can."""
    if problem := unwritable(path):
        return problem
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            start = file.read(1000)
        if GENERATOR.split()[0] not in start or "<html" not in start:
            return "exists, and is not a page of fitsnap_nn"
    return ""

"""Report of a test or a combination of models: record, pictures and page, like those of a fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fitsnap_nn.data.properties import Property
from fitsnap_nn.errors import InputError, Problem, counted
from fitsnap_nn.export.model_file import ModelFile
from fitsnap_nn.folders import claim, locked, own_files, refuse_foreign_files
from fitsnap_nn.models.committee import MIXED
from fitsnap_nn.reports.errors_table import ErrorRow
from fitsnap_nn.reports.fit_record import FIT, FIT_FILE, FitRecord, save_record
from fitsnap_nn.reports.json_files import read_json
from fitsnap_nn.reports.plots import DESCRIPTIONS
from fitsnap_nn.reports.plots.sheet import shorten
from fitsnap_nn.reports.predicted import PREDICTIONS_FILE
from fitsnap_nn.reports.report import REPORT_FILE
from fitsnap_nn.reports.results import Result
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.reports.uncertainty import Calibrated, write_uncertainty
from fitsnap_nn.settings.outputs import UNCERTAINTY_FILE
from fitsnap_nn.workflow.preparation import digest_of
from fitsnap_nn.workflow.summary import described, versions, write_pages

LONGEST = 60  # characters of the names of data files in a title
NAMES = (REPORT_FILE, FIT_FILE, PREDICTIONS_FILE, UNCERTAINTY_FILE, *DESCRIPTIONS)


def describe_test(
    content: ModelFile,
    results: Sequence[Result],
    properties: Sequence[Property],
    errors: Sequence[ErrorRow],
    *,
    name: str,
    kind: str,
    verdict: Sequence[str] = (),
    data: str = "",
    verification: Mapping[str, Any] | None = None,
) -> FitRecord:
    """Return the description of a test of a model.

    Args:
        content: the model.
        results: predictions and labels.
        properties: what was predicted.
        errors: error table.
        name: name of the test.
        kind: ``test`` or ``combination``.
        verdict: lines of the verdict.
        data: names of the data files, separated by blanks.
        verification: ``passed`` and ``text``, if there was one; see `FitRecord`.
    """
    description, configurations = content.model.description(), [one.configuration for one in results]
    architecture = str(description["architecture"])
    layout = content.model.layout
    summary = f"{counted(len(configurations), 'configuration')}, {counted(sum(map(len, configurations)), 'atom')}"
    facts = {"model file": str(content.path), "data": f"{summary}; {data}" if data else summary}
    return FitRecord(
        name=name,
        architecture=architecture,
        model=layout if architecture == MIXED else f"{architecture} {layout}".strip(),
        num_weights=sum(one.numel() for one in content.model.parameters()),
        elements=tuple(content.model.elements),
        cutoff=content.model.input.cutoff,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        errors=tuple(errors),
        verdict=tuple(verdict),
        data={"summary": summary, "hash": digest_of(configurations, properties)},
        versions=versions(architecture),
        run=facts,
        verification=verification or {},
        kind=kind,
        **described(results, properties),
    )


def refuse_report(folder: str | Path, *, overwrite: bool) -> None:
    """Refuse to replace files of others, the report of a fit, or unasked an earlier one, before anything is computed.

    Raises:
        InputError: there are such files.
    """
    path = Path(folder)
    refuse_foreign_files(path, NAMES)
    if not (path / FIT_FILE).exists():
        return
    if read_json(path / FIT_FILE).get("kind", FIT) == FIT:
        what = f"contains the report of a fit ({FIT_FILE}), which is not replaced."
        raise InputError([Problem(str(path), what, "Choose another folder.")])
    if not overwrite:
        what = f"contains a report already ({FIT_FILE})."
        raise InputError([Problem(str(path), what, "--overwrite replaces it.")])


def names_of(files: Sequence[str]) -> str:
    """Return the names of data files for a title."""
    return shorten(", ".join(dict.fromkeys(Path(file).name for file in files)), LONGEST)


def remove_report(folder: Path) -> None:
    """Remove an earlier report of this program from a folder."""
    for name in own_files(folder, ()).intersection(NAMES):
        (folder / name).unlink(missing_ok=True)


def write_test_report(folder: Path, record: FitRecord, console: Console, calibrated: Calibrated | None = None) -> None:
    """Write record, pictures and page, and print the paths of all files.

    Args:
        folder: where to write; created if necessary.
        record: the test.
        console: prints paths, and notes on what could not be drawn.
        calibrated: uncertainty of the model, if there is one.

    Raises:
        InputError: the folder contains files of others.
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder), console.task("drawing plots, writing the report"):
        refuse_foreign_files(folder, NAMES)
        claim(folder, NAMES)
        remove_report(folder)
        write_uncertainty(folder, calibrated)
        save_record(folder, record)
        write_pages(folder, record, console)
    for name in NAMES:
        if (folder / name).exists():
            console.line(str(folder / name))

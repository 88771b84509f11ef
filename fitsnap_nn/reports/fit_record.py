"""Record of a finished fit: read by plots, report and comparison, and kept in two files of the output folder.

``fit.json`` has names, errors, verdict, data audit, versions and timings. ``predictions.npz`` has labels, predictions
and the structures with the largest errors. ``report DIR`` needs no data besides them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.errors import CheckpointError, InputError, Problem
from fitsnap_nn.files import read_regular, write_text
from fitsnap_nn.reports.errors_table import ErrorRow
from fitsnap_nn.reports.predicted import PREDICTIONS_FILE, Predicted, load_predicted, save_predicted

FIT_FILE = "fit.json"
FORMAT, VERSION = "fitsnap_nn fit", 1
FIT = "fit"  # kind of a record, see `FitRecord`


@dataclass(frozen=True)
class FitRecord:
    """Description of a fit or a test; all values are plain, so that they are stored as JSON.

    Attributes:
        name: name of the fit, that of its input file.
        architecture: value of ``[PYTORCH] model``, or ``LINEAR``.
        model: architecture and layers in words.
        num_weights: number of weights, including frozen ones.
        elements: chemical symbols in the order of LAMMPS' atom types.
        cutoff: Å.
        date: end of the fit, ISO 8601, UTC.
        properties: title and report unit of the properties of the fit, in the order of ``metrics.csv``.
        judged: set by which the fit is judged; empty without labels.
        verdict: lines of the verdict.
        errors: rows of the error table.
        data: text about the data: ``summary``, ``table``, ``warnings``, ``notes``, and their ``hash``.
        element_energies: eV by element, subtracted from energies in plots.
        versions: versions of programs and libraries.
        run: ranks, device, precision, seed.
        seconds: wall time by step, s.
        epochs: ``stage_two``, the last epoch of stage one, and ``resumed``, the epochs after which the fit was
            interrupted and continued.
        verification: ``passed`` (``None``: not run) and ``text``.
        citations: keys of `fitsnap_nn.reports.citations`.
        kind: ``fit``; or ``test`` or ``combination`` of models, which have no input, epochs or audit of the data.
        worst: ``id``, ``group``, ``set``, ``atoms`` and ``errors`` of the configurations with the largest errors; their
            structures are in ``predicted.worst``, in the same order.
        predicted: labels and predictions, in a file of their own.
    """

    name: str
    architecture: str
    model: str
    num_weights: int
    elements: tuple[str, ...]
    cutoff: float
    date: str
    predicted: Predicted
    properties: tuple[tuple[str, str], ...] = ()
    judged: str = ""
    verdict: tuple[str, ...] = ()
    errors: tuple[ErrorRow, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    element_energies: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    epochs: Mapping[str, Any] = field(default_factory=dict)
    verification: Mapping[str, Any] = field(default_factory=dict)
    citations: tuple[str, ...] = ()
    worst: tuple[Mapping[str, Any], ...] = ()
    kind: str = FIT

    @property
    def day(self) -> str:
        """Date and time of the fit, to the minute: ``2026-11-27 20:58 UTC``."""
        return f"{self.date[:16].replace('T', ' ')} UTC"

    @property
    def has_verification(self) -> bool:
        """Whether it is of interest if LAMMPS reproduces the model: always, but for a test."""
        return bool(self.verification) or self.kind == FIT

    @property
    def sets(self) -> list[str]:
        """Values of `Subset` that have configurations, in the order of tables."""
        present = set(self.predicted.sets)
        return [one.value for one in Subset if one.value in present]


def save_record(folder: Path, record: FitRecord) -> None:
    """Write ``fit.json`` and ``predictions.npz``.

    Raises:
        OSError: a file cannot be written.
    """
    save_predicted(folder / PREDICTIONS_FILE, record.predicted)
    save_description(folder, record)


def save_description(folder: Path, record: FitRecord) -> None:
    """Write ``fit.json``.

    Raises:
        OSError: the file cannot be written.
    """
    plain = {one.name: getattr(record, one.name) for one in fields(record) if one.name != "predicted"}
    plain["errors"] = [asdict(row) for row in record.errors]
    content = {"format": FORMAT, "version": VERSION, **_without_nan(plain)}
    write_text(folder / FIT_FILE, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def load_record(folder: Path) -> FitRecord:
    """Read both files of a folder.

    Raises:
        InputError: the folder contains no finished fit of this version or a later one.
        CheckpointError: a file is damaged.
    """
    try:
        content = json.loads(read_regular(folder / FIT_FILE))
        predicted = load_predicted(folder / PREDICTIONS_FILE)
    except FileNotFoundError as error:
        missing = Path(error.filename or FIT_FILE).name
        what = f"there is no {missing}: this is not the output folder of a finished fit."
        hint = "Give the [OUTFILE] folder of a fit. Fits of earlier versions lack the file: repeat them, or see `test`."
        raise InputError([Problem(str(folder), what, hint)]) from None
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{folder}: {FIT_FILE} or {PREDICTIONS_FILE} cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{folder / FIT_FILE} is not a description of a fit.")
    if content.get("version", 0) > VERSION:
        raise CheckpointError(f"{folder / FIT_FILE} was written by a later version of fitsnap_nn. Update fitsnap_nn.")
    names = {one.name for one in fields(FitRecord)}
    try:
        plain = {name: value for name, value in content.items() if name in names}
        plain["errors"] = tuple(_error_row(row) for row in plain["errors"])
        plain["properties"] = tuple((title, unit) for title, unit in plain["properties"])
        for name in ("elements", "verdict", "citations", "worst"):
            plain[name] = tuple(plain[name])
        return FitRecord(**plain, predicted=predicted)
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / FIT_FILE} is damaged: {error}") from error


def _error_row(cells: Mapping[str, Any]) -> ErrorRow:
    """Return a row of the error table; JSON has null for NaN."""
    missing = {name: math.nan for name in ("mae", "rmse", "r2") if cells[name] is None}
    return ErrorRow(**{**cells, **missing})


def _without_nan(value: Any) -> Any:
    """Return a value with ``None`` in place of NaN and infinity, which JSON (RFC 8259) does not have."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def rows_of(record: FitRecord, group: str) -> Iterator[ErrorRow]:
    """Yield the rows of the error table of a group."""
    return (row for row in record.errors if row.group == group)


def groups_of(rows: Sequence[ErrorRow]) -> list[str]:
    """Return the groups of an error table, ``*ALL`` first."""
    return list(dict.fromkeys(row.group for row in rows))

"""Comparison of fits: errors by group side by side, curves, settings that differ, verdicts and speed."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.errors import InputError, Problem, counted
from fitsnap_nn.reports.epochs import METRICS_FILE, EpochRow, read_epochs
from fitsnap_nn.reports.errors_table import ALL, aligned
from fitsnap_nn.reports.fit_record import FIT, FitRecord, load_record
from fitsnap_nn.reports.html import Picture, render
from fitsnap_nn.reports.json_files import read_json
from fitsnap_nn.reports.plots.compared import draw_compared
from fitsnap_nn.reports.plots.sheet import shorten
from fitsnap_nn.reports.plots.styles import SET_NAMES
from fitsnap_nn.reports.report import INPUT_FILE, MISSING, display_factor, number, split_verdict
from fitsnap_nn.settings.marked import differing
from fitsnap_nn.settings.outputs import CHECKS_FILE
from fitsnap_nn.usage import duration

LONGEST_CELL = 42  # characters in a terminal; the page has all
SPEED = "speed"  # part of the name of the check that measures the speed of molecular dynamics


@dataclass(frozen=True)
class ComparedFit:
    """A finished fit.

    Attributes:
        label: name that differs from those of the other fits.
        folder: output folder.
        record: the fit.
        epochs: results of the epochs.
        text: the input; empty if the file is missing.
        speed: lines about the speed of molecular dynamics; empty if it was not measured.
    """

    label: str
    folder: Path
    record: FitRecord
    epochs: tuple[EpochRow, ...]
    text: str
    speed: tuple[str, ...]


def load_fits(folders: Sequence[Path]) -> list[ComparedFit]:
    """Read the files of finished fits.

    Args:
        folders: output folders.

    Raises:
        InputError: a folder is not that of a finished fit, or occurs twice.
        CheckpointError: a file is damaged.
    """
    resolved = [folder.resolve() for folder in folders]
    if len(set(resolved)) < len(resolved):
        twice = next(str(one) for one, path in zip(folders, resolved, strict=True) if resolved.count(path) > 1)
        raise InputError([Problem(twice, "the folder is given twice.", "Give different folders.")])
    names = [path.name for path in resolved]
    labels = [str(folder) if names.count(folder.resolve().name) > 1 else folder.resolve().name for folder in folders]
    return [_load(label, folder) for label, folder in zip(labels, folders, strict=True)]


def _load(label: str, folder: Path) -> ComparedFit:
    record, path = load_record(folder), folder / INPUT_FILE
    epochs = tuple(read_epochs(folder)) if (folder / METRICS_FILE).exists() else ()
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    return ComparedFit(label, folder, record, epochs, text, _speed(read_json(folder / CHECKS_FILE)))


def _speed(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the numbers of the check that has measured the speed."""
    found = [check for check in content.get("checks", ()) if SPEED in f"{check['name']} {check['title']}".lower()]
    numbers = [one for check in found for one in check.get("numbers", ()) if one.get("value") is not None]
    return tuple(f"{one['label']}: {one['value']:.4g} {one.get('unit', '')}".rstrip() for one in numbers)


def compared_set(fits: Sequence[ComparedFit]) -> str:
    """Return the set whose errors are compared: the least seen one that all fits have labels of; else the training set.

    Args:
        fits: the fits.
    """
    present = [{row.subset for row in one.record.errors} for one in fits]
    order = (Subset.TEST, Subset.VALIDATION, Subset.UNKNOWN, Subset.TRAINING)
    return next((one.value for one in order if all(one.value in sets for sets in present)), Subset.TRAINING.value)


def tables(fits: Sequence[ComparedFit]) -> list[dict[str, Any]]:
    """Return one table per property: ``title``, and ``rows`` with the RMSE of each fit by group, the smallest marked.

    Args:
        fits: the fits.
    """
    subset = compared_set(fits)
    errors = [
        {(row.property, row.group): row.rmse * display_factor(one.record, row.property)
         for row in one.record.errors if row.subset == subset}
        for one in fits
    ]  # fmt: skip
    found = []
    for title in dict.fromkeys(row.property for one in fits for row in one.record.errors):
        groups = dict.fromkeys(group for of_fit in errors for name, group in of_fit if name == title)
        rows = []
        for group in groups:
            values = [of_fit.get((title, group), math.nan) for of_fit in errors]
            shown = [number(value) for value in values]
            best = shown[int(np.nanargmin(values))] if not np.isnan(values).all() else ""
            several = len({text for text in shown if text != MISSING}) > 1
            cells = [{"text": text, "best": several and text == best} for text in shown]
            rows.append({"group": "all groups" if group == ALL else group, "cells": cells, "all": group == ALL})
        if rows:
            found.append({"title": f"{title} ({_unit(fits, title)})".replace(" ()", ""), "rows": rows})
    return found


def _unit(fits: Sequence[ComparedFit], title: str) -> str:
    values = [values for one in fits for values in one.record.predicted.values.values() if values.title == title]
    rows = [row for one in fits for row in one.record.errors if row.property == title]
    return values[0].display_unit if values else rows[0].unit


def facts(fits: Sequence[ComparedFit]) -> dict[str, list[str]]:
    """Return what is known of each fit besides errors, by name.

    Args:
        fits: the fits.
    """
    return {
        "model": [one.record.model for one in fits],
        "elements": [" ".join(one.record.elements) for one in fits],
        "cutoff (Å)": [f"{one.record.cutoff:.4g}" for one in fits],
        "weights": [f"{one.record.num_weights:,}" for one in fits],
        "epochs": [str(one.epochs[-1].epoch) if one.epochs else "–" for one in fits],
        "time of training": [_training_time(one) for one in fits],
        "verdict": [_remarks(one.record) for one in fits],
        "LAMMPS": [_verified(one.record) for one in fits],
        "MD speed": ["; ".join(one.speed) or "not measured" for one in fits],
        "date": [one.record.day for one in fits],
        "version": [one.record.versions.get("fitsnap_nn", "") for one in fits],
    }


def _training_time(fit: ComparedFit) -> str:
    """Return the time of all epochs; of a fit without epochs, that of its solution."""
    seconds = fit.record.seconds.get("training", math.nan)
    if fit.epochs:  # the times of a fit that was continued are those of its last run
        seconds = math.fsum(row.seconds for row in fit.epochs if math.isfinite(row.seconds))
    return duration(seconds) if math.isfinite(seconds) else MISSING


VERIFIED = {True: "verified", False: "FAILED", None: "not verified"}


def _verified(record: FitRecord) -> str:
    return VERIFIED[record.verification.get("passed")] if record.has_verification else MISSING


def _remarks(record: FitRecord) -> str:
    verdict = split_verdict(record.verdict)
    if not verdict.is_judged:
        return MISSING
    return f"{counted(len(verdict.remarks), 'remark')}: {verdict.kinds}" if verdict.remarks else "no sign of a problem"


def cautions(fits: Sequence[ComparedFit]) -> list[str]:
    """Return reasons why errors cannot be compared directly.

    Args:
        fits: the fits.
    """
    found = []
    if len({one.record.data.get("hash") for one in fits}) > 1:
        found.append("The data, their sets or their weights differ: the errors are not all of the same configurations.")
    missing = ", ".join(one.label for one in fits if not one.text and one.record.kind == FIT)
    if missing:
        found.append(f"{INPUT_FILE} is missing: settings of {missing} are not compared.")
    return found


def settings_of(fits: Sequence[ComparedFit]) -> dict[str, list[str]]:
    """Return the settings that differ, apart from names of files; see `differing`."""
    if not all(one.text for one in fits):
        return {}
    return {key: values for key, values in differing([one.text for one in fits]).items() if key not in NAMES}


NAMES = ("[OUTFILE] folder", "[OUTFILE] metrics", "[OUTFILE] potential", "[MEMORY] cache")


def comparison_text(fits: Sequence[ComparedFit]) -> str:
    """Return the comparison for a terminal.

    Args:
        fits: the fits.
    """
    labels = [one.label for one in fits]
    sections = []
    for table in tables(fits):
        rows = [[row["group"], *(f"{cell['text']}{'*' if cell['best'] else ' '}" for cell in row["cells"])]
                for row in table["rows"]]  # fmt: skip
        sections.append([[f"RMSE {table['title']}", *labels], *rows])
    lines = [f"errors of the {SET_NAMES[compared_set(fits)]} set (*: smallest)"]
    for section in sections:
        left = (True, *(False for _ in fits))
        lines += ["", *("  ".join(cells).rstrip() for cells in aligned(section, left))]
    short = {name: [shorten(value, LONGEST_CELL) for value in values] for name, values in facts(fits).items()}
    for title, found in (("", short), ("settings that differ", settings_of(fits))):
        if found:
            cells = [[title, *labels], *([name, *values] for name, values in found.items())]
            lines += ["", *("  ".join(row).rstrip() for row in aligned(cells, [True] * len(cells[0])))]
    return "\n".join([*lines, *(f"note: {caution}" for caution in cautions(fits))])


def comparison_page(fits: Sequence[ComparedFit]) -> str:
    """Return the comparison as an HTML page.

    Args:
        fits: the fits.
    """
    return render(
        "compare.html",
        f"Comparison of {', '.join(one.label for one in fits)}",
        labels=[one.label for one in fits],
        subset=SET_NAMES[compared_set(fits)],
        tables=tables(fits),
        facts=list(facts(fits).items()),
        settings=list(settings_of(fits).items()),
        cautions=cautions(fits),
        verdicts=[(one.label, *split_verdict(one.record.verdict)) for one in fits],
        picture=_curves(fits),
    )


def _curves(fits: Sequence[ComparedFit]) -> Picture | None:
    """Return the learning curves of all fits; ``None`` without epochs or without matplotlib."""
    try:
        sheet = draw_compared([(one.label, one.record, one.epochs) for one in fits])
    except ImportError:
        return None
    if sheet is None:
        return None
    size = round(96 * sheet.width), round(96 * sheet.height)
    caption = "errors of the validation set against the epoch"
    return Picture("", caption, base64.b64encode(sheet.png()).decode(), *size)

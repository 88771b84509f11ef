"""Epoch log: ``loss_vs_epochs.dat``, ``metrics.csv`` and the lines printed during a fit."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from fitsnap_nn.data.properties import Property
from fitsnap_nn.files import named_errors, write_text

LOSS_FILE = "loss_vs_epochs.dat"
METRICS_FILE = "metrics.csv"
LOSS_HEADER = "# epoch training_loss validation_loss\n"


@dataclass(frozen=True)
class EpochRow:
    """Results of one epoch; missing values, such as the validation loss without a validation set, are nan.

    Attributes:
        epoch: number of the epoch, in increasing order.
        train_loss, validation_loss: losses of the training and validation sets.
        mae: mean absolute error of the validation set per property of the fit, in its report unit.
        learning_rate: of the last step.
        seconds: wall time, s.
        best: whether it is the best epoch so far.
    """

    epoch: int
    train_loss: float
    validation_loss: float = math.nan
    mae: tuple[float, ...] = ()
    learning_rate: float = math.nan
    seconds: float = math.nan
    best: bool = False


def columns(properties: Sequence[Property]) -> list[str]:
    """Return the column names of ``metrics.csv``; errors are those of the validation set, with the unit in the name.

    Args:
        properties: properties of the fit.
    """
    units = {one: one.report_unit.label.replace("/", "_per_").replace("Å", "A") for one in properties}
    errors = [f"{one.title.lower()}_mae_{unit}".rstrip("_") for one, unit in units.items()]
    return ["epoch", "train_loss", "validation_loss", *errors, "learning_rate", "seconds", "best"]


class EpochLog(AbstractContextManager["EpochLog"]):
    """Writes both files during the fit, flushed after every epoch.

    Args:
        folder: folder of the files.
        properties: properties of the fit.
        after: last epoch of existing files to keep, for a resumed fit. Later rows and a truncated last line are
            removed. ``None`` starts new files.
    """

    def __init__(self, folder: Path, properties: Sequence[Property], after: int | None = None) -> None:
        header = ",".join(columns(properties)) + "\n"
        self._folder = folder
        self._losses = _opened(folder / LOSS_FILE, LOSS_HEADER, " ", after)
        self._metrics = _opened(folder / METRICS_FILE, header, ",", after)

    def __exit__(self, *error: object) -> None:
        """Close both files."""
        # Every row has been flushed: what a full disk has refused is reported already.
        with suppress(OSError), self._losses, self._metrics:
            pass

    def write(self, row: EpochRow) -> None:
        """Append an epoch to both files.

        Args:
            row: results of the epoch.
        """
        numbers = (row.train_loss, row.validation_loss, *row.mae, row.learning_rate, row.seconds)
        cells = [str(row.epoch), *(repr(float(number)) for number in numbers), str(int(row.best))]
        with named_errors(self._folder / LOSS_FILE):
            self._losses.write(f"{row.epoch} {row.train_loss:.9e} {row.validation_loss:.9e}\n")
            self._losses.flush()
        with named_errors(self._folder / METRICS_FILE):
            self._metrics.write(",".join(cells) + "\n")
            self._metrics.flush()


def read_epochs(folder: Path) -> list[EpochRow]:
    """Return all epochs in ``metrics.csv``, including those before a restart.

    Args:
        folder: folder of the file.

    Raises:
        OSError: the file cannot be read.
    """
    with (folder / METRICS_FILE).open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))[1:]
    return [_parsed(line) for line in lines]


def _parsed(cells: list[str]) -> EpochRow:
    train_loss, validation_loss, *errors, learning_rate, seconds = map(float, cells[1:-1])
    best = cells[-1] == "1"
    return EpochRow(int(cells[0]), train_loss, validation_loss, tuple(errors), learning_rate, seconds, best)


def _opened(path: Path, header: str, separator: str, after: int | None) -> io.TextIOWrapper:
    kept = _kept_lines(path, separator, after) if after is not None and path.exists() else []
    write_text(path, "".join([header, *kept]))
    return path.open("a", encoding="utf-8")


def _kept_lines(path: Path, separator: str, after: int) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[1:]
    return [line for line in lines if line.endswith("\n") and int(line.split(separator)[0]) <= after]


def epoch_header(properties: Sequence[Property]) -> str:
    """Return the column titles of `epoch_line`, with units.

    Args:
        properties: properties of the fit.
    """
    return " ".join(f"{title:>{width}}" for title, width in _titles(properties))


def epoch_line(row: EpochRow, properties: Sequence[Property]) -> str:
    """Return the line that is printed for an epoch; ``-`` denotes a missing value, ``*best`` the best epoch so far.

    Args:
        row: results of the epoch.
        properties: properties of the fit; errors are shown in their display units.
    """
    errors = [
        (value * one.report_unit.size / one.display_unit.size, ".3f" if one.display_unit == one.report_unit else ".1f")
        for one, value in zip(properties, row.mae or [math.nan] * len(properties), strict=True)
    ]
    numbers = [
        (row.train_loss, "#.4g"),
        (row.validation_loss, "#.4g"),
        *errors,
        (row.learning_rate, ".1e"),
        (row.seconds, ".2f"),
    ]
    cells = [str(row.epoch), *("-" if math.isnan(value) else f"{value:{form}}" for value, form in numbers)]
    line = " ".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, _titles(properties), strict=True))
    return line + (" *best" if row.best else "")


def _titles(properties: Sequence[Property]) -> list[tuple[str, int]]:
    errors = [f"{one.symbol} {one.display_unit.label}" for one in properties]
    widths = [(title, max(8, len(title) + 1)) for title in errors]
    return [("epoch", 6), ("train loss", 11), ("valid. loss", 11), *widths, ("lr", 8), ("s", 7)]

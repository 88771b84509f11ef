"""Epoch log: ``loss_vs_epochs.dat``, ``metrics.csv`` and the lines printed during a fit."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from fitsnap_nn.data.properties import Property
from fitsnap_nn.files import named_errors, write_text

LOSS_FILE = "loss_vs_epochs.dat"
METRICS_FILE = "metrics.csv"
BLOCK = "_lambda="  # in the names of columns of irreducible blocks
FIRST, LAST = ("epoch", "train_loss", "validation_loss"), ("learning_rate", "seconds", "best")
MAE, RMSE = "mae", "rmse"
LOSS_HEADER = "# epoch training_loss validation_loss\n"


@dataclass(frozen=True)
class EpochRow:
    """Results of one epoch; missing values, such as the validation loss without a validation set, are nan.

    Attributes:
        epoch: number of the epoch, in increasing order.
        train_loss, validation_loss: losses of the training and validation sets.
        mae, rmse: mean absolute and root-mean-square error of the validation set per property of the fit, in its
            report unit.
        learning_rate: of the last step.
        seconds: wall time, s.
        best: whether it is the best epoch so far.
        block_mae, block_rmse: errors of irreducible blocks, see ``[PYTORCH] log_separate_blocks``.
    """

    epoch: int
    train_loss: float
    validation_loss: float = math.nan
    mae: tuple[float, ...] = ()
    learning_rate: float = math.nan
    seconds: float = math.nan
    best: bool = False
    rmse: tuple[float, ...] = ()
    block_mae: tuple[float, ...] = ()
    block_rmse: tuple[float, ...] = ()

    @property
    def cells(self) -> list[str]:
        """Cells of its line in ``metrics.csv``, in the order of `columns`."""
        errors = (*self.mae, *self.rmse, *self.block_mae, *self.block_rmse)
        numbers = (self.train_loss, self.validation_loss, *errors, self.learning_rate, self.seconds)
        return [str(self.epoch), *(repr(float(number)) for number in numbers), str(int(self.best))]


def columns(properties: Sequence[Property], blocks: Sequence[Property] = ()) -> list[str]:
    """Return the column names of ``metrics.csv``; errors are those of the validation set, with the unit in the name.

    Args:
        properties: properties of the fit.
        blocks: irreducible blocks of properties whose errors are reported too.
    """
    errors = [_column(one, kind) for part in (properties, blocks) for kind in (MAE, RMSE) for one in part]
    return [*FIRST, *errors, *LAST]


def _column(quantity: Property, kind: str) -> str:
    """Return a name such as ``force_mae_eV_per_A`` and ``shielding_lambda=1_pseudo_rmse_ppm``."""
    unit = quantity.report_unit.label.replace("/", "_per_").replace("Å", "A")
    title = quantity.title.lower().replace(" λ=", BLOCK).replace(" ", "_")
    return f"{title}_{kind}_{unit}".rstrip("_")


class EpochLog(AbstractContextManager["EpochLog"]):
    """Writes both files during the fit, flushed after every epoch.

    Args:
        folder: folder of the files.
        properties: properties of the fit.
        after: last epoch of existing files to keep, for a resumed fit. Later rows and a truncated last line are
            removed. ``None`` starts new files.
        blocks: irreducible blocks of properties whose errors are reported too.
    """

    def __init__(
        self, folder: Path, properties: Sequence[Property], after: int | None = None, blocks: Sequence[Property] = ()
    ) -> None:
        self._folder, self._count, self._blocks = folder, len(properties), len(blocks)
        path = folder / LOSS_FILE
        kept = _kept_lines(path) if after is not None and path.exists() else []
        losses = [line for line in kept[1:] if int(line.split()[0]) <= (after or 0)]
        self._losses = _opened(path, "".join([LOSS_HEADER, *losses]))
        path = folder / METRICS_FILE
        rows = [row for row in read_epochs(folder) if row.epoch <= after] if after is not None and path.exists() else []
        self._metrics = _opened(path, "".join([",".join(columns(properties, blocks)) + "\n", *map(self._line, rows)]))

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
        with named_errors(self._folder / LOSS_FILE):
            self._losses.write(f"{row.epoch} {row.train_loss:.9e} {row.validation_loss:.9e}\n")
            self._losses.flush()
        with named_errors(self._folder / METRICS_FILE):
            self._metrics.write(self._line(row))
            self._metrics.flush()

    def _line(self, row: EpochRow) -> str:
        """Return the line of an epoch in ``metrics.csv``; rows of earlier versions lack errors."""
        missing, of_blocks = (math.nan,) * self._count, (math.nan,) * self._blocks
        complete = replace(
            row,
            mae=row.mae or missing,
            rmse=row.rmse or missing,
            block_mae=row.block_mae or of_blocks,
            block_rmse=row.block_rmse or of_blocks,
        )
        return ",".join(complete.cells) + "\n"


def read_epochs(folder: Path) -> list[EpochRow]:
    """Return all complete lines of ``metrics.csv``, including those before a restart.

    Args:
        folder: folder of the file.

    Raises:
        OSError: the file cannot be read.
    """
    return [_parsed(cells) for cells in csv.DictReader(_kept_lines(folder / METRICS_FILE))]


def _parsed(cells: Mapping[str, str]) -> EpochRow:
    """Return the row of a line, by column; files of earlier versions lack the RMSE."""
    found = list(cells)[len(FIRST) : -len(LAST)]
    names = [name for name in found if BLOCK not in name]
    errors = tuple(float(cells[name]) for name in names)
    of_blocks = tuple(float(cells[name]) for name in found if BLOCK in name)
    half = len(names) // 2
    complete = [f"_{RMSE}".join(name.rsplit(f"_{MAE}", 1)) for name in names[:half]] == names[half:]
    numbers = (float(cells[name]) for name in (*FIRST[1:], *LAST[:2]))
    train_loss, validation_loss, learning_rate, seconds = numbers
    mae, rmse = (errors[:half], errors[half:]) if complete else (errors, ())
    best = cells["best"] == "1"
    epoch, blocks = int(cells["epoch"]), len(of_blocks) // 2
    parts = of_blocks[:blocks], of_blocks[blocks:]
    return EpochRow(epoch, train_loss, validation_loss, mae, learning_rate, seconds, best, rmse, *parts)


def _opened(path: Path, text: str) -> io.TextIOWrapper:
    write_text(path, text)
    return path.open("a", encoding="utf-8")


def _kept_lines(path: Path) -> list[str]:
    """Return the lines of a file, without a last one that was cut off."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n")]


def epoch_header(properties: Sequence[Property], *, rmse: bool = False) -> str:
    """Return the column titles of `epoch_line`, with units.

    Args:
        properties: properties of the fit.
        rmse: whether the lines show RMSE and MAE.
    """
    return " ".join(f"{title:>{width}}" for title, width in _titles(properties, rmse))


def epoch_line(row: EpochRow, properties: Sequence[Property], *, rmse: bool = False) -> str:
    """Return the line that is printed for an epoch; ``-`` denotes a missing value, ``*best`` the best epoch so far.

    Args:
        row: results of the epoch.
        properties: properties of the fit; errors are shown in their display units.
        rmse: show RMSE and MAE instead of the MAE only.
    """
    missing = [math.nan] * len(properties)
    shown = [row.rmse, row.mae] if rmse else [row.mae]
    errors = [
        (value * one.report_unit.size / one.display_unit.size, ".3f" if one.display_unit == one.report_unit else ".1f")
        for values in shown
        for one, value in zip(properties, values or missing, strict=True)
    ]
    numbers = [
        (row.train_loss, "#.4g"),
        (row.validation_loss, "#.4g"),
        *errors,
        (row.learning_rate, ".1e"),
        (row.seconds, ".2f"),
    ]
    cells = [str(row.epoch), *("-" if math.isnan(value) else f"{value:{form}}" for value, form in numbers)]
    line = " ".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, _titles(properties, rmse), strict=True))
    return line + (" *best" if row.best else "")


def _titles(properties: Sequence[Property], rmse: bool) -> list[tuple[str, int]]:
    kinds = ("RMSE ", "MAE ") if rmse else ("",)
    errors = [f"{kind}{one.symbol} {one.display_unit.label}".rstrip() for kind in kinds for one in properties]
    widths = [(title, max(8, len(title) + 1)) for title in errors]
    return [("epoch", 6), ("train loss", 11), ("valid. loss", 11), *widths, ("lr", 8), ("s", 7)]

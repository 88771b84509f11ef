"""What happened epoch by epoch: ``loss_vs_epochs.dat``, ``metrics.csv`` and the lines on the screen."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import astuple, dataclass
from pathlib import Path

from fitsnap_nn.closing import Closing
from fitsnap_nn.files import atomic_write

LOSS_FILE = "loss_vs_epochs.dat"
METRICS_FILE = "metrics.csv"
LOSS_HEADER = "# epoch training_loss validation_loss\n"
COLUMNS = (
    "epoch",
    "train_loss",
    "test_loss",
    "energy_mae_eV_per_atom",
    "force_mae_eV_per_A",
    "stress_mae_GPa",
    "learning_rate",
    "seconds",
    "best",
)


@dataclass(frozen=True)
class EpochRow:
    """One epoch; a number that does not exist, such as a test loss without testing data, is nan.

    Attributes:
        epoch: number of the epoch, in increasing order.
        train_loss, test_loss: losses of the training and testing sets.
        energy_mae, force_mae, stress_mae: mean absolute errors, eV/atom, eV/Å, GPa, of the testing set.
        learning_rate: the optimiser's, at the end of the epoch.
        seconds: wall time.
        best: whether it is the best epoch so far.
    """

    epoch: int
    train_loss: float
    test_loss: float = math.nan
    energy_mae: float = math.nan
    force_mae: float = math.nan
    stress_mae: float = math.nan
    learning_rate: float = math.nan
    seconds: float = math.nan
    best: bool = False


class EpochLog(Closing):
    """Writes both files as the fit goes, each line complete on disk before the next epoch starts.

    Args:
        folder: where the files are.
        after: the last epoch to keep of the files that are there; earlier rows stay as they are, later ones, and a
            line that was cut off in the middle, go. ``None`` starts new files.
    """

    def __init__(self, folder: Path, after: int | None = None) -> None:
        self._losses = _opened(folder / LOSS_FILE, LOSS_HEADER, " ", after)
        self._metrics = _opened(folder / METRICS_FILE, ",".join(COLUMNS) + "\n", ",", after)

    def write(self, row: EpochRow) -> None:
        """Add an epoch to both files."""
        self._losses.write(f"{row.epoch} {row.train_loss:.9e} {row.test_loss:.9e}\n")
        epoch, *numbers, best = astuple(row)
        self._metrics.write(",".join([str(epoch), *(repr(float(number)) for number in numbers), str(int(best))]) + "\n")
        self._losses.flush()
        self._metrics.flush()

    def close(self) -> None:
        """Close both files."""
        self._losses.close()
        self._metrics.close()


def read_epochs(folder: Path) -> list[EpochRow]:
    """All epochs in ``metrics.csv``, those before a restart included."""
    with (folder / METRICS_FILE).open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))[1:]
    return [_parsed(line) for line in lines]


def _parsed(cells: list[str]) -> EpochRow:
    train_loss, test_loss, energy, force, stress, learning_rate, seconds = map(float, cells[1:-1])
    best = cells[-1] == "1"
    return EpochRow(int(cells[0]), train_loss, test_loss, energy, force, stress, learning_rate, seconds, best)


def _opened(path: Path, header: str, separator: str, after: int | None) -> io.TextIOWrapper:
    kept = _kept_lines(path, separator, after) if after is not None and path.exists() else []
    with atomic_write(path) as file:
        file.write("".join([header, *kept]).encode())
    return path.open("a", encoding="utf-8")


def _kept_lines(path: Path, separator: str, after: int) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[1:]
    return [line for line in lines if line.endswith("\n") and int(line.split(separator)[0]) <= after]


def epoch_header(stress: bool = False) -> str:
    """Titles, with units, of the columns of `epoch_line`."""
    return " ".join(f"{title:>{width}}" for title, width in _titles(stress))


def epoch_line(row: EpochRow, stress: bool = False) -> str:
    """One epoch on the screen; ``-`` stands for what does not exist, ``*best`` marks the best epoch so far."""
    numbers = [
        (row.train_loss, "#.4g"),
        (row.test_loss, "#.4g"),
        (1e3 * row.energy_mae, ".1f"),
        (1e3 * row.force_mae, ".1f"),
        *([(row.stress_mae, ".3f")] if stress else []),
        (row.learning_rate, ".1e"),
        (row.seconds, ".2f"),
    ]
    cells = [str(row.epoch), *("-" if math.isnan(value) else f"{value:{form}}" for value, form in numbers)]
    line = " ".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, _titles(stress), strict=True))
    return line + (" *best" if row.best else "")


def _titles(stress: bool) -> list[tuple[str, int]]:
    pressure = [("P GPa", 8)] if stress else []
    errors = [("E meV/atom", 11), ("F meV/Å", 9), *pressure]
    return [("epoch", 6), ("train loss", 11), ("test loss", 11), *errors, ("lr", 8), ("s", 7)]

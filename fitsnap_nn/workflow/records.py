"""Records of the epochs of a fit: lines, files, and the restart file."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fitsnap_nn.data.irreducible_blocks import BlockOfProperty, blocks_of
from fitsnap_nn.data.properties import Property
from fitsnap_nn.export.model_file import model_payload
from fitsnap_nn.folders import own_files
from fitsnap_nn.reports.epochs import EpochLog, EpochRow, epoch_header, epoch_line
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.settings import Settings, as_dict
from fitsnap_nn.settings.outputs import snapshot_name
from fitsnap_nn.settings.training import PytorchSection
from fitsnap_nn.training.checkpoint import save_restart
from fitsnap_nn.training.trainer import EpochReport, Trainer
from fitsnap_nn.workflow.going_on import Saved
from fitsnap_nn.workflow.preparation import Prepared

if TYPE_CHECKING:
    from fitsnap_nn.reports.tensorboard import EventLog

MOST_LINES = 200  # printed epochs with log_interval = 0


class Records(ExitStack):
    """Records of the epochs of a fit, on its first rank.

    Args:
        trainer: of the fit.
        settings: settings of the fit.
        prepared: the data.
        console: prints lines.
        restart_file: the restart file.
        saved: what that contains.
        fresh: whether the fit is new, so that records of an earlier one are removed.
    """

    def __init__(
        self,
        trainer: Trainer,
        settings: Settings,
        prepared: Prepared,
        console: Console,
        restart_file: Path,
        saved: Saved,
        fresh: bool,
    ) -> None:
        super().__init__()
        self._trainer, self._settings, self._console, self._saved = trainer, settings, console, saved
        self._properties, self._options, self._split = prepared.properties, settings.pytorch, prepared.split
        self._path, self._seed = restart_file, prepared.dataset.seed
        self._stored, self._digest = as_dict(settings), prepared.digest
        self._interval = settings.pytorch.log_interval or automatic_interval(settings.pytorch.num_epochs)
        self._hidden = ""  # line of the last epoch, if it is not shown
        for path in stale_snapshots(restart_file, saved.epoch):
            path.unlink()
            console.line(f"removed {path}, of an earlier fit")
        self._blocks = blocks_of(self._properties) if self._options.log_separate_blocks else []
        arguments = Path(settings.output_folder), self._properties, None if fresh else trainer.epoch, self._blocks
        self._logs: list[EpochLog | EventLog] = [self.enter_context(EpochLog(*arguments))]
        if settings.outfile.tensorboard:
            from fitsnap_nn.reports.tensorboard import EventLog  # its package is optional

            self._logs.append(self.enter_context(EventLog(*arguments)))

    def start(self, first: EpochReport | None) -> None:
        """Print the column titles, and the errors of the initial weights if they are known."""
        if first or self._trainer.epoch < self._options.num_epochs:
            self._console.line(epoch_header(self._properties, rmse=self._options.log_mae))
        if first:
            self._console.line(f"{self._line(_row(first, self._properties, ()))}, the initial weights")

    def after_epoch(self, report: EpochReport) -> None:
        """Record an epoch, and write the restart file."""
        row = _row(report, self._properties, self._blocks)
        for log in self._logs:
            log.write(row)
        line, shown = self._line(row), row.epoch in (1, self._options.num_epochs) or not row.epoch % self._interval
        self._hidden = "" if shown else line
        if shown:
            self._console.line(line)
        self.save(restart_files(self._path, row.epoch, self._options))

    def save(self, paths: Sequence[Path] = ()) -> None:
        """Write the state of the fit to restart files.

        Args:
            paths: the files; by default the restart file.

        Raises:
            CheckpointError: a file cannot be written.
        """
        started, trainer = time.monotonic(), self._trainer
        # In the first epoch of a new fit there are no best weights yet.
        with trainer.holding(trainer.best.weights if trainer.epoch else trainer.kept()):
            payload = model_payload(trainer.model, self._settings, {"epoch": trainer.best.epoch}, split=self._split)
        contents: dict[str, Any] = {"settings": self._stored, "data": self._digest, "split_seed": self._seed}
        for path in paths or [self._path]:
            save_restart(path, model=payload, trainer=trainer.state_dict(), **contents)
        self._saved.epoch, self._saved.steps = trainer.epoch, trainer.part.steps if trainer.part else 0
        trainer.stopping.saving_took(time.monotonic() - started)

    def finish(self) -> None:
        """Print the last epoch, if it has not been shown."""
        if self._hidden:
            self._console.line(self._hidden)

    def _line(self, row: EpochRow) -> str:
        return epoch_line(row, self._properties, rmse=self._options.log_mae)


@contextmanager
def showing_progress(trainer: Trainer, console: Console) -> Iterator[None]:
    """Show the progress of the epochs, and within them, while the block trains."""
    total = trainer.options.num_epochs
    with console.task("epochs", total, trainer.epoch) as epochs, console.task("training") as current:
        shown = (-1, False)

        def on_part(done: int, parts: int, validation: bool) -> None:
            nonlocal shown
            if shown != (trainer.epoch, validation):
                shown = trainer.epoch, validation
                what = "validation" if validation else "steps"
                current.restart(f"{what} of epoch {trainer.epoch + 1}", parts)
            current.update(done)
            epochs.update(trainer.epoch + (1.0 if validation else done / parts))

        trainer.on_part = on_part
        yield


def automatic_interval(num_epochs: int) -> int:
    """Return the number of epochs between printed lines, 1, 2, 5, 10 and so on, so that there are at most 200."""
    interval, factors = 1, (2, 2.5, 2)
    for number in range(60):
        if num_epochs <= MOST_LINES * interval:
            break
        interval = round(interval * factors[number % 3])
    return interval


def restart_files(path: Path, epoch: int, options: PytorchSection) -> list[Path]:
    """Return the restart files to write after an epoch: the latest one, and a copy every ``checkpoint_interval``."""
    kept = bool(options.checkpoint_interval) and epoch % options.checkpoint_interval == 0
    return [path, *([path.with_name(snapshot_name(path.name, epoch))] if kept else [])]


def stale_snapshots(path: Path, epoch: int) -> list[Path]:
    """Return the copies of the restart file of an earlier fit in the same folder, or of epochs that are repeated.

    Args:
        path: the restart file.
        epoch: epoch from which the fit goes on; 0 for a new one.
    """
    own, prefix = own_files(path.parent, ()), path.name.removesuffix(".pt") + "_"
    numbers = {name: name[len(prefix) : -3] for name in own if name.startswith(prefix) and name.endswith(".pt")}
    stale = (name for name, number in numbers.items() if number.isdigit() and int(number) > epoch)
    return [path.with_name(name) for name in sorted(stale) if path.with_name(name).is_file()]


def _row(report: EpochReport, properties: Sequence[Property], blocks: Sequence[BlockOfProperty]) -> EpochRow:
    found = report.validation

    def errors(by_name: Mapping[str, float]) -> tuple[float, ...]:
        return tuple(by_name.get(one.name, math.nan) * one.loss_unit.size / one.report_unit.size for one in properties)

    def of_blocks(by_title: Mapping[str, float]) -> tuple[float, ...]:
        return tuple(by_title.get(one.title, math.nan) * one.loss_unit.size / one.report_unit.size for one in blocks)

    return EpochRow(
        epoch=report.epoch,
        train_loss=report.train_loss,
        validation_loss=found.loss if found else math.nan,
        mae=errors(found.mae if found else {}),
        rmse=errors(found.rmse if found else {}),
        learning_rate=report.learning_rate,
        seconds=report.seconds,
        best=report.is_best,
        block_mae=of_blocks(found.block_mae if found else {}),
        block_rmse=of_blocks(found.block_rmse if found else {}),
    )

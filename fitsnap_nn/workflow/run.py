"""A fit in progress and its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from fitsnap_nn.errors import counted
from fitsnap_nn.lammps.verify import Verification
from fitsnap_nn.models import Model
from fitsnap_nn.reports.epochs import EpochRow
from fitsnap_nn.reports.errors_table import ALL, ErrorRow, ErrorTable
from fitsnap_nn.reports.results import Result
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.settings import Settings
from fitsnap_nn.settings.outputs import CHECKS_FILE
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.usage import StepTimes, Stopwatch
from fitsnap_nn.workflow.preparation import Prepared
from fitsnap_nn.workflow.run_folder import start_log
from fitsnap_nn.workflow.summary import remove_earlier


@dataclass(frozen=True)
class Fit:
    """The result of a fit, or of a test; on ranks other than the first it has neither errors nor history.

    Attributes:
        folder: where its files are.
        errors: the table of errors.
        model_file: for `fitsnap_nn.load_potential`.
        model: with the weights of the best epoch, as they were trained; ``None`` where none was trained.
        history: the epochs, those before a restart included; empty for a test.
        verification: how well LAMMPS agrees; ``None`` when it was not asked for.
        verdict: lines that judge training and errors, see `fitsnap_nn.reports.verdict`.
    """

    folder: Path
    errors: Sequence[ErrorRow]
    model_file: Path
    model: Model[Any] | None = None
    history: list[EpochRow] = field(default_factory=list)
    verification: Verification | None = None
    verdict: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        best = next((row.epoch for row in reversed(self.history) if row.best), None)
        epochs = f", {counted(len(self.history), 'epoch')}, best {best}" if self.history else ""
        overall = [row for row in self.errors if row.group == ALL]
        shown = [f"{row.property} {row.rmse:.3g} {row.unit}" for row in overall if row.subset == overall[-1].subset]
        errors = f", RMSE {overall[-1].subset}: {', '.join(shown)}" if overall else ""
        return f"Fit({str(self.folder)!r}{epochs}{errors})"

    def __post_init__(self) -> None:
        object.__setattr__(self, "errors", ErrorTable(self.errors))  # a frozen dataclass has no other way


class Run(NamedTuple):
    """Shared arguments of the steps of a fit.

    Attributes:
        names: files that the fit may write.
        watch: start of the program.
        times: times of the steps, for the report.
    """

    settings: Settings
    prepared: Prepared
    ranks: Ranks
    console: Console
    folder: Path
    names: list[str]
    watch: Stopwatch
    times: StepTimes

    def take_folder(self, *, resume: bool = False) -> None:
        """Replace the files of an earlier fit from here on; on the first rank."""
        if self.ranks.is_first:
            start_log(self.folder, self.names, self.console, resume, self.settings.text)
            if (self.folder / CHECKS_FILE).exists():
                self.console.line(f"  note: removed {CHECKS_FILE}, which describes the earlier model")
            remove_earlier(self.folder)


class Outcome(NamedTuple):
    """A model with its weights, and what is reported about them.

    Attributes:
        model: the model.
        origin: what determined the weights, for the model file.
        judge: returns the verdict, from results and errors.
        linear: errors of the linear model on the same descriptors, if there is one beside the network.
        restart_file: restart file, if there is one.
        write_more: writes files of its own and returns the content of each.
        stage_two_began: last epoch of stage one of the training, if there was a stage two.
    """

    model: Model[Any]
    origin: Mapping[str, object]
    judge: Callable[[Sequence[Result], Sequence[ErrorRow]], list[str]]
    linear: Sequence[ErrorRow] = ()
    restart_file: Path | None = None
    write_more: Callable[[], dict[str, str]] = dict
    stage_two_began: int | None = None

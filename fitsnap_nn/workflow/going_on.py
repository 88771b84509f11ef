"""Saved state of a fit that ends early, and the command that continues it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fitsnap_nn.launch import repeated_command
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.settings import Settings
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.training.trainer import Trainer

REST = "the errors, the files for LAMMPS and their verification"


class Saved:
    """Content of the restart file of a fit.

    Args:
        trainer: of the fit.
        ranks: the ranks of this run.
        path: the restart file.
        epoch: last epoch whose end it contains; 0: the file does not exist.

    Attributes:
        epoch: see above.
        steps: steps of the next epoch that it contains.
        complete: whether there is no next epoch.
    """

    def __init__(self, trainer: Trainer, ranks: Ranks, path: Path, epoch: int) -> None:
        self.epoch = epoch
        self.complete = False
        self.steps = trainer.part.steps if trainer.part else 0
        self._trainer, self._ranks, self._path = trainer, ranks, path

    def interrupted(self) -> str:
        """Return where a fit was interrupted, what is saved, and how to go on: one line."""
        return f"interrupted {self._where()}; {self._rest()}"

    def out_of_time(self, limit: str) -> str:
        """Return the same for a fit that has reached its time limit, and what is left to do.

        Args:
            limit: as in the input.
        """
        left = self._trainer.options.num_epochs - self.epoch
        begun = ", the first of them begun" if self.steps else ""
        todo = f"Left to do: up to {left} of {self._trainer.options.num_epochs} epochs{begun}, and {REST}."
        return f"max_time = {limit} is reached {self._where()}; {self._rest()}\n{todo}"

    def _where(self) -> str:
        total = self._trainer.options.num_epochs
        if self.complete or self.epoch >= total:
            return f"after epoch {self.epoch}, the last one"
        return f"in epoch {self.epoch + 1} of {total}"

    def _rest(self) -> str:
        if not (self.epoch or self.steps):
            return f"nothing is saved. To start again: {go_on_with(self._ranks, '--overwrite')}"
        state = f"the state after epoch {self.epoch}"
        if self.steps:
            state = f"the state after step {self.steps} of {len(self._trainer.batches)} of epoch {self.epoch + 1}"
        return in_restart_file(self._ranks, self._path, state)


def before_training(settings: Settings, ranks: Ranks, restart: dict[str, Any]) -> str:
    """Return what is saved of a fit that is interrupted before its first epoch, and how to go on: one line."""
    epoch = restart["trainer"]["epoch"] if restart else 0
    text = f"interrupted before epoch {epoch + 1} of {settings.pytorch.num_epochs}"
    if settings.solver.is_linear:
        text = "interrupted before the linear system is solved"
    if restart:
        return f"{text}; {in_restart_file(ranks, restart['path'], f'the state after epoch {epoch}')}"
    return f"{text}; nothing is saved but model inputs. To start again: {go_on_with(ranks, '--overwrite')}"


def after_solution(ranks: Ranks) -> str:
    """Return how to repeat a linear fit that is interrupted after its system is solved: one line."""
    return (
        "interrupted after the linear system was solved; not all results are written. "
        f"To start again: {go_on_with(ranks, '--overwrite')}"
    )


def in_restart_file(ranks: Ranks, path: Path, state: str) -> str:
    """Return what a restart file contains, and the command that continues the fit."""
    return f"{path} contains {state}. To go on: {go_on_with(ranks, '--resume')}"


@contextmanager
def finishing(restart_file: Path | None, ranks: Ranks, console: Console) -> Iterator[list[Path]]:
    """State what is saved, and how to finish, if results cannot be written.

    Args:
        restart_file: restart file of the fit, if there is one.

    Yields:
        Files that contain the model, to be extended.
    """
    saved = [restart_file] if restart_file else []
    try:
        yield saved
    except Exception:  # of any kind, and raised again: whatever failed, the user is told that the fit is not lost
        command = go_on_with(ranks, "--resume" if restart_file else "--overwrite")
        kept = f"the fit is complete, and the model is saved in {saved[-1]}" if saved else "nothing is saved"
        with suppress(OSError):  # the log may be on the same full disk
            console.line(f"not all results are written; {kept}.\nTo write them: {command}", final=True)
        raise


def go_on_with(ranks: Ranks, option: str) -> str:
    """Return the command line of this run with an option."""
    return repeated_command(ranks.size, "--overwrite" if option == "--resume" else "--resume", option)

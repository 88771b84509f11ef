"""The folder of a run: opened only when nothing in it is lost."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fitsnap_nn.errors import InputError, Problem
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.settings import Settings
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.workflow.delivery import LOG_FILE


@contextmanager
def open_console(
    settings: Settings, ranks: Ranks, overwrite: bool, resume: bool, quiet: bool, folder: Path | None = None
) -> Iterator[Console]:
    """Open the first rank's console, once it is sure that nothing is lost by writing into the folder.

    Args:
        folder: output folder, if it is not that of the settings.

    Raises:
        InputError: the folder contains an earlier run.
    """
    folder = folder or Path(settings.output_folder)
    if not ranks.is_first:
        yield Console()
        return
    if (folder / LOG_FILE).exists() and not (overwrite or resume):
        continuing = "--resume continues it, " if folder == Path(settings.output_folder) else ""
        remedy = f"--overwrite replaces it, {continuing}[OUTFILE] folder chooses another folder."
        raise InputError([Problem(str(folder), "holds an earlier run.", remedy)])
    folder.mkdir(parents=True, exist_ok=True)
    with Console(None if quiet else sys.stdout, folder / LOG_FILE, append=resume) as console:
        yield console

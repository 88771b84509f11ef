"""The folder of a run: one process writes to it, over its own files only, and not before the run has begun."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fitsnap_nn.errors import InputError, Problem
from fitsnap_nn.export.lammps_files import names_of_copies
from fitsnap_nn.files import one_line_errors, remove_temporaries, write_text
from fitsnap_nn.folders import LOG_FILE, claim, locked, own_files, refuse_foreign_files
from fitsnap_nn.lammps.reference import with_files
from fitsnap_nn.reports.epochs import LOSS_FILE, METRICS_FILE
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.settings import Settings
from fitsnap_nn.settings.outputs import output_names, output_problems
from fitsnap_nn.training.distributed import Ranks

INPUT_FILE = "input.used.in"
# Without other files a run has ended before it had results: they are no reason to refuse the next one.
RECORDS = frozenset({LOG_FILE, INPUT_FILE, LOSS_FILE, METRICS_FILE})


def planned_names(settings: Settings) -> list[str]:
    """Return the names of the files that a fit may write, copies of potential files included."""
    folder = Path(settings.output_folder)
    _, files = with_files(settings.reference, settings.elements, Path(settings.folder))
    copies = names_of_copies(files, folder, settings.outfile.potential)
    written = [name for path, name in copies.items() if path != folder.resolve() / name]
    return list(dict.fromkeys([*output_names(settings), *written]))


def refuse_losses(folder: Path, names: Iterable[str], remedy: str = "") -> None:
    """Refuse to replace files of others, and results of an earlier run.

    Args:
        folder: output folder; it may be missing.
        names: names of the files to write.
        remedy: what the user can do about an earlier run; empty if it may be replaced.

    Raises:
        InputError: there are such files.
    """
    planned = set(names)
    refuse_foreign_files(folder, planned)
    results = own_files(folder, planned) - RECORDS
    if remedy and any((folder / name).exists() for name in results):
        raise InputError([Problem(str(folder), "holds an earlier run.", remedy)])


@contextmanager
def open_console(
    settings: Settings,
    names: Iterable[str],
    ranks: Ranks,
    overwrite: bool,
    resume: bool,
    quiet: bool,
    folder: Path | None = None,
    brief: bool = False,
) -> Iterator[Console]:
    """Lock the folder and open the first rank's console, once it is sure that nothing is lost by writing there.

    Nothing is written before `start_log`.

    Args:
        names: names of the files that the run may write.
        quiet: print nothing.
        folder: output folder, if it is not that of the settings.
        brief: print warnings and results only.

    Raises:
        InputError: the folder contains an earlier run or files of others, or another run writes to it.
        OutputError: a file cannot be written.
    """
    if not ranks.is_first:
        yield Console()
        return
    if problems := output_problems(settings):
        raise InputError(problems)
    continuing = "" if folder else "--resume continues it, "
    remedy = f"--overwrite replaces it, {continuing}[OUTFILE] folder chooses another folder."
    folder = folder or Path(settings.output_folder)
    with one_line_errors(), _existing(folder), locked(folder) as left:
        refuse_losses(folder, names, "" if overwrite or resume else remedy)
        remove_temporaries(folder, own_files(folder, names))
        with Console(None if quiet else sys.stdout, keep=True, brief=brief) as console:
            if left:
                console.line(f"note: {left}")
            yield console


@contextmanager
def _existing(folder: Path) -> Iterator[None]:
    """Create a folder; if it is empty after the block, because the run was refused, remove it again."""
    created = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        if created:
            with suppress(OSError):
                folder.rmdir()


def start_log(folder: Path, names: Iterable[str], console: Console, resume: bool = False, text: str = "") -> None:
    """Take possession of the folder: from here on the files of an earlier run are replaced.

    Args:
        names: names of the files that the run may write.
        resume: append to the log.
        text: the input.

    Raises:
        OSError: a file cannot be written.
    """
    claim(folder, set(names))
    if text:
        write_text(folder / INPUT_FILE, text)
    console.start_log(folder / LOG_FILE, append=resume)

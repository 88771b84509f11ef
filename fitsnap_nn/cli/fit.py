"""``fitsnap_nn fit``, or ``fitsnap_nn INFILE``: a fit."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn, TextIO, cast

from fitsnap_nn import interrupts
from fitsnap_nn.cli.arguments import add_input, add_overwrite, add_quiet, add_strict, load, loading
from fitsnap_nn.cli.check import report
from fitsnap_nn.errors import InputError, Problem
from fitsnap_nn.files import named_errors, one_line_errors
from fitsnap_nn.folders import is_log
from fitsnap_nn.job import job
from fitsnap_nn.launch import is_first_rank, repeated_command
from fitsnap_nn.settings import Settings
from fitsnap_nn.settings.ini import COMMAND_LINE
from fitsnap_nn.settings.outputs import data_folder_of, output_names
from fitsnap_nn.usage import Stopwatch

HELP = "fit a model, write it for LAMMPS, and verify it there"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_input(parser)
    add_overwrite(parser)
    add_strict(parser)
    add_quiet(parser)
    add = parser.add_argument
    add("--nofit", "-nf", dest="train", action="store_false", help="compute the model inputs, do not train")
    add("--resume", action="store_true", help="continue an interrupted fit from its restart file")
    add("--check", action="store_true", help="check the input and the data, compute nothing")
    add("--no-verify", dest="verify", action="store_false", help="do not compare the result with LAMMPS")
    add("--relative", "-r", action="store_true", help="put the output folder beside the input file")
    add("--log", metavar="FILE", help="append what is printed to a file: a new one, or an earlier log")
    for flags in REFUSED:
        add(*flags, nargs="?", action=_Refused, help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    if options.check:
        report(load(options), options.strict, options.quiet)
        return
    with job() as process:
        settings = process.agreed(lambda: load(options), lambda found: found.text, f"input {options.infile}")
        again = repeated_command(process.size)
        interrupts.describe(lambda: f"interrupted before the first epoch; nothing is changed. To start again: {again}")
        _fit(options, settings)


def _fit(options: argparse.Namespace, settings: Settings) -> None:
    if options.relative:
        folder = os.path.normpath(os.path.join(settings.folder, settings.output_folder))
        settings = replace(settings, outfile=replace(settings.outfile, folder=folder))
    with _copied_to(options.log, settings):
        with loading(options):
            from fitsnap_nn.workflow.pipeline import fit

        fit(
            settings,
            overwrite=options.overwrite,
            resume=options.resume,
            train=options.train,
            verify=options.verify,
            verbose=options.verbose,
            brief=options.quiet,
            strict=options.strict,
            watch=Stopwatch.of_process(),
        )


# Flags of FitSNAP that are refused, and what to use instead.
REFUSED: Mapping[tuple[str, ...], str] = MappingProxyType(
    {
        ("--lammpslog", "-l"): "Error messages contain what LAMMPS printed about them.",
        ("--tarball", "-tb"): "All files of a fit are in one folder: archive that.",
        ("--screen", "-sc"): "Redirect the output instead.",
        ("--nscreen", "-ns"): "Only the first rank prints.",
        ("--pscreen", "-ps"): "Only the first rank prints.",
        ("--screen2file", "-s2f"): "Use --log FILE, or redirect the output.",
    }
)


class _Refused(argparse.Action):
    """A flag of FitSNAP that is not supported; the error names the replacement."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> NoReturn:
        hint = REFUSED[tuple(self.option_strings)]
        raise InputError([Problem(COMMAND_LINE, f"{option} is not supported.", hint)])


@contextlib.contextmanager
def _copied_to(path: str | None, settings: Settings) -> Iterator[None]:
    """Append everything printed in the block to a file."""
    if path is None or not is_first_rank():
        yield
        return
    if problem := _log_problem(path, settings):
        raise InputError([Problem(COMMAND_LINE, f"--log {path} {problem}.", "Choose another name.")])
    with (
        one_line_errors(),
        open(path, "a", encoding="utf-8", errors="backslashreplace") as log,
        contextlib.redirect_stdout(cast(TextIO, _Tee(sys.stdout, log))),
    ):
        yield


def _log_problem(path: str, settings: Settings) -> str:
    """Return why a log file would destroy something, or cannot be written; empty if it can."""
    folder, target = os.path.dirname(path) or ".", os.path.realpath(path)
    if not os.path.isdir(folder) or os.path.isdir(path):
        return "is a folder" if os.path.isdir(path) else f"cannot be written: there is no folder {folder}"
    if target in {os.path.realpath(os.path.join(settings.output_folder, name)) for name in output_names(settings)}:
        return "is the name of an output file of this fit, whose run.log contains everything that is printed"
    if data := data_folder_of(os.path.dirname(target), settings):
        return f"is in the folder of the data, {data}"
    if os.path.isfile(path) and os.path.getsize(path) and not is_log(Path(path)):
        return "exists, and is not a log of fitsnap_nn"
    return ""


class _Tee(io.TextIOBase):
    """A stream that also writes to a log; never a terminal, so that no line is rewritten in the file."""

    def __init__(self, stream: TextIO, log: TextIO) -> None:
        self._stream = stream
        self._log = log

    def write(self, text: str) -> int:
        self._stream.write(text)
        self._log.write(text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()
        with named_errors(Path(self._log.name)):
            self._log.flush()

"""``fitsnap_nn fit``, or ``fitsnap_nn INFILE``: a fit."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NoReturn, TextIO, cast

from fitsnap_nn import interrupts
from fitsnap_nn.cli.arguments import add_input, add_overwrite, add_strict, load
from fitsnap_nn.cli.check import report
from fitsnap_nn.errors import InputError, Problem
from fitsnap_nn.job import job
from fitsnap_nn.launch import is_first_rank, repeated_command
from fitsnap_nn.settings import Settings
from fitsnap_nn.settings.ini import COMMAND_LINE

HELP = "fit a model, write it for LAMMPS, and verify it there"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_input(parser)
    add_overwrite(parser)
    add_strict(parser)
    add = parser.add_argument
    add("--nofit", "-nf", dest="train", action="store_false", help="compute the model inputs, do not train")
    add("--resume", action="store_true", help="continue an interrupted fit from its restart file")
    add("--check", action="store_true", help="check the input and the data, compute nothing")
    add("--no-verify", dest="verify", action="store_false", help="do not compare the result with LAMMPS")
    add("--relative", "-r", action="store_true", help="put the output folder beside the input file")
    add("--log", metavar="FILE", help="copy what is printed to a file")
    for flags in REFUSED:
        add(*flags, nargs="?", action=_Refused, help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    if options.check:
        report(load(options), options.strict)
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
    with _copied_to(options.log):
        from fitsnap_nn.workflow.pipeline import fit

        fit(
            settings,
            overwrite=options.overwrite,
            resume=options.resume,
            train=options.train,
            verify=options.verify,
            verbose=options.verbose,
            strict=options.strict,
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
def _copied_to(path: str | None) -> Iterator[None]:
    """Copy everything printed in the block to a file."""
    if path is None or not is_first_rank():
        yield
        return
    try:
        log = open(path, "w", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        hint = "Name a file in a folder that exists and can be written."
        raise InputError([Problem(COMMAND_LINE, f"--log {path}: {error.strerror}.", hint)]) from error
    with log, contextlib.redirect_stdout(cast(TextIO, _Tee(sys.stdout, log))):
        yield


class _Tee(io.TextIOBase):
    """A stream that writes to several; never a terminal, so that no line is rewritten in the file."""

    def __init__(self, *streams: TextIO) -> None:
        self._streams = streams

    def write(self, text: str) -> int:
        for stream in self._streams:
            stream.write(text)
        return len(text)

    def flush(self) -> None:
        for stream in self._streams:
            stream.flush()

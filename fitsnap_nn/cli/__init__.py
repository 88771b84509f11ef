"""The command line: ``python -m fitsnap_nn Ta.in`` fits; a first word that names no file is a command.

Torch, LAMMPS and ASE are imported only by the command that needs them, so a wrong input is refused at once.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import fitsnap_nn
from fitsnap_nn import interrupts
from fitsnap_nn.cli import (
    check,
    checks,
    combine,
    compare,
    doctor,
    export,
    fit,
    harvest,
    lmp,
    new,
    plugin_dir,
    report,
    show,
    test,
)
from fitsnap_nn.cli.arguments import Parser
from fitsnap_nn.errors import InputError, Problem
from fitsnap_nn.job import job, outcome
from fitsnap_nn.launch import is_first_rank
from fitsnap_nn.settings.ini import COMMAND_LINE
from fitsnap_nn.settings.keys import did_you_mean
from fitsnap_nn.terminal import make_printable


class Command(Protocol):
    """A module of this package that implements one command."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, options: argparse.Namespace) -> None: ...


PARALLEL = ("fit", "test", "checks", "combine")  # commands whose ranks share their work
COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "fit": fit,
        "check": check,
        "test": test,
        "checks": checks,
        "export": export,
        "combine": combine,
        "report": report,
        "compare": compare,
        "show": show,
        "harvest": harvest,
        "new": new,
        "doctor": doctor,
        "plugin-dir": plugin_dir,
        "lmp": lmp,
    }
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code, 0 for success."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        make_printable(stream)
    with interrupts.handled():
        return _main(arguments)


def _main(arguments: list[str]) -> int:
    try:
        _run(arguments)
    except BrokenPipeError:
        # The reader, head for instance, has closed the pipe; discard what is still buffered.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (Exception, KeyboardInterrupt) as error:
        code, text = outcome(error, verbose="-v" in arguments or "--verbose" in arguments)
        # All ranks of an MPI job read the same input, so one reports. Later errors may be of one rank alone.
        if is_first_rank() or not isinstance(error, InputError):
            sys.stderr.write(text)
        return code
    return 0


def _run(arguments: list[str]) -> None:
    """Run a command, together with the other ranks if it is one of those that share their work."""
    options: argparse.Namespace | InputError
    try:
        options = _parsed(arguments)
    except InputError as error:
        options = error
    if isinstance(options, argparse.Namespace) and (not options.parallel or getattr(options, "check", False)):
        options.run(options)
        return
    with job() as process:
        chosen = process.agreed(lambda: _valid(options), _identity, "command and version of fitsnap_nn")
        chosen.run(chosen)


def _identity(options: argparse.Namespace) -> tuple[str, str]:
    """Return what has to be the same on all ranks before they start anything: command and version."""
    return options.run.__module__, fitsnap_nn.__version__


def _valid(options: argparse.Namespace | InputError) -> argparse.Namespace:
    if isinstance(options, InputError):
        raise options
    return options


def _parsed(arguments: list[str]) -> argparse.Namespace:
    """Return the command and its options; everything after ``lmp`` belongs to LAMMPS, -h and -v included."""
    if arguments[:1] == ["lmp"]:
        return argparse.Namespace(run=lmp.run, arguments=arguments[1:], parallel=False)
    return _parser().parse_args(_with_command(arguments))


def _with_command(arguments: list[str]) -> list[str]:
    """Add ``fit`` where the first argument is not a command."""
    if not arguments:
        return ["--help"]
    first = arguments[0]
    if first in (*COMMANDS, "-h", "--help", "--version"):
        return arguments
    hint = did_you_mean(first, COMMANDS)
    if hint and not first.startswith("-") and not os.path.exists(first):
        raise InputError([Problem(COMMAND_LINE, f"{first} is neither a file nor a command.", hint)])
    return ["fit", *arguments]


def _parser() -> argparse.ArgumentParser:
    short = "`fitsnap_nn INFILE` is short for `fitsnap_nn fit INFILE`."
    description = f"Fit neural-network and linear potentials for LAMMPS. {short}"
    parser = Parser(prog="fitsnap_nn", description=description, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"fitsnap_nn {fitsnap_nn.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(name, help=command.HELP, description=command.HELP, allow_abbrev=False)
        subparser.set_defaults(run=command.run, parallel=name in PARALLEL)
        command.add_arguments(subparser)
        subparser.add_argument("-v", "--verbose", action="store_true", help="print more; show tracebacks of errors")
    return parser

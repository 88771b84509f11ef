"""The command line: ``python -m fitsnap_nn Ta.in`` fits; other words than a file's name are commands.

Torch, LAMMPS and ASE are imported only by the command that needs them, so a wrong input is refused at once.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NoReturn, TextIO, cast

import fitsnap_nn
from fitsnap_nn.errors import FitsnapError, InputError, Problem
from fitsnap_nn.launch import is_first_rank
from fitsnap_nn.settings import Settings, load_settings, outline
from fitsnap_nn.settings.ini import COMMAND_LINE
from fitsnap_nn.settings.keys import did_you_mean

# Flags of FitSNAP that are refused, and what to use instead.
REFUSED: Mapping[tuple[str, ...], str] = MappingProxyType(
    {
        ("--lammpslog", "-l"): "What LAMMPS says about an error is part of the error.",
        ("--tarball", "-tb"): "All files of a fit are in one folder: tar that.",
        ("--screen", "-sc"): "Redirect the output instead.",
        ("--nscreen", "-ns"): "Only the first rank prints.",
        ("--pscreen", "-ps"): "Only the first rank prints.",
        ("--screen2file", "-s2f"): "Write --log FILE, or redirect the output.",
    }
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code, 0 when all went well."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    verbose = "-v" in arguments or "--verbose" in arguments
    try:
        options = _parsed(arguments)
        options.handler(options)
    except FitsnapError as error:
        # All ranks of an MPI job read the same input: one speaks. Later errors may be of one rank alone.
        if is_first_rank() or not isinstance(error, InputError):
            trace = traceback.format_exc() if verbose else ""
            separator = "\n" if isinstance(error, InputError) else " "
            # In one piece, which those of other ranks cannot part.
            sys.stderr.write(f"{trace}error:{separator}{error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read the output, head for instance, has had enough; what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception:
        please = "This is a fault of fitsnap_nn: please report it, with the lines above and the input."
        sys.stderr.write(f"{traceback.format_exc()}{please}\n")
        return 1
    return 0


def _say(text: str) -> None:
    if is_first_rank():
        print(text, flush=True)


def _fit(options: argparse.Namespace) -> None:
    settings = _load(options)
    if options.check:
        _report_check(settings)
        return
    if options.relative:
        folder = os.path.normpath(os.path.join(settings.folder, settings.output_folder))
        settings = replace(settings, outfile=replace(settings.outfile, folder=folder))
    from fitsnap_nn.workflow.pipeline import fit

    with _copied_to(options.log):
        fit(
            settings,
            overwrite=options.overwrite,
            resume=options.resume,
            train=options.train,
            verify=options.verify,
            verbose=options.verbose,
        )


def _check(options: argparse.Namespace) -> None:
    _report_check(_load(options))


def _report_check(settings: Settings) -> None:
    _say(outline(settings))
    for notice in settings.notices:
        _say(notice)
    from fitsnap_nn.workflow.pipeline import check

    _say(check(settings))


def _test(options: argparse.Namespace) -> None:
    settings = _load(options)
    model = options.model or os.path.join(settings.output_folder, settings.pytorch.output_file)
    from fitsnap_nn.workflow.pipeline import evaluate

    evaluate(settings, model, overwrite=options.overwrite)


def _export(options: argparse.Namespace) -> None:
    from fitsnap_nn.export.export import export

    for path in export(options.model, options.folder, overwrite=options.overwrite):
        _say(path)


def _show(options: argparse.Namespace) -> None:
    from fitsnap_nn.export.model_file import describe_model

    _say(describe_model(options.model))


def _doctor(options: argparse.Namespace) -> None:
    from fitsnap_nn.lammps.doctor import report

    if options.rebuild:
        from fitsnap_nn.plugin.build import rebuild

        _say(f"LAMMPS plugin built in {rebuild()}")
    _say(report())


def _plugin_dir(options: argparse.Namespace) -> None:
    from fitsnap_nn.plugin import plugin_dir

    _say(str(plugin_dir()))


def _lmp(options: argparse.Namespace) -> None:
    from fitsnap_nn.plugin.lmp import run_lammps

    sys.exit(run_lammps(options.arguments))


def _new(options: argparse.Namespace) -> None:
    from fitsnap_nn.settings.template import write_template

    groups = write_template(options.infile, options.model, options.elements, options.data, options.every_key)
    _say(f"{options.infile} written, {groups} group rows. Next: python -m fitsnap_nn check {options.infile}")


def _load(options: argparse.Namespace) -> Settings:
    return load_settings(options.infile, [tuple(triple) for triple in options.overrides])


@contextlib.contextmanager
def _copied_to(path: str | None) -> Iterator[None]:
    """Let all that is printed meanwhile also go to a file."""
    if path is None or not is_first_rank():
        yield
        return
    with open(path, "w", encoding="utf-8") as log, contextlib.redirect_stdout(cast(TextIO, _Tee(sys.stdout, log))):
        yield


class _Tee(io.TextIOBase):
    """A stream that hands on what it gets to several; never a terminal, so nothing is rewritten in the file."""

    def __init__(self, *streams: TextIO) -> None:
        self._streams = streams

    def write(self, text: str) -> int:
        for stream in self._streams:
            stream.write(text)
        return len(text)

    def flush(self) -> None:
        for stream in self._streams:
            stream.flush()


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are the package's."""

    def error(self, message: str) -> NoReturn:
        raise InputError([Problem(COMMAND_LINE, f"{message}.", f"See {self.prog} --help.")])


class _Refused(argparse.Action):
    """A flag of FitSNAP that is not here; says what to do instead."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> NoReturn:
        raise InputError([Problem(COMMAND_LINE, f"{option} is not taken here.", REFUSED[tuple(self.option_strings)])])


def _assignment(text: str) -> tuple[str, str, str]:
    """``SECTION.key=value``."""
    name, equals, value = text.partition("=")
    section, dot, key = name.partition(".")
    if not (equals and dot and section and key.strip()):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form SECTION.key=value")
    return section.strip(), key.strip(), value.strip()


def _parsed(arguments: list[str]) -> argparse.Namespace:
    """The command and its options; what follows ``lmp`` is LAMMPS' own, -h and -v included."""
    if arguments[:1] == ["lmp"]:
        return argparse.Namespace(handler=_lmp, arguments=arguments[1:])
    return _parser().parse_args(_with_command(arguments))


def _with_command(arguments: list[str]) -> list[str]:
    """``fit`` is understood when the first argument is none of the commands."""
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
    description = "Fit neural-network potentials for LAMMPS. `fitsnap_nn INFILE` is short for `fitsnap_nn fit INFILE`."
    parser = _Parser(prog="fitsnap_nn", description=description, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"fitsnap_nn {fitsnap_nn.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(name, help=command.help, description=command.help, allow_abbrev=False)
        subparser.set_defaults(handler=command.handler)
        command.add_arguments(subparser)
        subparser.add_argument("-v", "--verbose", action="store_true", help="say more; show where an error arose")
    return parser


def _add_input(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("infile", help="input file")
    text = "set a key, over what the input file says"
    names = ("SECTION", "KEY", "VALUE")
    add = functools.partial(parser.add_argument, dest="overrides", action="append", default=[], help=text)
    add("-k", "--keyword", nargs=3, metavar=names)
    add("--set", type=_assignment, metavar="SECTION.KEY=VALUE")


def _add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="write over files that are there")


def _add_fit(parser: argparse.ArgumentParser) -> None:
    _add_input(parser)
    _add_overwrite(parser)
    add = parser.add_argument
    add("--nofit", "-nf", dest="train", action="store_false", help="compute the descriptors, do not train")
    add("--resume", action="store_true", help="go on from the restart file of an interrupted fit")
    add("--check", action="store_true", help="check the input and the data, compute nothing")
    add("--no-verify", dest="verify", action="store_false", help="do not compare the result with LAMMPS")
    add("--relative", "-r", action="store_true", help="put the output folder beside the input file")
    add("--log", metavar="FILE", help="copy what is printed to a file")
    for flags in REFUSED:
        add(*flags, nargs="?", action=_Refused, help=argparse.SUPPRESS)


def _add_test(parser: argparse.ArgumentParser) -> None:
    _add_input(parser)
    _add_overwrite(parser)
    parser.add_argument("--model", help="model or restart file; that of the input's own fit if not given")


def _add_export(parser: argparse.ArgumentParser) -> None:
    _add_overwrite(parser)
    parser.add_argument("model", help="model or restart file")
    parser.add_argument("folder", nargs="?", default=".", help="where to write; the working folder if not given")


def _add_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="model or restart file")


def _add_new(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("infile", help="input file to write; it must not exist")
    add("--elements", nargs="+", required=True, metavar="El", help="chemical symbols, in the order of LAMMPS' types")
    add("--data", required=True, metavar="PATH", help="folder with one folder or file for each group, or an XYZ file")
    add("--model", default="BPNN", help="architecture")
    add("--every-key", action="store_true", help="list the keys that keep their defaults too, as comments")


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rebuild", action="store_true", help="compile the LAMMPS plugin first")


def _add_lmp(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("arguments", nargs="*", help="arguments of LAMMPS, such as -in FILE")


def _add_nothing(parser: argparse.ArgumentParser) -> None:
    """For a command without arguments."""


@dataclass(frozen=True)
class Command:
    """One command: what runs it, what adds its arguments to a parser, and its line of help."""

    handler: Callable[[argparse.Namespace], None]
    add_arguments: Callable[[argparse.ArgumentParser], None]
    help: str


COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "fit": Command(_fit, _add_fit, "fit a model, write it for LAMMPS, and compare the two"),
        "check": Command(_check, _add_input, "check an input and its data; compute nothing"),
        "test": Command(_test, _add_test, "errors of a fitted model on the data of an input"),
        "export": Command(_export, _add_export, "write the LAMMPS files of a model"),
        "show": Command(_show, _add_show, "say what a model file holds"),
        "new": Command(_new, _add_new, "write an input file for a folder of data"),
        "doctor": Command(_doctor, _add_doctor, "say what this machine and its LAMMPS can do"),
        "plugin-dir": Command(
            _plugin_dir, _add_nothing, "print the folder of the LAMMPS plugin, for LAMMPS_PLUGIN_PATH"
        ),
        "lmp": Command(_lmp, _add_lmp, "run LAMMPS in this Python, where `lmp` cannot start Python by itself"),
    }
)

"""Arguments that several commands share, and how errors in them are reported."""

from __future__ import annotations

import argparse
import functools
from contextlib import AbstractContextManager
from typing import Any, NoReturn

from fitsnap_nn.errors import InputError, Problem
from fitsnap_nn.launch import is_first_rank
from fitsnap_nn.settings import Settings, load_settings
from fitsnap_nn.settings.ini import COMMAND_LINE, WeightsFrom
from fitsnap_nn.terminal import announced


class Parser(argparse.ArgumentParser):
    """A parser that raises `InputError` for wrong arguments."""

    def error(self, message: str) -> NoReturn:
        raise InputError([Problem(COMMAND_LINE, f"{message}.", f"See {self.prog} --help.")])


def say(text: str) -> None:
    """Print on the first rank."""
    if is_first_rank():
        print(text, flush=True)


def add_input(parser: argparse.ArgumentParser) -> None:
    """Add the input file, and the options that override its keys."""
    parser.add_argument("infile", help="input file")
    add_overrides(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add the options that override keys of the input file."""
    add: Any = functools.partial(
        parser.add_argument,
        dest="overrides",
        action="append",
        default=[],
        help="set a key; takes precedence over the input file",
    )
    add("-k", "--keyword", nargs=3, metavar=("SECTION", "KEY", "VALUE"))
    add("--set", type=assignment, metavar="SECTION.KEY=VALUE")


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add the option that allows replacing files."""
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add the option that limits the output to warnings, errors and results."""
    parser.add_argument("-q", "--quiet", action="store_true", help="print warnings, errors and results only")


def loading(options: argparse.Namespace, what: str = "torch") -> AbstractContextManager[None]:
    """Say that libraries or files are read, if the block takes long."""
    return announced(f"loading {what}", getattr(options, "quiet", False))


def add_strict(parser: argparse.ArgumentParser) -> None:
    """Add the option that turns warnings about the data into errors."""
    parser.add_argument("--strict", action="store_true", help="treat warnings about the data as errors")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the model file."""
    parser.add_argument("model", help="model or restart file")


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add the option that lets the reference potential in a model file run code."""
    text = "allow a reference potential that runs code or names files outside the model file; for trusted files only"
    parser.add_argument("--trust", action="store_true", help=text)


def trusted(options: argparse.Namespace) -> dict[str, bool]:
    """Return the keyword argument of `add_trust`, if the option is given."""
    return {"trust": True} if options.trust else {}


def load(options: argparse.Namespace) -> Settings:
    """Return the settings of the input file, with the keys that the command line sets.

    Raises:
        InputError: with every problem of both.
    """
    weights_from: WeightsFrom = "restart file" if getattr(options, "resume", False) else "input"
    return load_settings(options.infile, [tuple(triple) for triple in options.overrides], weights_from=weights_from)


def assignment(text: str) -> tuple[str, str, str]:
    """Split ``SECTION.key=value``."""
    name, equals, value = text.partition("=")
    section, dot, key = name.partition(".")
    if not (equals and dot and section and key.strip()):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form SECTION.key=value")
    return section.strip(), key.strip(), value.strip()

"""``fitsnap_nn new``: an input file for data, with values derived from them."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

from fitsnap_nn.cli.arguments import add_quiet, assignment, say
from fitsnap_nn.errors import InputError, Problem, counted
from fitsnap_nn.files import one_line_errors, write_text
from fitsnap_nn.settings.elements import SYMBOLS
from fitsnap_nn.settings.files import nearest
from fitsnap_nn.settings.ini import COMMAND_LINE
from fitsnap_nn.settings.load import load_scraper
from fitsnap_nn.settings.problems import did_you_mean
from fitsnap_nn.settings.template import known_models, render_template
from fitsnap_nn.terminal import announced

HELP = "write an input file for a folder or file of data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("infile", help="input file to write; it must not exist")
    add("--data", required=True, metavar="PATH", help="folder with one folder or file for each group, or one file")
    add(
        "--elements",
        nargs="+",
        default=(),
        metavar="El",
        help="chemical symbols, in the order of LAMMPS' types; default: those of the data in alphabetical order",
    )
    add("--model", default="BPNN", help=f"architecture: {', '.join(known_models())}")
    add(
        "--set",
        dest="conventions",
        type=assignment,
        action="append",
        default=[],
        metavar="SCRAPER.KEY=VALUE",
        help="name, unit or sign of labels in the files, as in section [SCRAPER]: energy_key, property_array, ...",
    )
    add_quiet(parser)
    add("--every-key", action="store_true", help="list the keys that keep their defaults too, as comments")


def run(options: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        InputError: the file exists already, or an element, the model or the data do not exist.
        DataError: the data cannot be used.
    """
    if problems := _problems(options):
        raise InputError(problems)
    conventions = load_scraper(options.conventions)
    with announced("reading the data", options.quiet):
        from fitsnap_nn.data.exploration import explore

        reading = explore(Path(options.data), say, conventions)
    with announced("examining the data", options.quiet):
        from fitsnap_nn.data.proposal import propose

        proposal = propose(reading, options.model, options.elements, os.path.dirname(options.infile) or ".")
    content = proposal.content
    stated = {"SCRAPER": {key: value for _, key, value in options.conventions}}
    content = replace(content, values={**content.values, **stated})
    text = render_template(options.model, proposal.elements, content, every_key=options.every_key)
    with one_line_errors():
        write_text(Path(options.infile), text)
    for line in () if options.quiet else proposal.lines:
        say(line)
    rows = counted(len(content.rows), "group row")
    say(f"{options.infile} written, {rows}. Next: python -m fitsnap_nn check {options.infile}")


def _problems(options: argparse.Namespace) -> list[Problem]:
    problems = [
        Problem(COMMAND_LINE, f"{symbol} is not a chemical element.", did_you_mean(symbol, SYMBOLS))
        for symbol in options.elements
        if symbol not in SYMBOLS
    ]
    if twice := [symbol for symbol in dict.fromkeys(options.elements) if options.elements.count(symbol) > 1]:
        problems.append(Problem(COMMAND_LINE, f"--elements lists {' '.join(twice)} more than once."))
    if options.model not in known_models():
        hint = did_you_mean(options.model, known_models()) or f"Known models: {', '.join(known_models())}."
        problems.append(Problem(COMMAND_LINE, f"unknown model {options.model}.", hint))
    if not os.path.exists(options.data):
        problems.append(Problem(options.data, "no such file or folder.", nearest(options.data)))
    folder = os.path.dirname(options.infile) or "."
    if not os.path.isdir(folder):
        problems.append(Problem(options.infile, f"there is no folder {folder}.", "Create it, or choose another name."))
    if os.path.lexists(options.infile):
        problems.append(Problem(options.infile, "exists already and is not overwritten.", "Choose another name."))
    return problems

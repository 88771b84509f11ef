"""``fitsnap_nn new``: input files for data, with values derived from them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
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

HELP = "write an input file for a folder or file of data, or one for each of several architectures"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    text = "input file to write; it must not exist. NAME_MODEL.in for each of several architectures"
    add("infile", nargs="?", default="", help=text)
    add("--data", required=True, metavar="PATH", help="folder with one folder or file for each group, or one file")
    add(
        "--elements",
        nargs="+",
        default=(),
        metavar="El",
        help="chemical symbols, in the order of LAMMPS' types; default: those of the data in alphabetical order",
    )
    text = f"architecture, or several: {', '.join(known_models())}"
    add("--model", nargs="+", default=["BPNN"], metavar="MODEL", help=text)
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
    options.infile = options.infile or _infile_after_lists(options)
    models, files = tuple(options.model), _files(options.infile, options.model)
    if problems := _problems(options, files):
        raise InputError(problems)
    conventions = load_scraper(options.conventions)
    with announced("reading the data", options.quiet):
        from fitsnap_nn.data.exploration import explore

        reading = explore(Path(options.data), say, conventions)
    with announced("examining the data", options.quiet):
        from fitsnap_nn.data.proposal import examine, propose

        survey = examine(reading, options.elements)
        proposals = [propose(survey, model, os.path.dirname(options.infile) or ".") for model in models]
    stated = {"SCRAPER": {key: value for _, key, value in options.conventions}}
    said: list[str] = []
    for model, file, proposal in zip(models, files, proposals, strict=True):
        content = replace(proposal.content, values={**proposal.content.values, **stated})
        text = render_template(model, proposal.elements, content, every_key=options.every_key)
        with one_line_errors():
            write_text(Path(file), text)
        others = [line for line in proposal.lines if line not in said]
        for line in () if options.quiet else others:
            say(f"{model}: {line}" if said else line)
        said += others
        say(f"{file} written, {counted(len(content.rows), 'group row')}.")
    say(_next_step(options.infile, models, files))


def _infile_after_lists(options: argparse.Namespace) -> str:
    """Take the name of the input from the end of a list that it follows, as in ``new --model ACE MACE Ta.in``.

    Raises:
        InputError: no list ends with one.
    """
    for name in ("model", "elements"):
        *values, last = getattr(options, name) or ("",)
        if last.endswith(".in") and (values or name == "elements"):
            setattr(options, name, values)
            return str(last)
    hint = "Name it first: new Ta.in --data DATA."
    raise InputError([Problem(COMMAND_LINE, "no name for the input is given.", hint)])


def _files(infile: str, models: Sequence[str]) -> list[str]:
    """Return the names of the inputs of architectures."""
    if len(models) == 1:
        return [infile]
    path = Path(infile)
    return [str(path.with_name(f"{path.stem}_{model}{path.suffix or '.in'}")) for model in models]


def _next_step(infile: str, models: Sequence[str], files: Sequence[str]) -> str:
    """Return what to do with the inputs."""
    if len(models) == 1:
        return "\n".join(f"Next: python -m fitsnap_nn check {file}" for file in files)
    mean = Path(infile).with_name(f"{Path(infile).stem}_mean")
    return f"To fit all and combine them: python -m fitsnap_nn combine {' '.join(files)} -o {mean}"


def _problems(options: argparse.Namespace, files: Sequence[str]) -> list[Problem]:
    problems = [
        Problem(COMMAND_LINE, f"{symbol} is not a chemical element.", did_you_mean(symbol, SYMBOLS))
        for symbol in options.elements
        if symbol not in SYMBOLS
    ]
    if twice := [symbol for symbol in dict.fromkeys(options.elements) if options.elements.count(symbol) > 1]:
        problems.append(Problem(COMMAND_LINE, f"--elements lists {' '.join(twice)} more than once."))
    for model in options.model:
        if model not in known_models():
            hint = did_you_mean(model, known_models()) or f"Known models: {', '.join(known_models())}."
            problems.append(Problem(COMMAND_LINE, f"unknown model {model}.", hint))
    if twice := [model for model in dict.fromkeys(options.model) if options.model.count(model) > 1]:
        problems.append(Problem(COMMAND_LINE, f"--model lists {' '.join(twice)} more than once."))
    if not os.path.exists(options.data):
        problems.append(Problem(options.data, "no such file or folder.", nearest(options.data)))
    folder = os.path.dirname(options.infile) or "."
    if not os.path.isdir(folder):
        problems.append(Problem(options.infile, f"there is no folder {folder}.", "Create it, or choose another name."))
    for file in files:
        if os.path.lexists(file):
            problems.append(Problem(file, "exists already and is not overwritten.", "Choose another name."))
    return problems

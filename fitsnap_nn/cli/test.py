"""``fitsnap_nn test``: errors and predictions of a fitted model."""

from __future__ import annotations

import argparse
import zipfile

from fitsnap_nn.cli.arguments import add_overrides, add_overwrite, add_quiet, add_trust, loading, trusted
from fitsnap_nn.errors import InputError, Problem
from fitsnap_nn.files import is_text
from fitsnap_nn.settings.ini import COMMAND_LINE

HELP = "errors and predictions of a fitted model, on the data of an input or on data files"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("target", metavar="INPUT|MODEL", help="input file; or model or restart file, before data files")
    parser.add_argument("files", nargs="*", metavar="FILE", help="data files of any format, which need no input file")
    add_overrides(parser)
    add_overwrite(parser)
    add_trust(parser)
    add_quiet(parser)
    parser.add_argument("--model", help="with INPUT: model or restart file; by default that of the input's own fit")
    text = "with data files: folder for a report with pictures (report.html); compare reads such folders"
    parser.add_argument("--report", metavar="FOLDER", help=text)
    parser.add_argument("-o", "--output", metavar="FILE", help="write labels and predictions as extended XYZ")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    _check(options)
    with loading(options):
        from fitsnap_nn.workflow.evaluation import evaluate_files, evaluate_input

    writing = {"output": options.output, "overwrite": options.overwrite, "brief": options.quiet, **trusted(options)}
    if options.files:
        evaluate_files(options.target, options.files, report=options.report, **writing)
    else:
        evaluate_input(options.target, [tuple(triple) for triple in options.overrides], options.model, **writing)


def _check(options: argparse.Namespace) -> None:
    """Refuse combinations of arguments that neither form of the command has."""
    if options.files:
        given = {"--model": options.model, "-k and --set": options.overrides}
        if wrong := [name for name, value in given.items() if value]:
            what = f"{' and '.join(wrong)} cannot be combined with data files, which are tested without an input."
            raise InputError([Problem(COMMAND_LINE, what, "Use test MODEL FILE ... -o predictions.xyz.")])
        if is_text(options.target):
            what = f"{options.target} is a text file, not a model or restart file."
            hint = "Use test MODEL FILE ..., or test INPUT --model MODEL."
            raise InputError([Problem(COMMAND_LINE, what, hint)])
    elif options.report:
        what = "--report is for data files: the test of an input writes its files to the folder of the fit."
        raise InputError([Problem(COMMAND_LINE, what, "Use test MODEL FILE ... --report FOLDER.")])
    elif zipfile.is_zipfile(options.target):
        what = f"{options.target} is a model without data to test it on."
        hint = f"Add data files, or use test INPUT --model {options.target}."
        raise InputError([Problem(COMMAND_LINE, what, hint)])

"""``fitsnap_nn compare``: fits side by side."""

from __future__ import annotations

import argparse

from fitsnap_nn.errors import InputError, Problem
from fitsnap_nn.settings.ini import COMMAND_LINE

HELP = "compare finished fits: errors by group, settings, verdicts, speed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("folders", metavar="DIR", nargs="+", help="output folders of at least two fits")
    parser.add_argument("-o", "--output", metavar="FILE", default="compare.html", help="page to write (compare.html)")


def run(options: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        InputError: there are fewer than two folders, or one is not that of a finished fit.
    """
    if len(options.folders) < 2:
        what = "compare needs at least two output folders."
        raise InputError([Problem(COMMAND_LINE, what, "A single fit has a report: see `report DIR`.")])
    from fitsnap_nn.cli.arguments import say
    from fitsnap_nn.workflow.report_again import compare_fits

    say(compare_fits(options.folders, options.output))

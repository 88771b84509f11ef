"""``fitsnap_nn report``: the report of a fit, again, from the files of its output folder."""

from __future__ import annotations

import argparse

from fitsnap_nn.cli.arguments import say

HELP = "write report.html and the pictures of a finished fit again; no data are needed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("folder", metavar="DIR", help="output folder of a fit")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from fitsnap_nn.workflow.report_again import report_again

    say(f"written: {report_again(options.folder)}")

"""``fitsnap_nn combine``: one potential that is the weighted mean of several."""

from __future__ import annotations

import argparse

from fitsnap_nn.cli.arguments import add_overwrite, add_quiet, add_trust, loading, trusted

HELP = "write the weighted mean of several models (a committee) as one potential; fit them first if necessary"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_overwrite(parser)
    add_trust(parser)
    add_quiet(parser)
    add = parser.add_argument
    text = "model or restart files, of one architecture or of several; or inputs, which are fitted if necessary"
    add("sources", nargs="+", metavar="MODEL|INPUT", help=text)
    add("-o", "--output", required=True, metavar="FOLDER", help="folder for the model file and the files for LAMMPS")
    text = "data files of the fits, to choose weights and to calibrate the uncertainty; default: those of the input"
    add("--data", nargs="+", default=[], metavar="FILE", help=text)
    add("--equal", action="store_true", help="give all members the same weight")
    add("--name", default="", help="beginning of the file names; by default that of the first model")
    add("--resume", action="store_true", help="continue interrupted fits of inputs")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    with loading(options):
        from fitsnap_nn.workflow.combine import combine_models

    combine_models(
        options.sources,
        options.output,
        data=options.data,
        name=options.name,
        equal=options.equal,
        overwrite=options.overwrite,
        resume=options.resume,
        brief=options.quiet,
        **trusted(options),
    )

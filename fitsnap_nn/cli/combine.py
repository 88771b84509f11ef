"""``fitsnap_nn combine``: one potential that is the mean of several."""

from __future__ import annotations

import argparse

from fitsnap_nn.cli.arguments import add_overwrite, add_quiet, add_trust, loading, trusted

HELP = "write the mean of several fitted models, a committee, as one potential"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_overwrite(parser)
    add_trust(parser)
    add_quiet(parser)
    add = parser.add_argument
    add("models", nargs="+", metavar="MODEL", help="model or restart files, of one architecture or of several")
    add("-o", "--output", required=True, metavar="FOLDER", help="folder for the model file and the files for LAMMPS")
    text = "data files of the fits, to compare the errors and to calibrate the uncertainty on the validation set"
    add("--data", nargs="+", default=[], metavar="FILE", help=text)
    add("--name", default="", help="beginning of the file names; by default that of the first model")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    with loading(options):
        from fitsnap_nn.workflow.combine import combine_models

    combine_models(
        options.models,
        options.output,
        data=options.data,
        name=options.name,
        overwrite=options.overwrite,
        brief=options.quiet,
        **trusted(options),
    )

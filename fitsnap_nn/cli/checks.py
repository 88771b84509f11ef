"""``fitsnap_nn checks``: is a potential fit for molecular dynamics?"""

from __future__ import annotations

import argparse
import math

from fitsnap_nn.cli.arguments import add_overwrite, add_trust, trusted

HELP = "check in LAMMPS that a potential is suitable for molecular dynamics"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("target", metavar="MODEL|FOLDER", help="model or restart file, or the output folder of a fit")
    data = "data files of any format; by default the data of the fit, if they are where its input names them"
    parser.add_argument("files", nargs="*", metavar="FILE", help=data)
    parser.add_argument(
        "--time",
        type=_seconds,
        metavar="SECONDS",
        help="limit for all checks, default 180; runs are shortened to fit in, and the checks say so",
    )
    add_overwrite(parser)
    add_trust(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        MdCheckError: a check failed.
    """
    from fitsnap_nn.workflow.md_checks import check_model

    limit = {} if options.time is None else {"limit": options.time}
    check_model(options.target, options.files, overwrite=options.overwrite, **limit, **trusted(options))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 10.0 <= seconds <= 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not a number between 10 and 1000000 seconds")
    return seconds

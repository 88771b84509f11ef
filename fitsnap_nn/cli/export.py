"""``fitsnap_nn export``: LAMMPS files of a model."""

from __future__ import annotations

import argparse

from fitsnap_nn.cli.arguments import add_model, add_overwrite, say

HELP = "write the LAMMPS files of a model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_overwrite(parser)
    add_model(parser)
    parser.add_argument("folder", nargs="?", default=".", help="where to write; by default the working folder")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from fitsnap_nn.export.export import export

    for path in export(options.model, options.folder, overwrite=options.overwrite):
        say(path)

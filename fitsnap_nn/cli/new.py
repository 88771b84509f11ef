"""``fitsnap_nn new``: an input file for a folder of data."""

from __future__ import annotations

import argparse

from fitsnap_nn.cli.arguments import say

HELP = "write an input file for a folder of data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("infile", help="input file to write; it must not exist")
    add("--elements", nargs="+", required=True, metavar="El", help="chemical symbols, in the order of LAMMPS' types")
    add("--data", required=True, metavar="PATH", help="folder with one folder or file for each group, or an XYZ file")
    add("--model", default="BPNN", help="architecture")
    add("--every-key", action="store_true", help="list the keys that keep their defaults too, as comments")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from fitsnap_nn.settings.template import write_template

    groups = write_template(options.infile, options.model, options.elements, options.data, options.every_key)
    say(f"{options.infile} written, {groups} group rows. Next: python -m fitsnap_nn check {options.infile}")

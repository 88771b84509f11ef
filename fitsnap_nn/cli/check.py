"""``fitsnap_nn check``: check an input and its data."""

from __future__ import annotations

import argparse
import sys

from fitsnap_nn.cli.arguments import add_input, add_quiet, add_strict, load, say
from fitsnap_nn.launch import is_first_rank
from fitsnap_nn.settings import Settings, outline
from fitsnap_nn.terminal import announced

HELP = "check an input and its data; compute nothing"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_input(parser)
    add_strict(parser)
    add_quiet(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    report(load(options), options.strict, options.quiet)


def report(settings: Settings, strict: bool, quiet: bool = False) -> None:
    """Print a summary of an input, the notices about it, and its data; only warnings if ``quiet``.

    Raises:
        DataError: the data cannot be used, or ``strict`` and there are warnings about them.
    """
    if not quiet:
        say("\n".join([outline(settings), *settings.notices]))
    with announced("loading torch", quiet):
        from fitsnap_nn.data.findings import refuse
        from fitsnap_nn.reports.runlog import Console
        from fitsnap_nn.workflow.pipeline import check

    with Console(sys.stdout if is_first_rank() else None, brief=quiet) as console:
        found = check(settings, console)
        console.line(str(found))
    if strict:
        refuse(found.warnings)

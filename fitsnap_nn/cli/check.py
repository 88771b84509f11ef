"""``fitsnap_nn check``: check an input and its data."""

from __future__ import annotations

import argparse

from fitsnap_nn.cli.arguments import add_input, load, say
from fitsnap_nn.settings import Settings, outline

HELP = "check an input and its data; compute nothing"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_input(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    report(load(options))


def report(settings: Settings) -> None:
    """Print a summary of an input, the notices about it, and its data.

    Raises:
        DataError: the data cannot be used.
    """
    say(outline(settings))
    for notice in settings.notices:
        say(notice)
    from fitsnap_nn.workflow.pipeline import check

    say(check(settings))

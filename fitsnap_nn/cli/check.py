"""``fitsnap_nn check``: check an input and its data."""

from __future__ import annotations

import argparse

from fitsnap_nn.cli.arguments import add_input, add_strict, load, say
from fitsnap_nn.settings import Settings, outline

HELP = "check an input and its data; compute nothing"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_input(parser)
    add_strict(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    report(load(options), options.strict)


def report(settings: Settings, strict: bool) -> None:
    """Print a summary of an input, the notices about it, and its data.

    Raises:
        DataError: the data cannot be used, or ``strict`` and there are warnings about them.
    """
    say(outline(settings))
    for notice in settings.notices:
        say(notice)
    from fitsnap_nn.data.findings import refuse
    from fitsnap_nn.workflow.pipeline import check

    found = check(settings)
    say(str(found))
    if strict:
        refuse(found.warnings)

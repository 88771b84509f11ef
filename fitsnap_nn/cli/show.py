"""``fitsnap_nn show``: contents of a model file."""

from __future__ import annotations

import argparse

from fitsnap_nn.cli.arguments import add_model, add_trust, loading, say, trusted

HELP = "describe a model file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_model(parser)
    add_trust(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    with loading(options, options.model):
        from fitsnap_nn.export.card import describe_model

        text = describe_model(options.model, **trusted(options))
    say(text)

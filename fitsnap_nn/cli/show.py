"""``fitsnap_nn show``: contents of a model file."""

from __future__ import annotations

import argparse

from fitsnap_nn.cli.arguments import add_trust, loading, say, trusted
from fitsnap_nn.settings.files import MACE_SUFFIX

HELP = "describe a model file: model, data, errors, and how to run it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    text = "model or restart file, or a .model file of mace-torch, which must come from a trusted source"
    parser.add_argument("model", help=text)
    add_trust(parser)
    parser.add_argument("--head", default="", help="head of a .model file, if it has several")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    if options.model.endswith(MACE_SUFFIX):
        say(f"note: code stored in {options.model} is run to read it; use files from trusted sources only")
    with loading(options, options.model):
        from fitsnap_nn.export.card import describe_model

        text = describe_model(options.model, head=options.head, with_input=options.verbose, **trusted(options))
    say(text)

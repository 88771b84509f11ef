"""``fitsnap_nn test``: errors of a fitted model."""

from __future__ import annotations

import argparse
import os

from fitsnap_nn.cli.arguments import add_input, add_overwrite, load

HELP = "errors of a fitted model on the data of an input"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_input(parser)
    add_overwrite(parser)
    parser.add_argument("--model", help="model or restart file; by default that of the input's own fit")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    settings = load(options)
    model = options.model or os.path.join(settings.output_folder, settings.pytorch.output_file)
    from fitsnap_nn.workflow.pipeline import evaluate

    evaluate(settings, model, overwrite=options.overwrite)

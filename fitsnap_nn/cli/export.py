"""``fitsnap_nn export``: LAMMPS files of a model."""

from __future__ import annotations

import argparse

from fitsnap_nn.cli.arguments import add_overwrite, add_quiet, add_trust, loading, say, trusted
from fitsnap_nn.errors import InputError, Problem
from fitsnap_nn.settings.files import MACE_SUFFIX
from fitsnap_nn.settings.ini import COMMAND_LINE

HELP = "write the LAMMPS files of a model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_overwrite(parser)
    add_trust(parser)
    add_quiet(parser)
    add = parser.add_argument
    add("model", help="model or restart file, or a .model file of mace-torch, which must come from a trusted source")
    add("folder", nargs="?", default=".", help="where to write; by default the working folder")
    add("--elements", nargs="+", default=[], metavar="X", help="elements of a .model file to keep; by default all")
    add("--head", default="", help="head of a .model file, if it has several")
    add("--unified", action="store_true", help="SNAP models for pair_style mliap unified, which runs them on a GPU")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    if options.unified:
        _run_unified(options)
        return
    with loading(options):
        from fitsnap_nn.export.export import export

    if options.model.endswith(MACE_SUFFIX):
        say(f"note: code stored in {options.model} is run to read it; use files from trusted sources only")
    with loading(options, f"{options.model} and writing its files"):
        written = export(
            options.model,
            options.folder,
            overwrite=options.overwrite,
            elements=options.elements,
            head=options.head,
            **trusted(options),
        )
    for path in () if options.quiet else written:
        say(path)
    kinds = {path.rpartition(".")[2] for path in written}
    if "mliappy" in kinds and not kinds & {"nn", "snapcoeff"}:
        say("note: a LAMMPS without Python cannot run these files; see the table of activations in docs/lammps.md")


def _run_unified(options: argparse.Namespace) -> None:
    given = [name for name, value in (("--elements", options.elements), ("--head", options.head)) if value]
    if options.model.endswith(MACE_SUFFIX) or given:
        what = f"--unified is for models on SNAP descriptors, not for {' and '.join(given) or options.model}."
        raise InputError([Problem(COMMAND_LINE, what, "Other models are exported for mliap unified without it.")])
    with loading(options):
        from fitsnap_nn.workflow.export_unified import export_unified

    export_unified(options.model, options.folder, overwrite=options.overwrite, quiet=options.quiet, **trusted(options))

"""Checks of single files: those that a fit reads must exist, those that it writes must be possible and distinct."""

from __future__ import annotations

import os

from fitsnap_nn.settings.files import nearest
from fitsnap_nn.settings.ini import Document
from fitsnap_nn.settings.lammps_names import unreadable_folder, unreadable_name
from fitsnap_nn.settings.schema import Settings


def check_files(document: Document, settings: Settings) -> None:
    """Report missing input files, and output files that could not be written after hours of training."""
    _inputs(document, settings)
    if _output_folder(document, settings):
        _outputs(document, settings)
    _potential(document, settings)


def _inputs(document: Document, settings: Settings) -> None:
    if (pretrained := settings.architecture.pretrained[0]) and not document.architecture_stored:
        path = os.path.join(settings.folder, pretrained)
        if not os.path.isfile(path):
            hint = nearest(path) or "Relative paths are relative to the folder of the input file."
            document.report(settings.pytorch.model, "mace_model", f"no such file: {path}", hint)


def _output_folder(document: Document, settings: Settings) -> bool:
    """Return whether the output folder, and that of the cache, exist or can be created."""
    cache = settings.memory.cache
    folders = {("OUTFILE", "folder"): settings.output_folder, **({("MEMORY", "cache"): cache} if cache else {})}
    for (section, key), folder in folders.items():
        if problem := _folder_problem(folder):
            document.report(section, key, problem, "Choose another folder, or change its permissions.")
    return document.sound("OUTFILE", "folder")


def _folder_problem(folder: str) -> str:
    """Return why a folder cannot be created or written to; empty if it can."""
    existing = os.path.abspath(folder)
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        return f"{folder} cannot be a folder: {existing} is a file"
    if not os.access(existing, os.W_OK | os.X_OK):
        return f"no permission to write to {existing}"
    return ""


def _outputs(document: Document, settings: Settings) -> None:
    """Check that output files have different names, in folders that exist."""
    training = settings.pytorch
    written: dict[str, str] = {}
    names = {
        ("PYTORCH", "save_state_output"): training.save_state_output,
        ("PYTORCH", "output_file"): training.output_file,
        ("OUTFILE", "metrics"): settings.outfile.metrics,
    }
    for (section, key), name in names.items():
        path = os.path.normpath(os.path.join(settings.output_folder, name))
        parent = os.path.dirname(path)
        if path in written:
            document.report(section, key, f"{name} is also the name of {written[path]}", "Choose another name.")
        elif os.path.isdir(path):
            document.report(section, key, f"{path} is a folder", "Give the name of a file.")
        elif os.path.dirname(name) and not os.path.isdir(parent):
            hint = "Create it, or give a name without a folder: the file is written to the output folder."
            document.report(section, key, f"no such folder: {parent}", hint)
        elif os.path.dirname(name) and not os.access(parent, os.W_OK | os.X_OK):
            document.report(section, key, f"no permission to write to {parent}", "Choose another folder.")
        written.setdefault(path, f"[{section}] {key}")


def _potential(document: Document, settings: Settings) -> None:
    """Check that LAMMPS can read files of this name, in this folder."""
    for key, problem in {
        "potential": unreadable_name(settings.outfile.potential),
        "folder": unreadable_folder(settings.output_folder),
    }.items():
        if problem:
            document.report("OUTFILE", key, problem, "Choose another name.")

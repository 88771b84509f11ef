"""Files of a stored reference potential: those inside the model file, not others of the same names on the disk."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.export.stored import TRUST, files_of
from fitsnap_nn.lammps.reference import (
    find_files,
    lammps_potentials,
    read_files,
    unpack,
    with_files,
    with_paths,
    words_of,
)
from fitsnap_nn.settings.schema import Reference, Settings


def located(
    reference: Reference, files: Mapping[str, bytes] | None, elements: tuple[str, ...], path: Path, trust: bool
) -> Reference:
    """Return a stored reference potential with the paths of its files.

    Args:
        reference: reference potential of a model file.
        files: its files by the words that name them; ``None`` if the model file is of a version that did not store
            them. They are then searched beside it, with a warning.
        elements: chemical symbols, in the order of the atom types.
        path: the model file.
        trust: search other files beside the model file, in the working folder, and by their paths.

    Raises:
        CheckpointError: the reference names a file that exists, but is not inside the model file.
    """
    known, beside = unpack(reference, files or {}), (path.parent, *lammps_potentials())
    if trust:
        return with_files(known, elements, path.parent)[0]
    if files is None:
        found = find_files(reference, elements, beside)
        if found:
            listed = ", ".join(map(str, found.values()))
            warnings.warn(
                f"{path} was written by an earlier version and does not contain the files of its reference potential: "
                f"{listed} is used. Check that it is that of the fit.",
                stacklevel=4,
            )
        return with_paths(known, found)
    others = find_files(reference, elements, (*beside, Path.cwd()))
    if stray := [word for word in others if word not in files and not _is_keyword(word, reference)]:
        raise CheckpointError(
            f"{path} is refused: [REFERENCE] names the file {stray[0]}, which is not inside the model file. {TRUST}"
        )
    return known


def changed_files(payload: Mapping[str, Any], settings: Settings) -> list[str]:
    """List the files of the reference potential of a fit that differ from those inside a model file, or are missing.

    Args:
        payload: content of the model file; one of an early version has no files to compare.
        settings: settings of the fit.
    """
    stored = files_of(payload) or {}
    here = read_files(settings.reference, settings.elements, Path(settings.folder))
    lines = []
    for word in dict.fromkeys(words_of(settings.reference)):
        if word in stored and stored[word] != here.get(word):
            what = "its content differs from that inside the model file" if word in here else "there is no such file"
            lines.append(f"[REFERENCE] {word}: {what}")
    return lines


def _is_keyword(word: str, reference: Reference) -> bool:
    """Return whether a word is a number or the name of a pair style, which a file can have too."""
    try:
        float(word)
    except ValueError:
        return word in _styles(reference)
    return True


def _styles(reference: Reference) -> Iterable[str]:
    style = shlex.split(reference.pair_style)
    coefficients = {word for text in reference.pair_coeff for word in shlex.split(text)}
    return {style[0], *(word for word in words_of(reference) if word in style and word in coefficients)}

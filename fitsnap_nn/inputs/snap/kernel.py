"""The compiled SNAP kernel: bispectrum components and their derivatives, for as many atoms at a time as a processor's
vectors hold. It is built together with the LAMMPS plugin, and needs neither LAMMPS nor MPI.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from fitsnap_nn.data.configuration import Floats
from fitsnap_nn.errors import LammpsError
from fitsnap_nn.inputs.snap.environments import Environments
from fitsnap_nn.plugin import REMEDY, plugin_dir
from fitsnap_nn.settings.schema import Bispectrum

LIBRARY = "_snap.so"
INT, DOUBLE, TEXT, HANDLE = ctypes.c_int, ctypes.c_double, ctypes.c_char_p, ctypes.c_void_p
INTS = np.ctypeslib.ndpointer(np.int32, flags="C_CONTIGUOUS")
DOUBLES = np.ctypeslib.ndpointer(np.float64, flags="C_CONTIGUOUS")
# Result and arguments of the functions of lammps_plugin/snap/c_api.h.
SIGNATURES: Mapping[str, tuple[Any, tuple[Any, ...]]] = MappingProxyType(
    {
        "snap_create": (HANDLE, (INT, DOUBLE, DOUBLE, DOUBLE, INTS, INT, DOUBLES, TEXT, TEXT, INT)),
        "snap_destroy": (None, (HANDLE,)),
        "snap_size": (INT, (HANDLE,)),
        "snap_instruction_set": (TEXT, (HANDLE,)),
        "snap_load": (INT, (HANDLE, INT, INTS, INTS, INTS, DOUBLES)),
        "snap_components": (INT, (HANDLE, DOUBLES)),
        "snap_forces": (INT, (HANDLE, DOUBLES, DOUBLES)),
        "snap_gradients": (INT, (HANDLE, DOUBLES)),
    }
)
LONGEST_MESSAGE = 200


class SnapKernel:
    """Bispectrum components, those of LAMMPS' ``compute sna/atom``, of atoms whose neighbours are known.

    Rounding does not depend on which atoms are computed together. An object serves one thread at a time.

    Args:
        bispectrum: the settings; products (``quadraticflag``) are not computed here, see `with_products`.
        instruction_set: ``sse2``, ``avx2`` or ``avx512``, elsewhere than on x86-64 ``generic``; by default the best
            that the processor has.

    Raises:
        LammpsError: the kernel has not been built.
        ValueError: the settings make no sense, or the processor has no such instruction set.
    """

    def __init__(self, bispectrum: Bispectrum, instruction_set: str = "") -> None:
        self._library = _load_library()
        message = ctypes.create_string_buffer(LONGEST_MESSAGE)
        elements = _element_values(bispectrum)
        flags = (
            bispectrum.switchflag,
            bispectrum.bzeroflag,
            bispectrum.chemflag,
            bispectrum.bnormflag,
            bispectrum.wselfallflag,
            bispectrum.switchinnerflag,
        )
        self._handle = self._library.snap_create(
            max(bispectrum.twojmax),
            bispectrum.rcutfac,
            bispectrum.rfac0,
            bispectrum.rmin0,
            np.array(flags, dtype=np.int32),
            len(elements),
            elements,
            instruction_set.encode(),
            message,
            LONGEST_MESSAGE,
        )
        if not self._handle:
            raise ValueError(message.value.decode())
        weakref.finalize(self, self._library.snap_destroy, self._handle)
        self._loaded: Environments | None = None

    @property
    def n_components(self) -> int:
        """Components of an atom, n below."""
        return int(self._library.snap_size(self._handle))

    @property
    def instruction_set(self) -> str:
        """The one in use."""
        name: bytes = self._library.snap_instruction_set(self._handle)
        return name.decode()

    def components(self, environments: Environments) -> Floats:
        """(N, n) components B."""
        return self._call("snap_components", environments, (len(environments.elements), self.n_components))

    def gradients(self, environments: Environments) -> Floats:
        """(P, 3, n), 1/Å: dB of each atom by the vector to each of its neighbours."""
        return self._call("snap_gradients", environments, (len(environments.vectors), 3, self.n_components))

    def forces(self, environments: Environments, beta: Floats) -> Floats:
        """(P, 3) dE by the vectors to the neighbours, for (N, n) beta = dE/dB; unit of E/Å.

        The same as a contraction of `gradients` with beta, several times faster.

        Raises:
            ValueError: beta has another shape.
        """
        expected = (len(environments.elements), self.n_components)
        if beta.shape != expected:
            raise ValueError(f"beta is {beta.shape}, not {expected}")
        contiguous = np.ascontiguousarray(beta, dtype=np.float64)
        return self._call("snap_forces", environments, (len(environments.vectors), 3), contiguous)

    def _call(self, name: str, environments: Environments, shape: tuple[int, ...], *arguments: Floats) -> Floats:
        """The result of a function of the library for some atoms, which the next call need not load again."""
        result = np.empty(shape)
        loaded = environments is self._loaded or self._load(environments)
        if not (loaded and getattr(self._library, name)(self._handle, *arguments, result)):
            raise MemoryError("the SNAP kernel ran out of memory")
        return result

    def _load(self, environments: Environments) -> bool:
        elements, first, neighbour_elements, _, _, vectors = environments
        self._loaded = None
        if not self._library.snap_load(
            self._handle, len(elements), elements, first, neighbour_elements, np.ascontiguousarray(vectors)
        ):
            return False
        self._loaded = environments
        return True


def _load_library() -> ctypes.CDLL:
    path = plugin_dir() / LIBRARY
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise LammpsError(f"the SNAP kernel cannot be loaded ({error}). {REMEDY}") from error
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _element_values(bispectrum: Bispectrum) -> Floats:
    """(elements, 4) radius, weight, and centre and half-width of the inner switching."""
    inner = (
        (bispectrum.sinner, bispectrum.dinner) if bispectrum.switchinnerflag else ((0.0,) * len(bispectrum.type),) * 2
    )
    rows = (bispectrum.radelem, bispectrum.wj, *inner)
    for values in rows:
        if len(values) != len(bispectrum.type):
            raise ValueError(f"{len(values)} values for {len(bispectrum.type)} elements: {values}")
    return np.ascontiguousarray(np.array(rows, dtype=np.float64).T)

"""Python interface of the compiled SNAP kernel, which computes bispectrum components and their derivatives.

The kernel processes one atom per SIMD lane. It is built together with the LAMMPS plugin but needs neither LAMMPS nor
MPI.
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
# Return type and argument types of the C functions declared in lammps_plugin/snap/c_api.h.
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
MAX_MESSAGE_LENGTH = 200  # bytes


class SnapKernel:
    """Bispectrum components as defined by LAMMPS' ``compute sna/atom``, for given neighbour lists.

    Results do not depend on which atoms are computed together, not even in rounding. An instance is not thread-safe.

    Args:
        bispectrum: section [BISPECTRUM]; quadratic terms (``quadraticflag``) are not computed, see `with_products`.
        instruction_set: ``sse2``, ``avx2`` or ``avx512`` on x86-64, ``generic`` on other processors; by default the
            best one that the processor supports.

    Raises:
        LammpsError: the kernel has not been built.
        ValueError: the settings are invalid, or the processor does not support the instruction set.
    """

    def __init__(self, bispectrum: Bispectrum, instruction_set: str = "") -> None:
        self._library = _load_library()
        message = ctypes.create_string_buffer(MAX_MESSAGE_LENGTH)
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
            MAX_MESSAGE_LENGTH,
        )
        if not self._handle:
            raise ValueError(message.value.decode())
        weakref.finalize(self, self._library.snap_destroy, self._handle)
        self._loaded: Environments | None = None

    @property
    def n_components(self) -> int:
        """Number of components per atom, n."""
        return int(self._library.snap_size(self._handle))

    @property
    def instruction_set(self) -> str:
        """Instruction set in use."""
        name: bytes = self._library.snap_instruction_set(self._handle)
        return name.decode()

    def components(self, environments: Environments) -> Floats:
        """Return (N, n) components B_i.

        Raises:
            MemoryError: the kernel cannot allocate its arrays.
        """
        return self._call("snap_components", environments, (len(environments.elements), self.n_components))

    def gradients(self, environments: Environments) -> Floats:
        """Return (P, 3, n) dB_i/dr_ij, 1/Å, with respect to the vectors from each atom to its neighbours.

        Raises:
            MemoryError: the kernel cannot allocate its arrays.
        """
        return self._call("snap_gradients", environments, (len(environments.vectors), 3, self.n_components))

    def forces(self, environments: Environments, beta: Floats) -> Floats:
        """Return the derivatives of an energy with respect to the neighbour vectors.

        Equal to the contraction of `gradients` with beta, but several times faster, because the adjoint Y_i of
        LAMMPS' SNA class (``compute_yi``) replaces the derivatives of the components.

        Args:
            environments: neighbours of N atoms.
            beta: (N, n) dE/dB_i.

        Returns:
            (P, 3) dE/dr_ij, in the energy unit of beta per Å.

        Raises:
            ValueError: the shape of beta is wrong.
            MemoryError: the kernel cannot allocate its arrays.
        """
        expected = (len(environments.elements), self.n_components)
        if beta.shape != expected:
            raise ValueError(f"beta is {beta.shape}, but must have shape {expected}")
        contiguous = np.ascontiguousarray(beta, dtype=np.float64)
        return self._call("snap_forces", environments, (len(environments.vectors), 3), contiguous)

    def _call(self, name: str, environments: Environments, shape: tuple[int, ...], *arguments: Floats) -> Floats:
        """Call a function of the library and return its output array.

        The kernel keeps the neighbour list of the last call, so that components and forces of the same environments
        load it only once.
        """
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
    """Return (elements, 4) radelem, wj, sinner and dinner (centre and half-width of the inner switching function)."""
    inner = (
        (bispectrum.sinner, bispectrum.dinner) if bispectrum.switchinnerflag else ((0.0,) * len(bispectrum.type),) * 2
    )
    rows = (bispectrum.radelem, bispectrum.wj, *inner)
    for values in rows:
        if len(values) != len(bispectrum.type):
            raise ValueError(f"{len(values)} values for {len(bispectrum.type)} elements: {values}")
    return np.ascontiguousarray(np.array(rows, dtype=np.float64).T)

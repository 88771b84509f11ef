"""What is computed once for a configuration and kept: descriptors or a neighbour graph, and the reference potential."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from typing_extensions import Self

DType = np.dtype[Any]
Arrays = Sequence[NDArray[Any]]

DOUBLE, INTEGER = np.dtype(np.float64), np.dtype(np.int32)


class CachedInput(Protocol):
    """What every record has, and how a store writes it and gets it back."""

    @property
    def reference_energy(self) -> float: ...

    @property
    def reference_forces(self) -> NDArray[np.float64]: ...

    @property
    def reference_stress(self) -> NDArray[np.float64]: ...

    @property
    def has_strain(self) -> bool:
        """Whether a stress can be had from it, for a cell that is fully periodic."""

    def arrays(self) -> Arrays:
        """All that it holds."""

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """The record that ``arrays`` were of."""

    @classmethod
    def kinds(cls, dtype: DType) -> Sequence[DType]:
        """Types of the arrays, where ``dtype`` is what the user wants floating-point numbers to have."""


class CachedDescriptors(NamedTuple):
    """Descriptors and reference of one configuration of N atoms with D descriptors each.

    Attributes:
        descriptors: (N, D).
        pair_i, pair_j: (P,) int32, atoms for which dB_i/dR_j is not zero, sorted by i then j; i = j included.
        gradients: (P, 3, D) dB_i/dR_j, 1/Å; periodic images of j are summed.
        strain_gradients: (N, 6, D) dB_i/d(strain), Voigt order xx yy zz yz xz xy; the shear
            components are derivatives by a symmetric strain with e_yz = e_zy = 1/2, so that their
            contraction with dE/dB is V times the stress component. (0, 6, D) when no stress was asked for.
        reference_energy: eV.
        reference_forces: (N, 3) eV/Å.
        reference_stress: (6,) eV/Å³, Voigt order, ASE sign; zeros for cells that are not fully periodic.

    Gradients are (0, 3, D), with no pairs, when forces were not asked for.
    """

    descriptors: NDArray[np.floating]
    pair_i: NDArray[np.int32]
    pair_j: NDArray[np.int32]
    gradients: NDArray[np.floating]
    strain_gradients: NDArray[np.floating]
    reference_energy: float
    reference_forces: NDArray[np.float64]
    reference_stress: NDArray[np.float64]

    @property
    def has_strain(self) -> bool:
        return len(self.strain_gradients) > 0

    def arrays(self) -> Arrays:
        return [_packed(self), self.pair_i, self.pair_j, self.descriptors, self.gradients, self.strain_gradients]

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        reference, pair_i, pair_j, descriptors, gradients, strain_gradients = arrays
        return cls(descriptors, pair_i, pair_j, gradients, strain_gradients, *_unpacked(reference))

    @classmethod
    def kinds(cls, dtype: DType) -> Sequence[DType]:
        return (DOUBLE, INTEGER, INTEGER, dtype, dtype, dtype)


class CachedGraph(NamedTuple):
    """Neighbours and reference of one configuration of N atoms with E edges, every pair twice.

    Attributes:
        edge_i, edge_j: (E,) int32, atoms, sorted by i.
        reverse_edge_index: (E,) int32, the edge of the same two images seen from the other end.
        vectors: (E, 3) Å, from i to that image of j.
        reference_energy, reference_forces, reference_stress: as in `CachedDescriptors`.
    """

    edge_i: NDArray[np.int32]
    edge_j: NDArray[np.int32]
    reverse_edge_index: NDArray[np.int32]
    vectors: NDArray[np.float64]
    reference_energy: float
    reference_forces: NDArray[np.float64]
    reference_stress: NDArray[np.float64]

    @property
    def has_strain(self) -> bool:
        return True

    def arrays(self) -> Arrays:
        return [_packed(self), self.edge_i, self.edge_j, self.reverse_edge_index, self.vectors]

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        reference, edge_i, edge_j, reverse, vectors = arrays
        return cls(edge_i, edge_j, reverse, vectors, *_unpacked(reference))

    @classmethod
    def kinds(cls, dtype: DType) -> Sequence[DType]:
        return (DOUBLE, INTEGER, INTEGER, INTEGER, DOUBLE)


def _packed(record: CachedInput) -> NDArray[np.float64]:
    """(7 + 3 N,) the reference in one array."""
    return np.concatenate([[record.reference_energy], record.reference_stress, record.reference_forces.ravel()])


def _unpacked(reference: NDArray[Any]) -> tuple[float, NDArray[Any], NDArray[Any]]:
    return float(reference[0]), reference[7:].reshape(-1, 3), reference[1:7]

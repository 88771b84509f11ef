"""Cached neighbour graph of a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.inputs.base import DOUBLE, INTEGER, Arrays, DType
from fitsnap_nn.inputs.reference import pack_reference, unpack_reference


class CachedGraph(NamedTuple):
    """Neighbour graph (E directed edges) and reference results of one configuration of N atoms.

    Attributes:
        edge_i, edge_j: (E,) int32, atom indices, sorted by i.
        reverse_edge_index: (E,) int32, index of the edge j -> i between the same two images.
        vectors: (E, 3) Å, from i to the image of j.
        reference_energy, reference_forces, reference_stress: see `CachedDescriptors`.
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
        return [pack_reference(self), self.edge_i, self.edge_j, self.reverse_edge_index, self.vectors]

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> CachedGraph:
        reference, edge_i, edge_j, reverse, vectors = arrays
        return cls(edge_i, edge_j, reverse, vectors, *unpack_reference(reference))

    @classmethod
    def dtypes(cls, dtype: DType) -> Sequence[DType]:
        return (DOUBLE, INTEGER, INTEGER, INTEGER, DOUBLE)

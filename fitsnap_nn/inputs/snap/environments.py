"""The neighbours of many atoms in one set of arrays, and what derivatives by their vectors are in terms of atoms."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.neighbours import find_neighbours
from fitsnap_nn.data.voigt import COLUMNS, ROWS
from fitsnap_nn.inputs.snap.bispectrum import pair_cutoffs
from fitsnap_nn.settings.schema import Bispectrum

Integers = NDArray[np.int32]


class Environments(NamedTuple):
    """N atoms and their P neighbours within the cutoff; atoms of several configurations are numbered through.

    Attributes:
        elements: (N,) int32, index into [BISPECTRUM] type.
        first: (N + 1,) int32, where the neighbours of each atom begin, and P.
        neighbour_elements: (P,) int32.
        i, j: (P,) int32, the atom whose neighbour it is, and the atom of which it is an image.
        vectors: (P, 3) Å, from i to the neighbour.
    """

    elements: Integers
    first: Integers
    neighbour_elements: Integers
    i: Integers
    j: Integers
    vectors: Floats

    def parts(self, size: int) -> Iterator[Environments]:
        """The same, ``size`` atoms at a time; ``i`` and ``j`` keep their numbers."""
        for start in range(0, len(self.elements), size):
            first = self.first[start : start + size + 1]
            pairs = slice(first[0], first[-1])
            neighbours = (self.neighbour_elements[pairs], self.i[pairs], self.j[pairs], self.vectors[pairs])
            yield Environments(self.elements[start : start + size], first - first[0], *neighbours)


def find_environments(configurations: Sequence[Configuration], bispectrum: Bispectrum) -> Environments:
    """The environments of all atoms of some configurations.

    Raises:
        DataError: an element without descriptors, or a cell that cannot be; names the configuration.
    """
    cutoffs = pair_cutoffs(bispectrum)
    indices = [configuration.element_indices(bispectrum.type) for configuration in configurations]
    elements = np.concatenate(indices, dtype=np.int32)
    found = [find_neighbours(configuration, float(cutoffs.max())) for configuration in configurations]
    starts = np.cumsum([0, *map(len, configurations)], dtype=np.int32)[:-1]
    i = np.concatenate([pairs.i + start for pairs, start in zip(found, starts, strict=True)])
    j = np.concatenate([pairs.j + start for pairs, start in zip(found, starts, strict=True)])
    vectors = np.concatenate([pairs.vectors for pairs in found])
    if len(cutoffs) > 1:
        near = np.einsum("px,px->p", vectors, vectors) < cutoffs[elements[i], elements[j]] ** 2
        i, j, vectors = i[near], j[near], vectors[near]
    first = np.searchsorted(i, np.arange(len(elements) + 1)).astype(np.int32)
    return Environments(elements, first, elements[j], i, j, vectors)


def gradients_wrt_positions(environments: Environments, gradients: Floats) -> tuple[Integers, Integers, Floats]:
    """Derivatives by positions of atoms, from (P, 3, n) derivatives of what belongs to i by the neighbours' vectors.

    Returns:
        (Q,) atoms i and j, sorted by i then j, and (Q, 3, n) derivatives by the position of j with all its images,
        i = j included. Atoms whose neighbours all are images of themselves have none.
    """
    others = np.flatnonzero(environments.i != environments.j)
    i, j = environments.i[others].astype(np.int64), environments.j[others]
    keys, rows = np.unique(np.concatenate([i << 32 | j, i << 32 | i]), return_inverse=True)
    signs = np.repeat([1.0, -1.0], len(others))
    sums = csr_array((signs, (rows, np.tile(others, 2))), shape=(len(keys), len(gradients)))
    columns = gradients.shape[1:]
    merged = (sums @ gradients.reshape(len(gradients), math.prod(columns))).reshape(-1, *columns)
    return (keys >> 32).astype(np.int32), (keys & 0xFFFFFFFF).astype(np.int32), merged


def gradients_wrt_strain(environments: Environments, gradients: Floats) -> Floats:
    """(N, 6, n) derivatives with respect to strain, as in `CachedDescriptors`, from (P, 3, n) by neighbour vectors."""
    count = gradients.shape[2]
    moments = np.empty((len(environments.elements), 3, 3, count))
    for atom, (start, stop) in enumerate(pairwise(environments.first)):
        block = gradients[start:stop].reshape(stop - start, 3 * count)
        np.matmul(environments.vectors[start:stop].T, block, out=moments[atom].reshape(3, 3 * count))
    return 0.5 * (moments[:, ROWS, COLUMNS] + moments[:, COLUMNS, ROWS])

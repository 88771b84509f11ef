"""Neighbour lists of many atoms in flat arrays, and conversion of derivatives with respect to neighbour vectors."""

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
    """N atoms and their P neighbours within the cutoff; atoms of all configurations are numbered consecutively.

    Attributes:
        elements: (N,) int32, index into [BISPECTRUM] type.
        first: (N + 1,) int32, index of the first neighbour of each atom, followed by P (CSR row pointers).
        neighbour_elements: (P,) int32, index into [BISPECTRUM] type.
        i, j: (P,) int32, the central atom, and the atom of which the neighbour is a periodic image.
        vectors: (P, 3) Å, r_ij from i to the neighbour.
    """

    elements: Integers
    first: Integers
    neighbour_elements: Integers
    i: Integers
    j: Integers
    vectors: Floats

    def blocks(self, size: int) -> Iterator[Environments]:
        """Yield blocks of at most ``size`` atoms; ``i`` and ``j`` keep their numbering."""
        for start in range(0, len(self.elements), size):
            first = self.first[start : start + size + 1]
            pairs = slice(first[0], first[-1])
            neighbours = (self.neighbour_elements[pairs], self.i[pairs], self.j[pairs], self.vectors[pairs])
            yield Environments(self.elements[start : start + size], first - first[0], *neighbours)


def find_environments(configurations: Sequence[Configuration], bispectrum: Bispectrum) -> Environments:
    """Find the neighbours of all atoms of one or more configurations.

    Args:
        configurations: at least one.
        bispectrum: section [BISPECTRUM], which defines the cutoff per pair of elements.

    Raises:
        DataError: an element has no descriptors, or a cell is invalid; the message names the configuration.
    """
    return environments_within(configurations, bispectrum.type, pair_cutoffs(bispectrum))


def environments_within(
    configurations: Sequence[Configuration], symbols: Sequence[str], cutoffs: Floats
) -> Environments:
    """Find the neighbours of all atoms of one or more configurations.

    Args:
        configurations: at least one.
        symbols: chemical symbols, in the order of the LAMMPS atom types.
        cutoffs: (elements, elements) Å, for each element of the central atom and of the neighbour.

    Raises:
        DataError: an element is not among the symbols, or a cell is invalid; the message names the configuration.
    """
    indices = [configuration.element_indices(symbols) for configuration in configurations]
    elements = np.concatenate(indices, dtype=np.int32)
    lists = [find_neighbours(configuration, float(cutoffs.max())) for configuration in configurations]
    offsets = np.cumsum([0, *map(len, configurations)], dtype=np.int32)[:-1]
    i = np.concatenate([pairs.i + offset for pairs, offset in zip(lists, offsets, strict=True)])
    j = np.concatenate([pairs.j + offset for pairs, offset in zip(lists, offsets, strict=True)])
    vectors = np.concatenate([pairs.vectors for pairs in lists])
    if len(cutoffs) > 1:
        inside = np.einsum("px,px->p", vectors, vectors) < cutoffs[elements[i], elements[j]] ** 2
        i, j, vectors = i[inside], j[inside], vectors[inside]
    first = np.searchsorted(i, np.arange(len(elements) + 1)).astype(np.int32)
    return Environments(elements, first, elements[j], i, j, vectors)


def gradients_wrt_positions(environments: Environments, gradients: Floats) -> tuple[Integers, Integers, Floats]:
    """Convert derivatives with respect to neighbour vectors into derivatives with respect to atomic positions.

    Args:
        environments: neighbours of the central atoms.
        gradients: (P, 3, n) dB_i/dr_ij.

    Returns:
        (Q,) atoms i and (Q,) atoms j, sorted by i then j, and (Q, 3, n) dB_i/dR_j summed over the periodic images of
        j. Pairs i = j are included, except for atoms that have only their own images as neighbours.
    """
    # r_ij = R_j - R_i: a pair contributes with sign +1 to dB_i/dR_j and with sign -1 to dB_i/dR_i. Images of i itself
    # move with i, so that their contributions cancel.
    distinct = np.flatnonzero(environments.i != environments.j)
    i, j = environments.i[distinct].astype(np.int64), environments.j[distinct]
    # Both indices in one 64-bit key: np.unique is much faster on integers than on rows of two.
    keys, rows = np.unique(np.concatenate([i << 32 | j, i << 32 | i]), return_inverse=True)
    signs = np.repeat([1.0, -1.0], len(distinct))
    # The sum over pairs with the same key, as a sparse matrix product.
    summation = csr_array((signs, (rows, np.tile(distinct, 2))), shape=(len(keys), len(gradients)))
    columns = gradients.shape[1:]
    summed = (summation @ gradients.reshape(len(gradients), math.prod(columns))).reshape(-1, *columns)
    return (keys >> 32).astype(np.int32), (keys & 0xFFFFFFFF).astype(np.int32), summed


def gradients_wrt_strain(environments: Environments, gradients: Floats) -> Floats:
    """Convert derivatives with respect to neighbour vectors into derivatives with respect to strain.

    A strain e changes r_ij to (1 + e) r_ij, so dB_i/de is the symmetrised sum over j of r_ij and dB_i/dr_ij.

    Args:
        environments: neighbours of the central atoms.
        gradients: (P, 3, n) dB_i/dr_ij.

    Returns:
        (N, 6, n) strain derivatives, with the conventions of `CachedDescriptors`.
    """
    count = gradients.shape[2]
    moments = np.empty((len(environments.elements), 3, 3, count))
    # One matrix product per atom avoids the (P, 3, 3, n) array of all outer products.
    for atom, (start, stop) in enumerate(pairwise(environments.first)):
        block = gradients[start:stop].reshape(stop - start, 3 * count)
        np.matmul(environments.vectors[start:stop].T, block, out=moments[atom].reshape(3, 3 * count))
    return 0.5 * (moments[:, ROWS, COLUMNS] + moments[:, COLUMNS, ROWS])

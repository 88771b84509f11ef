"""Pairs of atoms closer than a cutoff, in any cell: what kernels and graphs start from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from vesin import NeighborList

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.errors import DataError

FLATTEST = 1e-8  # volume of the unit vectors along a, b and c below which they do not span space
LARGEST_GRID = 1e5  # bins of vesin's grid; where it would take more, it makes them larger, all by one factor,
FEWEST_BINS = 4.0  # which leaves a side without any unless it has some to spare
SLIMMEST = 30.0  # ratio of the longest to other sides of the search box, where these are free


class Neighbours(NamedTuple):
    """Every pair twice, as (i, j) and as (j, i), sorted by i.

    Attributes:
        i, j: (P,) int32, atoms; an atom can be the neighbour of its own images.
        vectors: (P, 3) Å, from atom i to that image of atom j.
        shifts: (P, 3) int32, the lattice vectors to that image: vectors = R_j - R_i + shifts @ cell.
    """

    i: NDArray[np.int32]
    j: NDArray[np.int32]
    vectors: Floats
    shifts: NDArray[np.int32]


def find_neighbours(configuration: Configuration, cutoff: float) -> Neighbours:
    """All pairs closer than a cutoff (Å), with images along periodic directions.

    Cells may be small, skewed or left-handed, and atoms may lie outside; lattice vectors of directions that are not
    periodic do not matter.

    Raises:
        DataError: a number is not finite, the lattice vectors of the periodic directions do not span space, or the
            cell is far too long for its width; names the configuration.
    """
    box = _search_box(configuration, cutoff)
    search = NeighborList(cutoff=cutoff, full_list=True, sorted=True, n_threads=1)
    i, j, vectors, shifts = search.compute(configuration.positions, box, True, "ijDS")
    return Neighbours(i.astype(np.int32), j.astype(np.int32), vectors, shifts)


def _search_box(configuration: Configuration, cutoff: float) -> Floats:
    """(3, 3) Å, the cell, with vectors so long along directions that are not periodic that no image is a neighbour.

    What vesin would divide by zero on, which ends the process, is refused.
    """
    box, positions, periodic = configuration.cell, configuration.positions, np.array(configuration.pbc)
    if not (np.isfinite(box[periodic]).all() and np.isfinite(positions).all()):
        raise DataError(f"{configuration.id}: a position or a lattice vector is not a finite number.")
    if not periodic.all() and len(positions):
        lattice = box[periodic]
        normals = np.linalg.svd(lattice)[2][len(lattice) :]
        lengths = np.ptp(positions @ normals.T, axis=0) + 2.0 * cutoff
        longest = max(np.linalg.norm(lattice, axis=1).max(initial=0.0), lengths.max())
        box = box.copy()
        box[~periodic] = np.maximum(lengths, longest / SLIMMEST)[:, None] * normals
    sides = np.linalg.norm(box, axis=1)
    if not abs(np.linalg.det(box)) > FLATTEST * sides.prod():
        raise DataError(f"{configuration.id}: the lattice vectors do not span a cell: {configuration.cell.tolist()}.")
    bins = np.maximum(1.0 / np.linalg.norm(np.linalg.inv(box), axis=0) / cutoff, 1.0)
    if bins.prod() > LARGEST_GRID * max(bins.min() / FEWEST_BINS, 1.0) ** 3:
        size = " x ".join(f"{side:.0f}" for side in sides)
        raise DataError(f"{configuration.id}: {size} Å are too long for their width to search for neighbours.")
    return box


def reverse_edges(neighbours: Neighbours) -> NDArray[np.int32]:
    """(P,) int32, for each pair the one of the same two images seen from the other end."""
    i, j, shifts = neighbours.i, neighbours.j, neighbours.shifts
    forward = np.lexsort((*shifts.T, j, i))
    backward = np.lexsort((*-shifts.T, i, j))
    reverse = np.empty(len(i), dtype=np.int32)
    reverse[backward] = forward
    return reverse

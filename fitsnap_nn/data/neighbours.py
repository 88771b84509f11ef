"""Neighbour lists for arbitrary cells, used by the SNAP kernel and by graphs."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from vesin import NeighborList

from fitsnap_nn.data.configuration import MIN_DISTANCE, Configuration, Floats
from fitsnap_nn.errors import DataError, counted

ALONE = 6.0  # Å, within which an isolated atom has no neighbours, unless a model's cutoff says otherwise
SHORTEST = 1e-90  # Å; the volumes of cells with shorter vectors are 0 in double precision
MIN_UNIT_VOLUME = 1e-8  # volume spanned by the normalised lattice vectors below which they are linearly dependent
# The cell list of vesin has at most this number of bins. In larger cells vesin enlarges all bins by the same factor.
# If the cell has few bins along one direction, none may remain there, and vesin divides by zero.
MAX_BINS = 1e5
MIN_BINS_PER_SIDE = 4.0  # bins along the shortest direction at which the enlarged bins are still valid
MAX_NEIGHBOURS = 10_000  # per atom on average; twice those of diamond within 20 Å
MAX_ASPECT_RATIO = 30.0  # longest side of the search box over its sides along non-periodic directions


class Neighbours(NamedTuple):
    """Full neighbour list of P pairs: every pair is listed as (i, j) and as (j, i), sorted by i.

    Attributes:
        i, j: (P,) int32, atom indices; an atom can be a neighbour of its own periodic images.
        vectors: (P, 3) Å, from atom i to the image of atom j.
        shifts: (P, 3) int32, cell shift of the image: vectors = R_j - R_i + shifts @ cell.
    """

    i: NDArray[np.int32]
    j: NDArray[np.int32]
    vectors: Floats
    shifts: NDArray[np.int32]


def find_neighbours(configuration: Configuration, cutoff: float) -> Neighbours:
    """Find all pairs of atoms within a cutoff, including periodic images.

    Cells may be small, skewed or left-handed, and atoms may lie outside the cell. Lattice vectors of non-periodic
    directions are ignored.

    Args:
        configuration: the atoms.
        cutoff: Å.

    Raises:
        DataError: a number is not finite, the lattice vectors of the periodic directions are linearly dependent, the
            cell is too elongated or too dense, or two atoms are at the same place; the message names the configuration.
    """
    box = _search_box(configuration, cutoff)
    search = NeighborList(cutoff=cutoff, full_list=True, sorted=True, n_threads=1)
    i, j, vectors, shifts = search.compute(configuration.positions, box, True, "ijDS")
    (contacts,) = np.nonzero(np.einsum("px,px->p", vectors, vectors) < MIN_DISTANCE**2)
    if len(contacts):
        raise DataError(_contact(configuration, int(i[contacts[0]]), int(j[contacts[0]])))
    return Neighbours(i.astype(np.int32), j.astype(np.int32), vectors, shifts)


def _contact(configuration: Configuration, i: int, j: int) -> str:
    """Return the error message for two atoms at the same place; `require_sparse` finds images of one atom."""
    first, second = (f"{atom + 1} ({configuration.species[atom]})" for atom in (i, j))
    return (
        f"{configuration.id}: atoms {first} and {second} are at the same place, less than {MIN_DISTANCE:g} Å apart. "
        "Forces are not defined there: correct or remove the configuration."
    )


def require_sparse(configuration: Configuration, cutoff: float) -> None:
    """Refuse a configuration with so many atoms in reach of each other that their list would fill the memory.

    The average number of neighbours is bounded from below: by the images of the lattice within the cutoff, and by the
    atoms that share a cube whose diagonal is the cutoff.

    Args:
        configuration: the atoms; all numbers are finite.
        cutoff: Å.

    Raises:
        DataError: there are more than MAX_NEIGHBOURS per atom; the message names the configuration.
    """
    count, lattice = len(configuration), configuration.cell[np.array(configuration.pbc)]
    neighbours = _images(lattice, cutoff) * (count if len(lattice) == 3 else 1)
    if count > MAX_NEIGHBOURS:
        cubes = np.floor(configuration.positions * (math.sqrt(3.0) / cutoff)).astype(np.int64)
        crowd = np.unique(cubes, axis=0, return_counts=True)[1].astype(np.float64)
        neighbours = max(neighbours, float((crowd**2).sum()) / count - 1.0)
    if neighbours > MAX_NEIGHBOURS:
        size = " x ".join(f"{math.hypot(*vector):.3g}" for vector in lattice)
        cell = f"a periodic cell of {size} Å" if size else "a cell that is not periodic"
        raise DataError(
            f"{configuration.id}: {counted(count, 'atom')} in {cell}, each with more than "
            f"{MAX_NEIGHBOURS} neighbours within {cutoff:.3g} Å. Lattice or positions are probably in another unit "
            "(nm, m, fractional), or the cutoff is too large. Correct the unit or the cutoff."
        )


def _images(lattice: Floats, cutoff: float) -> float:
    """Return the number of lattice points within a cutoff: a length, an area or a volume over that of the cell.

    It is 0 for vectors that are linearly dependent, which `_search_box` reports.
    """
    if not len(lattice) or not lattice.any(axis=1).all():
        return 0.0
    if np.abs(lattice).max(axis=1).min() < SHORTEST:
        return math.inf
    sides = np.linalg.norm(lattice, axis=1)
    unit = lattice / sides[:, None]
    flatness = math.sqrt(max(float(np.linalg.det(unit @ unit.T)), 0.0))
    half = len(lattice) / 2
    ball = math.pi**half / math.gamma(half + 1.0) * cutoff ** len(lattice)
    return ball / float(sides.prod() * flatness) if flatness > MIN_UNIT_VOLUME else 0.0


def is_isolated(configuration: Configuration, cutoff: float = ALONE) -> bool:
    """Return whether a configuration is one atom without neighbours within a cutoff (Å), periodic images included."""
    return len(configuration) == 1 and not len(find_neighbours(configuration, cutoff).i)


def _search_box(configuration: Configuration, cutoff: float) -> Floats:
    """Return (3, 3) Å a periodic search box with the same neighbours as the configuration.

    Along non-periodic directions the vectors are orthogonal to the lattice and long enough that no periodic image is a
    neighbour. Cells are rejected here if vesin would divide by zero, because that terminates the process.

    Raises:
        DataError: see `find_neighbours`.
    """
    box, positions, periodic = configuration.cell, configuration.positions, np.array(configuration.pbc)
    if not (np.isfinite(box[periodic]).all() and np.isfinite(positions).all()):
        raise DataError(
            f"{configuration.id}: a position or a lattice vector is not a finite number. Correct the structure."
        )
    require_sparse(configuration, cutoff)
    if not periodic.all() and len(positions):
        lattice = box[periodic]
        # The last right singular vectors are an orthonormal basis of the null space of the lattice vectors.
        normals = np.linalg.svd(lattice)[2][len(lattice) :]
        lengths = np.ptp(positions @ normals.T, axis=0) + 2.0 * cutoff
        longest = max(np.linalg.norm(lattice, axis=1).max(initial=0.0), lengths.max())
        box = box.copy()
        box[~periodic] = np.maximum(lengths, longest / MAX_ASPECT_RATIO)[:, None] * normals
    sides = np.linalg.norm(box, axis=1)
    if not abs(np.linalg.det(box)) > MIN_UNIT_VOLUME * sides.prod():
        raise DataError(
            f"{configuration.id}: the lattice vectors do not span a cell: {configuration.cell.tolist()}. "
            "Correct the lattice, or mark the direction as not periodic."
        )
    bins = np.maximum(1.0 / np.linalg.norm(np.linalg.inv(box), axis=0) / cutoff, 1.0)
    if bins.prod() > MAX_BINS * max(bins.min() / MIN_BINS_PER_SIDE, 1.0) ** 3:
        size = " x ".join(f"{side:.0f}" for side in sides)
        raise DataError(
            f"{configuration.id}: the cell of {size} Å is too elongated for the neighbour search. "
            "Use a smaller cell, or mark the long direction as not periodic."
        )
    return box


def reverse_edges(neighbours: Neighbours) -> NDArray[np.int32]:
    """Return the index of the reverse pair of each pair.

    Returns:
        (P,) int32, index of the pair (j, i) between the same two images, whose shift is the negative.
    """
    # Both sorts order the pairs by the same key: (i, j, shift) of a pair and (j, i, -shift) of its reverse. The k-th
    # entries of the two orders are therefore reverses of each other.
    i, j, shifts = neighbours.i, neighbours.j, neighbours.shifts
    forward = np.lexsort((*shifts.T, j, i))
    backward = np.lexsort((*-shifts.T, i, j))
    reverse = np.empty(len(i), dtype=np.int32)
    reverse[backward] = forward
    return reverse

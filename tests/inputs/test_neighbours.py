"""Pairs within a cutoff against a search through all images, in every kind of cell."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from clusters import make_configuration

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.neighbours import find_neighbours, reverse_edges
from fitsnap_nn.errors import DataError

CELLS = {
    "orthogonal": np.diag([4.0, 4.5, 5.0]),
    "skewed": np.array([[4.1, 0.3, -0.6], [1.0, 4.4, 0.5], [-0.7, 0.9, 4.6]]),
    "left-handed": np.array([[1.0, 4.4, 0.5], [4.1, 0.3, -0.6], [-0.7, 0.9, 4.6]]),
    "very skewed": np.array([[4.0, 0.0, 0.0], [7.0, 3.5, 0.0], [5.0, 6.0, 4.0]]),
    "smaller than the cutoff": np.array([[2.6, 0.2, 0.0], [0.1, 2.8, 0.3], [0.9, 0.0, 2.9]]),
    "wide": np.array([[21.0, 0.0, 0.0], [3.0, 23.0, 0.0], [-4.0, 5.0, 19.0]]),
}
BOUNDARIES = list(product((True, False), repeat=3))
CUTOFF = 4.4


def through_all_images(configuration: Configuration, cutoff: float) -> set[tuple[int, ...]]:
    """(i, j, shifts) of all pairs; as many images as the least distance of lattice planes asks for."""
    cell, positions, periodic = configuration.cell, configuration.positions, np.flatnonzero(configuration.pbc)
    extents = np.zeros(3, dtype=int)
    if len(periodic):
        inverse = np.linalg.pinv(cell[periodic])
        reach = cutoff * np.linalg.norm(inverse, axis=0) + np.ptp(positions @ inverse, axis=0)
        extents[periodic] = np.ceil(reach)
    found = set()
    for shift in product(*(range(-extent, extent + 1) for extent in extents)):
        gaps = np.linalg.norm(positions + np.array(shift) @ cell - positions[:, None], axis=2)
        pairs = zip(*np.nonzero(gaps < cutoff), strict=True)
        found |= {(int(i), int(j), *shift) for i, j in pairs if i != j or any(shift)}
    return found


@pytest.mark.parametrize("pbc", BOUNDARIES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_every_pair_is_found_once(cell, pbc):
    rng = np.random.default_rng(1)
    for count, spread in ((1, 1.0), (3, 1.0), (8, 1.0), (5, 3.0)):
        fractions = spread * rng.random((count, 3)) - 0.5 * (spread - 1.0)
        configuration = make_configuration(CELLS[cell], fractions, ("In",) * count, pbc)
        found = find_neighbours(configuration, CUTOFF)
        pairs = list(zip(found.i.tolist(), found.j.tolist(), *found.shifts.T.tolist(), strict=True))
        assert len(pairs) == len(set(pairs))
        assert set(pairs) == through_all_images(configuration, CUTOFF)
        assert np.array_equal(found.i, np.sort(found.i))
        positions = configuration.positions
        expected = positions[found.j] - positions[found.i] + found.shifts @ configuration.cell
        np.testing.assert_allclose(found.vectors, expected, atol=1e-12)


@pytest.mark.parametrize("pbc", BOUNDARIES, ids=str)
def test_lattice_vectors_that_are_not_periodic_do_not_matter(pbc):
    rng = np.random.default_rng(2)
    positions = rng.random((6, 3)) * 5.0
    found = []
    for outside in (0.0, 1e-3, np.nan, 1e9):
        cell = CELLS["skewed"].copy()
        cell[~np.array(pbc)] = outside
        found.append(find_neighbours(Configuration("a", "a", ("In",) * 6, positions, cell, pbc), CUTOFF))
    for other in found[1:]:
        for array, expected in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(array, expected)


def test_atoms_at_one_place_are_refused_by_name():
    twins = make_configuration(np.eye(3) * 9.0, [[0.1, 0.2, 0.3], [4.0, 4.0, 4.0], [9.1, 0.2, 0.3]], ("In", "P", "In"))
    with pytest.raises(DataError, match=r"atoms 1 \(In\) and 3 \(In\) are at the same place"):
        find_neighbours(twins, CUTOFF)


@pytest.mark.parametrize("distance", [1e3, 1e5, 1e8])
@pytest.mark.parametrize("pbc", BOUNDARIES, ids=str)
def test_atoms_far_apart(pbc, distance):
    """In boxes that are long for their width vesin divides by zero, which would end the process."""
    cell = np.diag([distance if periodic else 0.0 for periodic in pbc])
    positions = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.4, 0.4, 0.3]]) * [distance, 1.0, 1.0]
    apart = Configuration("a/b", "a", ("In",) * 3, positions, cell, pbc)
    assert find_neighbours(apart, CUTOFF).i.tolist() == ([0, 1] if pbc[0] else [])


def test_cells_too_long_for_their_width_are_refused_by_name():
    def needle(length: float) -> Configuration:
        return Configuration("a/b", "a", ("In",), np.zeros((1, 3)), np.diag([length, 3.0, 3.0]))

    assert len(find_neighbours(needle(1e5), CUTOFF).i) == 8
    for length in (1e6, 1e9):
        with pytest.raises(DataError, match=rf"a/b: the cell of {length:.0f} x 3 x 3 Å is too elongated"):
            find_neighbours(needle(length), CUTOFF)


@pytest.mark.parametrize(
    ("cell", "position", "reason"),
    [
        (np.diag([5.0, np.nan, 5.0]), 0.0, "not a finite number"),
        (np.diag([5.0, 5.0, 5.0]), np.inf, "not a finite number"),
        (np.diag([5.0, 5.0, 0.0]), 0.0, "do not span a cell"),
        (np.array([[5.0, 0.0, 0.0], [5.0, 1e-12, 0.0], [0.0, 0.0, 5.0]]), 0.0, "do not span a cell"),
    ],
)
def test_what_is_no_cell_is_refused_by_name(cell, position, reason):
    configuration = Configuration("a/b", "a", ("In",), np.full((1, 3), position), cell)
    with pytest.raises(DataError, match=f"a/b: .*{reason}"):
        find_neighbours(configuration, CUTOFF)


def test_the_reverse_of_an_edge_is_the_same_pair_from_the_other_end() -> None:
    configuration = Configuration("two", "", ("Ta", "W"), np.array([[0.0, 0.0, 0.0], [1.3, 1.4, 1.5]]), 3.0 * np.eye(3))
    found = find_neighbours(configuration, 5.0)
    reverse = reverse_edges(found)
    assert np.array_equal(reverse[reverse], np.arange(len(reverse)))
    assert np.array_equal(found.i[reverse], found.j)
    assert np.array_equal(found.shifts[reverse], -found.shifts)
    np.testing.assert_allclose(found.vectors[reverse], -found.vectors, atol=1e-12)

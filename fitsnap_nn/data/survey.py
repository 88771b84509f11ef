"""Numbers that a set of configurations determines: neighbour shells, shortest distances, spreads of the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from ase.data import atomic_numbers, covalent_radii

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.neighbours import find_neighbours, is_isolated

Pair = tuple[str, str]

BIN = 0.05  # Å, resolution of distributions of distances
LONGEST = 9.0  # Å, largest cutoff that is considered
SPARSE_CUTOFF = 5.0  # Å, where atoms have few neighbours even within LONGEST, as in molecules
CLOSE = 3.0  # Å, up to which the shortest distances of all configurations are searched
MAX_MEASURED = 500  # configurations whose distances up to LONGEST are measured
TO_GAP = 1.2  # the cutoff is increased by up to this factor to the gap behind a shell


class Distances(NamedTuple):
    """Distances between atoms.

    Attributes:
        neighbours: (E, bins) neighbours per atom of each element within the upper edge of each bin of width `BIN`; mean
            over the atoms of a configuration, then median over the configurations that contain the element.
        shortest: shortest distance of each pair of elements that occurs within `LONGEST`, Å.
    """

    neighbours: Floats
    shortest: Mapping[Pair, float]


def elements_of(configurations: Sequence[Configuration]) -> tuple[str, ...]:
    """Return the chemical symbols that occur, in alphabetical order."""
    return tuple(sorted({symbol for one in configurations for symbol in one.species}))


def measure_distances(configurations: Sequence[Configuration], elements: Sequence[str]) -> Distances:
    """Return distributions of distances up to `LONGEST`, and the shortest distances; isolated atoms are left out.

    The distributions are those of at most `MAX_MEASURED` evenly spaced configurations, the shortest distances those of
    all of them, unless a pair of elements is further apart than `CLOSE` in the former.

    Args:
        configurations: the atoms.
        elements: chemical symbols, in the order of the result.

    Raises:
        DataError: a cell is invalid.
    """
    edges = np.arange(1, round(LONGEST / BIN) + 1) * BIN
    profiles: list[list[Floats]] = [[] for _ in elements]
    sample = configurations[:: -(-len(configurations) // MAX_MEASURED) or 1]
    for configuration in sample:
        found = find_neighbours(configuration, LONGEST)
        if not len(found.i):
            continue
        species = configuration.element_indices(elements)
        lengths, centre = np.linalg.norm(found.vectors, axis=1), species[found.i]
        for element in np.unique(species):
            within = np.searchsorted(np.sort(lengths[centre == element]), edges, side="right")
            profiles[element].append(within / np.count_nonzero(species == element))
    neighbours = [np.median(lines, axis=0) if lines else np.zeros(len(edges)) for lines in profiles]
    shortest = np.minimum(
        shortest_distances(sample, elements, LONGEST), shortest_distances(configurations, elements, CLOSE)
    )
    pairs = combinations_with_replacement(range(len(elements)), 2)
    found_pairs = {(elements[i], elements[j]): float(shortest[i, j]) for i, j in pairs if shortest[i, j] < np.inf}
    return Distances(np.array(neighbours), found_pairs)


def choose_cutoff(neighbours: Floats, wanted: int) -> float:
    """Return a cutoff, Å, within which atoms of every element have a number of neighbours.

    In molecules it is `SPARSE_CUTOFF`. Otherwise it is in the gap behind the shell that completes the number, where the
    distribution of distances is smallest.

    Args:
        neighbours: ``Distances.neighbours``.
        wanted: minimum number of neighbours.
    """
    edges = np.arange(1, neighbours.shape[1] + 1) * BIN
    present = neighbours[neighbours[:, -1] > 0.0]
    if not len(present) or present[:, -1].min() < 2 * wanted:
        return SPARSE_CUTOFF
    first = max(edges[np.argmax(line >= wanted)] for line in present)
    near = (edges >= first) & (edges <= TO_GAP * first)
    window = round(0.3 / BIN)  # neighbours within 0.15 Å of an edge
    padded = np.pad(present.sum(axis=0), window // 2, mode="edge")
    density = (padded[window:] - padded[:-window]) / edges**2
    # Among equal densities, as inside a gap of a perfect crystal, the middle of the gap.
    fewest = np.flatnonzero(near & (density <= density[near].min() + 1e-9))
    return float(round(edges[fewest[len(fewest) // 2]], 2))


def neighbours_within(neighbours: Floats, cutoff: float) -> Floats:
    """Return (E,) neighbours per atom of each element within a cutoff.

    Args:
        neighbours: ``Distances.neighbours``.
        cutoff: Å.
    """
    return neighbours[:, min(round(cutoff / BIN), neighbours.shape[1]) - 1]


def repulsion_radii(elements: Sequence[str], shortest: Mapping[Pair, float]) -> dict[Pair, tuple[float, float]]:
    """Return inner and outer radius, Å, of the ZBL repulsion of each pair of elements.

    ZBL ends below the shortest distance in the data, so that it acts neither inside bonds nor on any label. For pairs
    that do not occur, the shortest distance is taken as 0.8 times the sum of the covalent radii.

    Args:
        elements: chemical symbols.
        shortest: ``Distances.shortest``.
    """
    radii = {}
    for a, b in combinations_with_replacement(elements, 2):
        bond = covalent_radii[atomic_numbers[a]] + covalent_radii[atomic_numbers[b]]
        distance = shortest.get((a, b), shortest.get((b, a), 0.8 * bond))
        outer = max(0.1, np.floor(0.95 * distance * 10.0) / 10.0)
        radii[a, b] = (round(0.7 * outer, 2), round(float(outer), 2))
    return radii


def shortest_distances(configurations: Sequence[Configuration], elements: Sequence[str], cutoff: float) -> Floats:
    """Return (E, E) Å, the shortest distance of each pair of elements; infinite if none is within the cutoff.

    Args:
        configurations: the atoms.
        elements: chemical symbols.
        cutoff: Å.

    Raises:
        DataError: a cell is invalid.
    """
    shortest = np.full((len(elements), len(elements)), np.inf)
    for configuration in configurations:
        found = find_neighbours(configuration, cutoff)
        species = configuration.element_indices(elements)
        np.minimum.at(shortest, (species[found.i], species[found.j]), np.linalg.norm(found.vectors, axis=1))
    return shortest


def isolated_energies(configurations: Sequence[Configuration]) -> dict[str, float]:
    """Return the energy of an isolated atom of each element that has one, eV; the mean if there are several."""
    energies: dict[str, list[float]] = {}
    for one in configurations:
        if one.energy is not None and is_isolated(one):
            energies.setdefault(one.species[0], []).append(one.energy)
    return {symbol: float(np.mean(found)) for symbol, found in energies.items()}

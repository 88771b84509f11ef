"""Primitive cells of perfect supercells, such as strained crystals: the same energy per atom with fewer atoms."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray
from scipy.spatial import KDTree

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.properties import ENERGY, FORCES, STANDARD

Integers = NDArray[np.int64]

POSITIONS = 3e-5  # Å; files round coordinates to 1e-5 Å, and a translation is a difference of two of them
LABELS = 0.02  # eV/Å; forces on equivalent atoms differ by noise of the reference method, of up to 0.007 in nickel


class Primitive(NamedTuple):
    """A primitive cell, and of how many of them its supercell consists.

    Attributes:
        configuration: the cell, with the energy of the supercell over ``copies``, the mean forces on equivalent atoms,
            and ``copies`` times the weight of forces.
        copies: 1 if the cell cannot be divided.
    """

    configuration: Configuration
    copies: int


def primitive_of(configuration: Configuration) -> Primitive:
    """Return the primitive cell of a configuration that is a perfect supercell, or else the configuration itself.

    Losses of energy and stress are those of the supercell, and the loss of the forces is so if it is summed over all
    atoms and divided by the number of components in the supercell. Equivalent atoms have the same forces in any model;
    their labels may differ by `LABELS`.

    Args:
        configuration: periodic in all directions, and without labels other than energy, forces and stress, charges and
            spins, or it is returned unchanged.
    """
    unchanged = Primitive(configuration, 1)
    known = {one.name for one in STANDARD}
    if not all(configuration.pbc) or configuration.charges is not None or configuration.spins is not None:
        return unchanged
    if not known.issuperset(configuration.labels):
        return unchanged
    shifts, maps = _translations(configuration)
    copies = len(shifts)
    if copies == 1:
        return unchanged
    labels = dict(configuration.labels)
    if ENERGY.name in labels:
        labels[ENERGY.name] = labels[ENERGY.name] / copies
    kept = np.flatnonzero(maps.min(axis=0) == np.arange(len(configuration)))
    if FORCES.name in labels:
        mean = labels[FORCES.name][maps].mean(axis=0)
        if np.abs(labels[FORCES.name] - mean).max() > LABELS:
            return unchanged
        labels[FORCES.name] = mean[kept]
    basis = _basis(shifts)
    if round(abs(np.linalg.det(basis))) != copies**2:
        return unchanged  # translations within the tolerance that are no group
    cell, _ = minkowski_reduce(basis / copies @ configuration.cell)
    stage_two = configuration.stage_two_weights
    smaller = replace(
        configuration,
        species=tuple(configuration.species[atom] for atom in kept),
        positions=configuration.positions[kept],
        cell=np.asarray(cell, dtype=np.float64),
        labels=labels,
        weights={**configuration.weights, FORCES.name: copies * configuration.weight(FORCES.name)},
        stage_two_weights={name: value * (copies if name == FORCES.name else 1) for name, value in stage_two.items()},
    )
    return Primitive(smaller, copies)


def _translations(configuration: Configuration) -> tuple[Integers, Integers]:
    """Return the translations that map all atoms onto others of the same element.

    Returns:
        (T, 3) translations in units of the lattice vectors over T, the first of them 0; (T, N) the atom that each atom
        is mapped onto.
    """
    elements = np.unique(configuration.species, return_inverse=True)[1]
    size = len(elements)
    only = np.zeros((1, 3), dtype=np.int64), np.arange(size)[None]
    if math.gcd(*Counter(configuration.species).values()) == 1:
        return only
    scaled = configuration.positions @ np.linalg.inv(configuration.cell)
    scaled -= np.floor(scaled)
    scaled[scaled >= 1.0] = 0.0
    rarest = int(np.argmin(np.bincount(elements)))
    found = scaled[elements == rarest] - scaled[elements == rarest][0]
    found = found[_maps_atom(found, size - 1, scaled, elements, configuration.cell)]
    if len(found) == 1:
        return only
    tree = KDTree(scaled, boxsize=1.0)
    kept, maps = [], []
    for shift in found:
        moved = scaled + shift
        _, nearest = tree.query(moved - np.floor(moved))
        distance = _lengths(moved - scaled[nearest], configuration.cell).max()
        if distance < POSITIONS and (elements[nearest] == elements).all() and len(set(nearest)) == size:
            kept.append(shift)
            maps.append(nearest)
    integers = np.array(kept) * len(kept)
    return np.round(integers).astype(np.int64), np.array(maps, dtype=np.int64)


def _maps_atom(shifts: Floats, atom: int, scaled: Floats, elements: Integers, cell: Floats) -> NDArray[np.bool_]:
    """Return which translations map one atom onto another: a fast test, which few pass in disordered structures."""
    others = scaled[elements == elements[atom]]
    lengths = _lengths(scaled[atom] + shifts[:, None] - others[None], cell)
    found: NDArray[np.bool_] = lengths.min(axis=1) < POSITIONS
    return found


def _lengths(differences: Floats, cell: Floats) -> Floats:
    """Return the lengths (...), Å, of differences (..., 3) of scaled coordinates, up to lattice vectors."""
    lengths: Floats = np.linalg.norm((differences - np.round(differences)) @ cell, axis=-1)
    return lengths


def _basis(shifts: Integers) -> Integers:
    """Return a basis (3, 3) of the lattice that translations (T, 3) and T times the unit vectors span.

    This is the Hermite normal form: Euclid's algorithm column by column.
    """
    rows = [*shifts.tolist(), *(len(shifts) * np.eye(3, dtype=np.int64)).tolist()]
    basis: list[list[int]] = []
    for column in range(3):
        while True:
            rows = sorted((row for row in rows if any(row)), key=lambda row: (row[column] == 0, abs(row[column])))
            pivot, rest = rows[0], rows[1:]
            if not any(row[column] for row in rest):
                break
            rows = [pivot, *(_reduced(row, pivot, column) for row in rest)]
        basis.append(pivot)
        rows = rest
    return np.array(basis, dtype=np.int64)


def _reduced(row: Sequence[int], pivot: Sequence[int], column: int) -> list[int]:
    factor = row[column] // pivot[column]
    return [one - factor * other for one, other in zip(row, pivot, strict=True)]

"""Search for pairs of similar configurations, and the energy difference that their labels of forces and stress imply.

Structures are compared in a frame that follows the cell, so that rigid rotations of periodic cells, wrapped positions
and the order of the elements do not matter. Atoms of one element must be in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from fitsnap_nn.data.configuration import Configuration, Floats

Indices = NDArray[np.int64]

NEIGHBOURS = 3  # similar configurations looked for per configuration
DIMENSIONS = 12  # of the random projection; it preserves distances within some 30 %
MAX_DISTANCE = 0.6  # Å; rms displacement between the configurations of a pair
MIN_UNIT_VOLUME = 1e-8  # see `fitsnap_nn.data.neighbours`
SPIN_DIGITS = 2  # to which the spins of a pair agree
CHUNK = 200_000  # atoms per block of array operations


@dataclass(frozen=True)
class Pairs:
    """P pairs (first, second) of similar configurations, each listed once.

    Attributes:
        first, second: (P,) indices of the configurations.
        displacement: (P,) Å, root mean square displacement of the atoms at fixed cell.
        strain: (P,) largest component of the strain between the cells; 0 if not periodic.
        volume: (P,) Å³, difference of the volumes of the cells; 0 if not periodic.
        energy: (P,) eV, difference of the energy labels; NaN if one is missing.
        force_work: (P,) eV, energy difference that the forces of both imply; NaN if one is missing.
        stress_work: (P,) eV, energy difference that the stresses of both imply; NaN if one is missing.
        path: (P,) eV, sum of the absolute contributions to both, the scale of their cancellation.
    """

    first: Indices
    second: Indices
    displacement: Floats
    strain: Floats
    volume: Floats
    energy: Floats
    force_work: Floats
    stress_work: Floats
    path: Floats

    def __len__(self) -> int:
        return len(self.first)

    def where(self, mask: NDArray[np.bool_]) -> Pairs:
        """Return the pairs that a mask (P,) selects."""
        return Pairs(*(getattr(self, one.name)[mask] for one in fields(self)))


def find_pairs(configurations: Sequence[Configuration]) -> Pairs:
    """Return pairs of configurations with the same composition and spins, and similar structures.

    The nearest configurations are found in a random projection of the positions (Johnson and Lindenstrauss), so that
    the cost does not grow with the square of the number of configurations.
    """
    buckets: dict[object, list[int]] = {}
    for index, configuration in enumerate(configurations):
        spins = None if configuration.spins is None else configuration.spins.round(SPIN_DIGITS).tobytes()
        key = (_order(configuration.species)[0], configuration.pbc, _is_lattice(configuration), spins)
        buckets.setdefault(key, []).append(index)
    found = [
        measured
        for members in buckets.values()
        if len(members) > 1
        for measured in _pairs_of([configurations[k] for k in members], np.array(members))
    ]
    return _joined(found)


def _joined(parts: Sequence[Pairs]) -> Pairs:
    """Return the pairs of several blocks."""
    none = np.empty(0, dtype=np.int64)
    indices = (np.concatenate([none, *(getattr(one, name) for one in parts)]) for name in ("first", "second"))
    names = [column.name for column in fields(Pairs)][2:]
    columns = (np.concatenate([np.empty(0), *(getattr(one, name) for one in parts)]) for name in names)
    return Pairs(*indices, *columns)


@lru_cache(maxsize=4096)
def _order(species: tuple[str, ...]) -> tuple[tuple[str, ...], Indices]:
    """Return the sorted symbols, and the stable order of the atoms that sorts them."""
    order = np.argsort(np.array(species), kind="stable")
    return tuple(sorted(species)), order


def _is_lattice(configuration: Configuration) -> bool:
    lengths = np.linalg.norm(configuration.cell, axis=1)
    return any(configuration.pbc) and bool(configuration.volume > MIN_UNIT_VOLUME * lengths.prod() > 0.0)


@dataclass(frozen=True)
class _Stack:
    """C configurations of N atoms in the frame that follows the cell (rows of ``shape``, lower triangular)."""

    fractional: Floats  # (C, N, 3)
    shape: Floats  # (C, 3, 3) Å
    periodic: NDArray[np.bool_]  # (3,)
    energy: Floats  # (C,)
    forces: Floats  # (C, N, 3)
    stress: Floats  # (C, 3, 3)


def _stack(members: Sequence[Configuration]) -> _Stack:
    """Return the arrays of configurations; missing labels are NaN."""
    lattice = _is_lattice(members[0])
    periodic = np.array(members[0].pbc)
    orders = [_order(one.species)[1] for one in members]
    positions = np.array([one.positions[order] for one, order in zip(members, orders, strict=True)])
    missing = np.full(positions.shape[1:], np.nan)
    forces = [missing if c.forces is None else c.forces[order] for c, order in zip(members, orders, strict=True)]
    energy = [np.nan if one.energy is None else one.energy for one in members]
    stress = [np.full((3, 3), np.nan) if c.stress is None else c.stress for c in members]
    cell = np.array([one.cell for one in members]) if lattice else np.broadcast_to(np.eye(3), (len(members), 3, 3))
    # cell = shape @ rotation; the shape depends on lengths and angles only.
    shape = np.linalg.cholesky(cell @ cell.transpose(0, 2, 1))
    rotation = np.linalg.solve(shape, cell)
    fractional = positions @ np.linalg.inv(cell)
    free = ~periodic
    fractional[..., free] -= fractional[..., free].mean(axis=1, keepdims=True)
    turned = rotation.transpose(0, 2, 1)
    return _Stack(
        fractional, shape, periodic, np.array(energy), np.array(forces) @ turned, rotation @ np.array(stress) @ turned
    )


def _chunks(n_atoms: int, count: int) -> Iterator[slice]:
    step = max(1, CHUNK // n_atoms)
    return (slice(start, start + step) for start in range(0, count, step))


def _pairs_of(members: Sequence[Configuration], numbers: Indices) -> Iterator[Pairs]:
    """Yield the pairs of one bucket in blocks; ``numbers`` are the indices of its members in the data set."""
    n_atoms = len(members[0])
    project = _projection(n_atoms)
    points = np.concatenate([project(_stack(members[chunk])) for chunk in _chunks(n_atoms, len(members))])
    count = min(NEIGHBOURS + 1, len(members))
    limit = 2.0 * MAX_DISTANCE * np.sqrt(n_atoms)
    distance, nearest = cKDTree(points).query(points, k=count, distance_upper_bound=limit)
    rows = np.repeat(np.arange(len(members)), count).reshape(nearest.shape)
    mask = np.isfinite(distance) & (nearest != rows)
    both = np.sort(np.stack([rows[mask], nearest[mask]], axis=1), axis=1)
    pairs = np.unique(both, axis=0) if len(both) else both
    for chunk in _chunks(n_atoms, len(pairs)):
        first, second = pairs[chunk].T
        used, where = np.unique(pairs[chunk], return_inverse=True)
        stack = _stack([members[k] for k in used])
        measured = _measure(stack, *where.reshape(-1, 2).T)
        found = Pairs(numbers[first], numbers[second], *measured)
        yield found.where(found.displacement < MAX_DISTANCE)


def _projection(n_atoms: int) -> Callable[[_Stack], Floats]:
    """Return a function that maps (C) structures to (C, DIMENSIONS) points whose distances are about those in Å."""
    generator = np.random.default_rng(0)
    on_atoms = generator.normal(size=(6 * n_atoms, DIMENSIONS)) / np.sqrt(DIMENSIONS)
    on_cell = generator.normal(size=(9, DIMENSIONS)) * np.sqrt(n_atoms / DIMENSIONS / 12.0)

    def project(stack: _Stack) -> Floats:
        # A periodic coordinate is a point on a circle whose circumference is the length of the lattice vector.
        lengths = np.linalg.norm(stack.shape, axis=2)[:, None, :]
        angle = 2.0 * np.pi * stack.fractional
        circle = [np.where(stack.periodic, f(angle) / (2.0 * np.pi), 0.0) * lengths for f in (np.sin, np.cos)]
        circle[0] = np.where(stack.periodic, circle[0], stack.fractional * lengths)
        atoms = np.concatenate(circle, axis=2).reshape(len(angle), -1)
        points: Floats = atoms @ on_atoms + stack.shape.reshape(-1, 9) @ on_cell
        return points

    return project


def _measure(stack: _Stack, first: Indices, second: Indices) -> tuple[Floats, ...]:
    """Return the columns of `Pairs` that follow the indices, for pairs of members of a stack.

    Along a straight path the energy difference is the integral of -F·dr + V σ:dε. The trapezoidal rule with the labels
    at both ends is exact for a harmonic energy.
    """
    step = stack.fractional[second] - stack.fractional[first]
    step = np.where(stack.periodic, step - np.round(step), step)
    change = stack.shape[second] - stack.shape[first]
    forces, stresses, paths = [], [], []
    for end in (first, second):
        shape = stack.shape[end]
        parts = -0.5 * np.einsum("pni,pni->pn", step @ shape, stack.forces[end])
        strain = np.linalg.solve(shape, change)
        volume = np.linalg.det(shape)[:, None, None]
        tensor_parts = 0.5 * volume * stack.stress[end] * strain
        forces.append(parts.sum(axis=1))
        stresses.append(tensor_parts.sum(axis=(1, 2)))
        paths.append(np.nansum(np.abs(parts), axis=1) + np.nansum(np.abs(tensor_parts), axis=(1, 2)))
    mean_shape = 0.5 * (stack.shape[first] + stack.shape[second])
    displacement = np.sqrt(((step @ mean_shape) ** 2).sum(axis=2).mean(axis=1))
    volume = np.linalg.det(stack.shape[second]) - np.linalg.det(stack.shape[first])
    energy = stack.energy[second] - stack.energy[first]
    return displacement, np.abs(strain).max(axis=(1, 2)), volume, energy, sum(forces), sum(stresses), sum(paths)

"""The fully periodic cell in which a configuration is summed in reciprocal space, and its wave vectors."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fitsnap_nn.data.configuration import Floats

# Accuracy of a slab: the potentials of its periodic images decay as exp(-k d) with the smallest wave number k in its
# plane and the width d of the vacuum. A third of it is the vacuum at which Gaussians no longer overlap, in sigma.
SLAB_DECAY = 18.0
STEPS_PER_DOUBLING = 4  # the height of the cell of a slab grows in steps, so that it does not follow the atoms
TIE = 1e-6  # in units of a lattice vector, far above rounding


class PeriodicBox(NamedTuple):
    """Periodic cell of a configuration; that of a slab has vacuum.

    Attributes:
        vectors: (3, 3) lattice vectors as rows, Å, differentiable with respect to the cell.
        lattice: the same as array, float64.
        normal: (3,) unit vector normal to a slab; ``None`` with three periodic directions.
        height: length of the cell along the normal, Å.
    """

    vectors: Tensor
    lattice: Floats
    normal: Tensor | None
    height: float


def periodic_box(positions: Tensor, cell: Tensor, periodic: NDArray[np.bool_], smearing: float) -> PeriodicBox:
    """Return the periodic cell of a configuration with two or three periodic directions.

    Args:
        positions: (N, 3) Å.
        cell: (3, 3) Å, lattice vectors as rows; that of a non-periodic direction is ignored.
        periodic: (3,) whether each direction is periodic.
        smearing: standard deviation of the charges, Å.
    """
    rows, normal, height = list(cell.unbind(0)), None, 0.0
    lattice = cell.detach().double().cpu().numpy().copy()
    if not periodic.all():
        (axis,) = np.flatnonzero(~periodic)
        direction = np.cross(*lattice[periodic])
        direction /= np.linalg.norm(direction)
        places = positions.detach().double().cpu().numpy() @ direction
        height = _height(float(np.ptp(places)), lattice[periodic], smearing)
        lattice[axis] = height * direction
        rows[axis], normal = (torch.from_numpy(one).to(cell) for one in (lattice[axis], direction))
    steps = _reduction(lattice)
    return PeriodicBox(torch.from_numpy(steps).to(cell) @ torch.stack(rows), steps @ lattice, normal, height)


def _reduction(lattice: Floats) -> Floats:
    """Return the integer matrix (3, 3) that reduces the tilts of a lattice to at most half a length, as LAMMPS does.

    The mesh of P3M is then the same in LAMMPS. Ties are broken in the same way whatever the rounding.
    """
    steps, lower = np.eye(3), np.linalg.cholesky(lattice @ lattice.T)
    for row, column in ((1, 0), (2, 1), (2, 0)):
        number = np.round(lower[row, column] / lower[column, column] + TIE)
        for matrix in (steps, lower):
            matrix[row] -= number * matrix[column]
    return steps


def _height(thickness: float, plane: Floats, smearing: float) -> float:
    """Return the height of a cell in which the periodic images of a slab do not matter, Å; in steps.

    Args:
        thickness: of the slab, Å.
        plane: (2, 3) lattice vectors, Å.
        smearing: Å.
    """
    first, second = sorted(plane, key=np.linalg.norm)
    while (number := np.round(first @ second / (first @ first))) != 0.0:  # reduction of Gauss
        first, second = sorted((first, second - number * first), key=np.linalg.norm)
    # The shortest wave vector is 2 pi over the distance of the rows along the shortest lattice vector.
    distance = float(np.linalg.norm(np.cross(first, second)) / np.linalg.norm(first))
    height = thickness + SLAB_DECAY * max(distance / (2.0 * math.pi), smearing / 3.0)
    return float(2.0 ** (math.ceil(STEPS_PER_DOUBLING * math.log2(height)) / STEPS_PER_DOUBLING))


def wave_numbers(lattice: Floats, maximum: float) -> Floats:
    """Return integer coefficients (K, 3) of the wave vectors up to a length, one of each pair k, -k, without 0.

    Args:
        lattice: (3, 3) lattice vectors as rows, Å.
        maximum: 1/Å.
    """
    # k . a = 2 pi n, so that |n| is at most |k| |a| / (2 pi).
    limits = np.floor(maximum * np.linalg.norm(lattice, axis=1) / (2.0 * np.pi)).astype(int)
    first, second, third = (np.arange(-limit, limit + 1.0) for limit in limits)
    numbers = np.stack(np.meshgrid(first, second, third, indexing="ij"), axis=-1).reshape(-1, 3)
    numbers = numbers[len(numbers) // 2 + 1 :]  # in this order, the first half are the negatives of the second
    vectors = 2.0 * np.pi * numbers @ np.linalg.inv(lattice).T
    selected: Floats = numbers[np.einsum("kx,kx->k", vectors, vectors) <= maximum**2]
    return selected


def slab_correction(positions: Tensor, charges: Tensor, box: PeriodicBox) -> Tensor:
    """Return the potentials that turn those of a stack of slabs into those of one slab.

    I.-C. Yeh and M. L. Berkowitz, J. Chem. Phys. 111, 3155 (1999); with a total charge, V. Ballenegger, A. Arnold and
    J. J. Cerdà, J. Chem. Phys. 131, 094107 (2009).

    Args:
        positions: (N, 3) Å.
        charges: (N, channels).
        box: of a slab.

    Returns:
        (N, channels) in units of charge per Å.
    """
    assert box.normal is not None
    place = (positions @ box.normal)[:, None]
    total, dipole = charges.sum(dim=0), (charges * place).sum(dim=0)
    second = (charges * place.square()).sum(dim=0)
    terms = place * dipole - 0.5 * (second + total * place.square()) - total * (box.height**2 / 12.0)
    found: Tensor = 4.0 * math.pi / torch.linalg.det(box.vectors).abs() * terms
    return found

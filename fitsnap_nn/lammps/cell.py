"""Conversion of general cells to LAMMPS' restricted triclinic frame: a along +x, b in the xy plane with y > 0.

The frame is described in the LAMMPS manual (Howto_triclinic). Atoms are transformed by proper rotations only. A left-
handed cell is made right-handed by replacing c with -c, which spans the same lattice, so that no configuration is
reflected. Tilts are reduced to at most half a box length by adding lattice vectors, which does not change the lattice
either. Along a non-periodic direction the lattice vector has no meaning. It is replaced by a vector orthogonal to the
others, and the box extends ``MARGIN`` beyond the outermost atoms, so that every combination of periodic directions can
be represented.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.voigt import from_voigt, voigt
from fitsnap_nn.errors import DataError

MARGIN = 10.0  # Å of vacuum around the atoms along non-periodic directions
TILT_TOLERANCE = 1e-11  # Å; smaller tilts are rounding errors and would make an orthogonal box triclinic
MIN_UNIT_VOLUME = 1e-8  # volume spanned by the normalised lattice vectors below which they are linearly dependent


@dataclass(frozen=True, eq=False)
class LammpsCell:
    """A configuration in LAMMPS' restricted triclinic frame.

    Attributes:
        lo, hi: (3,) Å, ``xlo ylo zlo`` and ``xhi yhi zhi`` of ``region prism``.
        xy, xz, yz: tilt factors, Å.
        boundary: arguments of the ``boundary`` command: ``p`` (periodic) or ``f`` (fixed) per direction.
        positions: (N, 3) Å, rotated, and wrapped into the box along periodic directions.
        rotation: (3, 3) proper rotation matrix; a vector v of the configuration is ``rotation @ v`` in LAMMPS.
    """

    lo: Floats
    hi: Floats
    xy: float
    xz: float
    yz: float
    boundary: str
    positions: Floats
    rotation: Floats

    @property
    def box(self) -> Floats:
        """(3, 3) box vectors as rows in the LAMMPS frame, Å."""
        lx, ly, lz = self.hi - self.lo
        return np.array([[lx, 0.0, 0.0], [self.xy, ly, 0.0], [self.xz, self.yz, lz]])

    @property
    def triclinic(self) -> bool:
        """Whether any tilt differs from zero."""
        return any((self.xy, self.xz, self.yz))

    def vectors_back(self, vectors: Floats) -> Floats:
        """Rotate vectors, such as forces, from the LAMMPS frame to the frame of the configuration.

        Args:
            vectors: (..., 3), rows are vectors.
        """
        return vectors @ self.rotation

    def stress_back(self, components: Floats) -> Floats:
        """Rotate symmetric tensors from the LAMMPS frame to the frame of the configuration.

        Args:
            components: (..., 6) in Voigt order.
        """
        return voigt(self.rotation.T @ from_voigt(components) @ self.rotation)


def in_lammps_frame(configuration: Configuration) -> Configuration:
    """Return a configuration rotated to the LAMMPS frame, without labels.

    Needed to compare with LAMMPS where the energy of a model is not rotationally invariant.

    Raises:
        DataError: see `to_lammps`.
    """
    rotation = to_lammps(configuration).rotation
    spins = configuration.spins
    if spins is not None:
        spins = np.column_stack([spins[:, 0], spins[:, 1:] @ rotation.T])
    return replace(
        configuration,
        positions=configuration.positions @ rotation.T,
        cell=configuration.cell @ rotation.T,
        spins=spins,
        labels={},
    )


def to_lammps(configuration: Configuration) -> LammpsCell:
    """Return the box, the rotation and the wrapped positions that represent a configuration in LAMMPS.

    Raises:
        DataError: the lattice vectors of the periodic directions are linearly dependent, or a number is not finite.
    """
    if not (np.isfinite(configuration.cell).all() and np.isfinite(configuration.positions).all()):
        raise DataError(
            f"{configuration.id}: a position or a lattice vector is not a finite number. Correct the structure."
        )
    pbc = np.array(configuration.pbc, dtype=bool)
    cell = _right_handed(configuration, pbc)
    rotation = _rotation(cell)
    # The rotation makes the cell lower triangular; np.tril removes the rounding errors above the diagonal.
    box = _reduce_tilts(np.tril(cell @ rotation.T))
    positions = configuration.positions @ rotation.T

    # LAMMPS would wrap the atoms as well, but data files and processor grids need the wrapped positions here.
    wraps = np.where(pbc, np.floor(positions @ np.linalg.inv(box)), 0.0)
    positions = positions - wraps @ box

    lo = np.where(pbc, 0.0, positions.min(axis=0) - MARGIN)
    hi = np.where(pbc, np.diag(box), positions.max(axis=0) + MARGIN)
    boundary = " ".join("p" if periodic else "f" for periodic in pbc)
    xy, xz, yz = float(box[1, 0]), float(box[2, 0]), float(box[2, 1])
    return LammpsCell(lo, hi, xy, xz, yz, boundary, positions, rotation)


def repeats(cell: LammpsCell, atoms: int) -> tuple[int, int, int]:
    """Return replications along periodic directions for about a number of atoms in a nearly cubic box."""
    lengths = cell.hi - cell.lo
    periodic = [letter == "p" for letter in cell.boundary.split()]
    side = (atoms / len(cell.positions) * float(np.prod(lengths))) ** (1 / 3)
    first, second, third = (math.ceil(side / length) if p else 1 for length, p in zip(lengths, periodic, strict=True))
    return first, second, third


def _right_handed(configuration: Configuration, pbc: NDArray[np.bool_]) -> Floats:
    """Return (3, 3) right-handed lattice vectors, with orthogonal unit vectors along non-periodic directions.

    Raises:
        DataError: the lattice vectors of the periodic directions are linearly dependent.
    """
    cell = np.array(configuration.cell, dtype=np.float64)
    periodic = np.flatnonzero(pbc)
    if len(periodic) == 0:
        return np.eye(3)
    if len(periodic) == 1:
        k = periodic[0]
        first, second = (k + 1) % 3, (k + 2) % 3
        # The cross product needs a vector that is not nearly parallel to the lattice vector.
        trial = np.eye(3)[first]
        if abs(cell[k] @ trial) > 0.9 * math.sqrt(cell[k] @ cell[k]):
            trial = np.eye(3)[k]
        cell[second] = _unit(_cross(cell[k], trial))
        cell[first] = _unit(_cross(cell[second], cell[k]))
    if len(periodic) == 2:
        k = np.flatnonzero(~pbc)[0]
        cell[k] = _unit(_cross(cell[(k + 1) % 3], cell[(k + 2) % 3]))
    volume = _unit(cell[0]) @ _cross(_unit(cell[1]), _unit(cell[2]))
    if not abs(volume) > MIN_UNIT_VOLUME:
        raise DataError(
            f"{configuration.id}: the lattice vectors of the periodic directions do not span a cell: "
            f"{np.asarray(configuration.cell).tolist()}. Correct the lattice, or mark the direction as not periodic."
        )
    if volume < 0:
        cell[2] *= -1
    return cell


def _unit(vector: Floats) -> Floats:
    """Return a vector divided by its length; the zero vector is returned unchanged."""
    length = math.sqrt(vector @ vector)
    return vector / length if length > 0 else vector


def _cross(first: Floats, second: Floats) -> Floats:
    """Return the cross product of two vectors of length 3, ten times faster than ``np.cross``."""
    (a, b, c), (d, e, f) = first.tolist(), second.tolist()
    return np.array([b * f - c * e, c * d - a * f, a * e - b * d])


def _rotation(cell: Floats) -> Floats:
    """Return the (3, 3) proper rotation that aligns a with +x and rotates b into the xy plane with y > 0."""
    # The rows are the axes of the LAMMPS frame: along a, in the plane of a and b, and normal to it.
    x = _unit(cell[0])
    z = _unit(_cross(cell[0], cell[1]))
    return np.array([x, _cross(z, x), z])


def _reduce_tilts(box: Floats) -> Floats:
    """Reduce each tilt to at most half a box length without changing the lattice.

    Highly skewed boxes need more ghost atoms (LAMMPS manual, Howto_triclinic). Tilts that involve a non-periodic
    direction are zero except for rounding.

    Args:
        box: (3, 3) lower triangular box vectors as rows, Å; modified in place.
    """
    # yz before xz: subtracting b from c changes both yz and xz, subtracting a changes xz only.
    for row, column in ((1, 0), (2, 1), (2, 0)):
        box[row] -= np.round(box[row, column] / box[column, column]) * box[column]
        if abs(box[row, column]) < TILT_TOLERANCE:
            box[row, column] = 0.0
    return box

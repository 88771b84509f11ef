"""From any cell to the one LAMMPS can hold: a along +x, b in the upper half of the xy plane, c above it.

The atoms are only ever turned by a proper rotation. A left-handed cell is made right-handed by atomic_write c
with -c, which spans the same lattice; no configuration is reflected. Tilts are brought below half a box
length by adding lattice vectors, which again leaves the lattice as it is. Along a direction that is not periodic the
lattice vector means nothing, so it is replaced by one at right angles to the others, and the box ends
``MARGIN`` beyond the outermost atoms: every combination of periodic directions can be represented.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.voigt import from_voigt, voigt
from fitsnap_nn.errors import DataError

MARGIN = 10.0  # Å of vacuum around the atoms along a direction that is not periodic
NO_TILT = 1e-11  # Å; smaller tilts are rounding, and would make an orthogonal box triclinic
DEGENERATE = 1e-8  # volume of the unit vectors along a, b and c below which they do not span space


@dataclass(frozen=True, eq=False)
class LammpsCell:
    """A configuration in LAMMPS' restricted triclinic frame.

    Attributes:
        lo, hi: (3,) Å, ``xlo ylo zlo`` and ``xhi yhi zhi`` as ``region prism`` takes them.
        xy, xz, yz: tilts, Å.
        boundary: arguments of the ``boundary`` command, ``p`` where periodic and ``f`` elsewhere.
        positions: (N, 3) Å, rotated, and wrapped into the box along periodic directions.
        rotation: (3, 3), proper: a vector v of the configuration is ``rotation @ v`` in LAMMPS.
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
        """(3, 3) Å, the box vectors as rows, in LAMMPS' frame."""
        lx, ly, lz = self.hi - self.lo
        return np.array([[lx, 0.0, 0.0], [self.xy, ly, 0.0], [self.xz, self.yz, lz]])

    @property
    def triclinic(self) -> bool:
        """Whether any tilt differs from zero."""
        return any((self.xy, self.xz, self.yz))

    def vectors_back(self, vectors: Floats) -> Floats:
        """(..., 3) vectors, such as forces, from LAMMPS' frame to the configuration's own."""
        return vectors @ self.rotation

    def stress_back(self, components: Floats) -> Floats:
        """(..., 6) symmetric tensors in Voigt order, from LAMMPS' frame to the configuration's own."""
        return voigt(self.rotation.T @ from_voigt(components) @ self.rotation)


def in_lammps_frame(configuration: Configuration) -> Configuration:
    """A configuration turned as LAMMPS needs it, without labels: for models whose energies depend on that.

    Raises:
        DataError: as `to_lammps`.
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
    """The box, the rotation and the wrapped positions that represent a configuration in LAMMPS.

    Raises:
        DataError: the lattice vectors of the periodic directions do not span space, or a number is not finite.
    """
    if not (np.isfinite(configuration.cell).all() and np.isfinite(configuration.positions).all()):
        raise DataError(
            f"{configuration.id}: a position or a lattice vector is not a finite number. Mend the structure."
        )
    pbc = np.array(configuration.pbc, dtype=bool)
    cell = _right_handed(configuration, pbc)
    rotation = _rotation(cell)
    box = _reduced(np.tril(cell @ rotation.T))
    positions = configuration.positions @ rotation.T

    turns = np.where(pbc, np.floor(positions @ np.linalg.inv(box)), 0.0)
    positions = positions - turns @ box

    lo = np.where(pbc, 0.0, positions.min(axis=0) - MARGIN)
    hi = np.where(pbc, np.diag(box), positions.max(axis=0) + MARGIN)
    boundary = " ".join("p" if periodic else "f" for periodic in pbc)
    xy, xz, yz = float(box[1, 0]), float(box[2, 0]), float(box[2, 1])
    return LammpsCell(lo, hi, xy, xz, yz, boundary, positions, rotation)


def _right_handed(configuration: Configuration, pbc: NDArray[np.bool_]) -> Floats:
    """(3, 3) right-handed lattice vectors; unit vectors at right angles to the others where not periodic."""
    cell = np.array(configuration.cell, dtype=np.float64)
    periodic = np.flatnonzero(pbc)
    if len(periodic) == 0:
        return np.eye(3)
    if len(periodic) == 1:
        k = periodic[0]
        first, second = (k + 1) % 3, (k + 2) % 3
        trial = np.eye(3)[first]
        if abs(cell[k] @ trial) > 0.9 * math.sqrt(cell[k] @ cell[k]):
            trial = np.eye(3)[k]
        cell[second] = _unit(_cross(cell[k], trial))
        cell[first] = _unit(_cross(cell[second], cell[k]))
    if len(periodic) == 2:
        k = np.flatnonzero(~pbc)[0]
        cell[k] = _unit(_cross(cell[(k + 1) % 3], cell[(k + 2) % 3]))
    volume = _unit(cell[0]) @ _cross(_unit(cell[1]), _unit(cell[2]))
    if not abs(volume) > DEGENERATE:
        raise DataError(
            f"{configuration.id}: the lattice vectors of the periodic directions do not span a cell: "
            f"{np.asarray(configuration.cell).tolist()}. Mend the lattice, or mark the direction as not periodic."
        )
    if volume < 0:
        cell[2] *= -1
    return cell


def _unit(vector: Floats) -> Floats:
    """A vector divided by its length; zero stays zero."""
    length = math.sqrt(vector @ vector)
    return vector / length if length > 0 else vector


def _cross(first: Floats, second: Floats) -> Floats:
    """The product of two single vectors; numpy's, for arrays of them, takes ten times as long."""
    (a, b, c), (d, e, f) = first.tolist(), second.tolist()
    return np.array([b * f - c * e, c * d - a * f, a * e - b * d])


def _rotation(cell: Floats) -> Floats:
    """The proper rotation that turns a to +x and b into the upper half of the xy plane."""
    x = _unit(cell[0])
    z = _unit(_cross(cell[0], cell[1]))
    return np.array([x, _cross(z, x), z])


def _reduced(box: Floats) -> Floats:
    """The same lattice with each tilt at most half a box length; directions not periodic have none but rounding."""
    for row, column in ((1, 0), (2, 1), (2, 0)):
        box[row] -= np.round(box[row, column] / box[column, column]) * box[column]
        if abs(box[row, column]) < NO_TILT:
            box[row, column] = 0.0
    return box

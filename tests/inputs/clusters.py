"""An independent way to descriptors and energies: LAMMPS on a cluster that holds every image as an atom of its own.
Neither boxes, nor rotations, nor periodic boundaries, nor command strings are shared with the code that is tested."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.lammps.session import ARRAY, VECTOR, open_lammps

ELEMENTS = ("In", "P")


def make_configuration(cell, fractions, species, pbc=(True, True, True), name="group/file") -> Configuration:
    cell = np.array(cell, dtype=float)
    return Configuration(name, name.split("/")[0], tuple(species), np.array(fractions) @ cell, cell, pbc)


def finite_difference(function: Callable[[float], np.ndarray], step: float = 1e-3) -> np.ndarray:
    """Fourth-order central difference at 0."""
    near = function(step) - function(-step)
    far = function(2 * step) - function(-2 * step)
    return (8.0 * near - far) / (12.0 * step)


def displaced(configuration: Configuration, atom: int, axis: int, distance: float) -> Configuration:
    positions = configuration.positions.copy()
    positions[atom, axis] += distance
    return Configuration("moved", "", configuration.species, positions, configuration.cell, configuration.pbc)


def strained(configuration: Configuration, direction: int, amount: float) -> Configuration:
    """Voigt order xx yy zz yz xz xy; a shear is split evenly over both off-diagonal elements."""
    strain = np.zeros((3, 3))
    row, column = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))[direction]
    strain[row, column] += 0.5 * amount
    strain[column, row] += 0.5 * amount
    deformation = np.eye(3) + strain
    return Configuration(
        "strained",
        "",
        configuration.species,
        configuration.positions @ deformation,
        configuration.cell @ deformation,
        configuration.pbc,
    )


class Oracle:
    """LAMMPS on explicit clusters."""

    def __init__(self, elements: tuple[str, ...]) -> None:
        self._lammps = open_lammps()
        self._elements = elements

    def close(self) -> None:
        self._lammps.close()

    def descriptors(self, configuration: Configuration, arguments: str, reach: float) -> np.ndarray:
        """(N, D) of compute sna/atom with its arguments written out."""
        self._cluster(configuration, reach)
        self._lammps.commands_string(f"pair_style zero {reach} nocoeff\npair_coeff * *")
        self._lammps.command(f"compute b centre sna/atom {arguments}")
        return self._evaluate(ARRAY, len(configuration))

    def energy(self, configuration: Configuration, commands: str, reach: float) -> float:
        """Energies of the atoms of one cell, summed."""
        self._cluster(configuration, reach)
        self._lammps.commands_string(f"{commands}\ncompute b all pe/atom")
        return float(self._evaluate(VECTOR, len(configuration)).sum())

    def _cluster(self, configuration: Configuration, reach: float) -> None:
        extents = [0, 0, 0]
        periodic = np.flatnonzero(configuration.pbc)
        if len(periodic) == 3:
            heights = 1.0 / np.linalg.norm(np.linalg.inv(configuration.cell), axis=0)
            spread = np.ptp(configuration.positions @ np.linalg.inv(configuration.cell), axis=0)
            extents = [int(np.ceil(reach / height + extra)) for height, extra in zip(heights, spread, strict=True)]
        elif len(periodic) > 0:
            extents = [3 if flag else 0 for flag in configuration.pbc]
        shifts = sorted(product(*(range(-extent, extent + 1) for extent in extents)), key=np.any)
        positions = np.concatenate([configuration.positions + np.array(shift) @ configuration.cell for shift in shifts])
        types = np.tile([self._elements.index(s) + 1 for s in configuration.species], len(shifts))
        gaps = np.linalg.norm(positions[:, None] - configuration.positions, axis=2).min(axis=1)
        positions, types = positions[gaps < reach], types[gaps < reach]
        low, high = positions.min() - 1.0, positions.max() + 1.0
        lammps = self._lammps
        lammps.commands_string(
            f"clear\natom_modify map array sort 0 0\nunits metal\nboundary f f f\n"
            f"region r block {low} {high} {low} {high} {low} {high}\ncreate_box {len(self._elements)} r\nmass * 1"
        )
        count = len(positions)
        lammps.create_atoms(count, list(range(1, count + 1)), types.tolist(), positions.ravel().tolist())
        lammps.command(f"group centre id 1:{len(configuration)}")

    def _evaluate(self, kind: int, count: int) -> np.ndarray:
        """The compute b of the first atoms."""
        lammps = self._lammps
        lammps.commands_string("neighbor 0.01 nsq\nrun 0 post no")
        values = lammps.numpy.extract_compute("b", 1, kind)
        order = np.argsort(lammps.numpy.extract_atom("id")[: lammps.get_natoms()])
        return np.array(values)[order][:count]

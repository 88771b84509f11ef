"""A short look over a data set for what is most often wrong in one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.errors import DataError
from fitsnap_nn.lammps.cell import to_lammps

TOO_CLOSE = 0.5  # Å
SHOWN = 3  # configurations named in a warning


def audit(configurations: Sequence[Configuration], elements: Sequence[str]) -> list[str]:
    """Warnings, each about one kind of trouble and naming the first configurations that have it.

    Raises:
        DataError: a cell that does not span space.
    """
    present = {symbol for configuration in configurations for symbol in configuration.species}
    absent = [symbol for symbol in elements if symbol not in present]
    warnings = [f"no configuration has {', '.join(absent)}: nothing is learnt of it."] if absent else []

    close = [configuration.id for configuration in configurations if atoms_closer_than(configuration, TOO_CLOSE)]
    warnings += _warning(close, f"atoms closer than {TOO_CLOSE} Å")
    flat = [configuration.id for configuration in configurations if _stress_without_volume(configuration)]
    warnings += _warning(flat, "a stress label that is not fitted, as the cell is not periodic in all directions")

    trained = {configuration.fingerprint() for configuration in configurations if not configuration.testing}
    shared = [item.id for item in configurations if item.testing and item.fingerprint() in trained]
    return warnings + _warning(shared, "held out, but the same atoms and cell are trained on")


def atoms_closer_than(configuration: Configuration, distance: float) -> bool:
    """Whether two atoms are closer than a distance in Å, over periodic boundaries too.

    The distance must be small beside the cell: of two atoms only the images nearest in lattice coordinates count.
    """
    if all(configuration.pbc):
        box, positions = configuration.cell, configuration.positions
    else:  # where it is not periodic, the box of LAMMPS has room to spare
        cell = to_lammps(configuration)
        box, positions = cell.box, cell.positions - cell.lo
    try:
        inverse = np.linalg.inv(box)
    except np.linalg.LinAlgError:
        raise DataError(f"{configuration.id}: the lattice vectors do not span a cell. Mend the lattice.") from None
    scaled = positions @ inverse
    scaled -= np.floor(scaled)
    scaled[scaled >= 1.0] = 0.0  # what rounding put on the far side
    radius = distance * float(np.sqrt((inverse**2).sum()))  # no less than the longest image of a unit vector
    pairs = cKDTree(scaled, boxsize=1.0).query_pairs(radius, output_type="ndarray")
    apart = scaled[pairs[:, 0]] - scaled[pairs[:, 1]]
    apart -= np.round(apart)
    return bool((np.linalg.norm(apart @ box, axis=1) < distance).any())


def _stress_without_volume(configuration: Configuration) -> bool:
    return configuration.stress is not None and not all(configuration.pbc)


def _warning(ids: Sequence[str], what: str) -> list[str]:
    if not ids:
        return []
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return [f"{', '.join(ids[:SHOWN])}{more}: {what}."]

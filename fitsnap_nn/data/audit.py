"""Checks of a data set for the most common mistakes."""

from __future__ import annotations

from collections.abc import Sequence

from fitsnap_nn.data.configuration import Configuration, Subset
from fitsnap_nn.data.neighbours import find_neighbours

TOO_CLOSE = 0.5  # Å
SHOWN = 3  # configurations named in a warning


def audit(configurations: Sequence[Configuration], elements: Sequence[str]) -> list[str]:
    """Return warnings, one for each kind of problem, naming the first configurations that have it.

    Raises:
        DataError: a cell that does not span space.
    """
    present = {symbol for configuration in configurations for symbol in configuration.species}
    absent = [symbol for symbol in elements if symbol not in present]
    warnings = [f"no configuration has {', '.join(absent)}: the model learns nothing about it."] if absent else []

    close = [configuration.id for configuration in configurations if atoms_closer_than(configuration, TOO_CLOSE)]
    warnings += _warning(close, f"atoms closer than {TOO_CLOSE} Å")
    flat = [configuration.id for configuration in configurations if _stress_without_volume(configuration)]
    warnings += _warning(flat, "a stress label that is not fitted, as the cell is not periodic in all directions")

    trained = {one.fingerprint() for one in configurations if one.subset is Subset.TRAINING}
    held_out = [one for one in configurations if one.subset is not Subset.TRAINING]
    shared = [one.id for one in held_out if one.fingerprint() in trained]
    return warnings + _warning(shared, "held out, but the same atoms and cell are in the training set")


def atoms_closer_than(configuration: Configuration, distance: float) -> bool:
    """Return whether two atoms are closer than a distance in Å, across periodic boundaries too.

    Raises:
        DataError: the lattice vectors do not span a cell.
    """
    return len(find_neighbours(configuration, distance).i) > 0


def _stress_without_volume(configuration: Configuration) -> bool:
    return configuration.stress is not None and not all(configuration.pbc)


def _warning(ids: Sequence[str], what: str) -> list[str]:
    if not ids:
        return []
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return [f"{', '.join(ids[:SHOWN])}{more}: {what}."]

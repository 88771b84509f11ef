"""Checks of a data set for common mistakes."""

from __future__ import annotations

from collections.abc import Sequence

from fitsnap_nn.data.configuration import Configuration, Subset
from fitsnap_nn.data.neighbours import find_neighbours

TOO_CLOSE = 0.5  # Å; shorter than any bond
MAX_NAMES = 3  # configurations named per warning


def audit(configurations: Sequence[Configuration], elements: Sequence[str]) -> list[str]:
    """Return one warning per kind of problem, which names the first configurations affected.

    Args:
        configurations: all sets of the fit.
        elements: chemical symbols of the fit.

    Raises:
        DataError: the lattice vectors of a cell are linearly dependent.
    """
    present = {symbol for configuration in configurations for symbol in configuration.species}
    absent = [symbol for symbol in elements if symbol not in present]
    warnings = [f"no configuration contains {', '.join(absent)}: the model is not trained for it."] if absent else []

    close = [configuration.id for configuration in configurations if atoms_closer_than(configuration, TOO_CLOSE)]
    warnings += _warning(close, f"atoms closer than {TOO_CLOSE} Å")
    not_periodic = [configuration.id for configuration in configurations if _stress_without_volume(configuration)]
    warnings += _warning(
        not_periodic, "the stress label is ignored, because the cell is not periodic in all directions"
    )

    training = {one.fingerprint() for one in configurations if one.subset is Subset.TRAINING}
    other_sets = [one for one in configurations if one.subset is not Subset.TRAINING]
    duplicates = [one.id for one in other_sets if one.fingerprint() in training]
    return warnings + _warning(
        duplicates, "in the validation or test set, but the same atoms and cell are in the training set"
    )


def atoms_closer_than(configuration: Configuration, distance: float) -> bool:
    """Return whether two atoms, periodic images included, are closer than a distance.

    Args:
        distance: Å.

    Raises:
        DataError: the lattice vectors are linearly dependent.
    """
    return len(find_neighbours(configuration, distance).i) > 0


def _stress_without_volume(configuration: Configuration) -> bool:
    return configuration.stress is not None and not all(configuration.pbc)


def _warning(ids: Sequence[str], problem: str) -> list[str]:
    if not ids:
        return []
    more = f" and {len(ids) - MAX_NAMES} more" if len(ids) > MAX_NAMES else ""
    return [f"{', '.join(ids[:MAX_NAMES])}{more}: {problem}."]

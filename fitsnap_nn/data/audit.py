"""Checks of a data set for common mistakes."""

from __future__ import annotations

from collections.abc import Sequence

from fitsnap_nn.data.configuration import Configuration, Subset
from fitsnap_nn.data.findings import Finding
from fitsnap_nn.data.neighbours import find_neighbours

TOO_CLOSE = 0.5  # Å; shorter than any bond
STRESS_IGNORED = "the stress label is ignored, because the cell is not periodic in all directions."
SEEN = "in the validation or test set, but the same atoms and cell are in the training set."


def audit(configurations: Sequence[Configuration], elements: Sequence[str]) -> list[Finding]:
    """Return the problems of a data set.

    Args:
        configurations: all sets of the fit.
        elements: chemical symbols of the fit.

    Raises:
        DataError: the lattice vectors of a cell are linearly dependent.
    """
    present = {symbol for configuration in configurations for symbol in configuration.species}
    findings = []
    if absent := [symbol for symbol in elements if symbol not in present]:
        findings.append(Finding(f"no configuration contains {', '.join(absent)}: the model is not trained for it."))
    for configuration in configurations:
        if atoms_closer_than(configuration, TOO_CLOSE):
            findings.append(Finding(f"atoms closer than {TOO_CLOSE} Å.", configuration.id))
        if configuration.stress is not None and not all(configuration.pbc):
            findings.append(Finding(STRESS_IGNORED, configuration.id))
    training = {one.fingerprint() for one in configurations if one.subset is Subset.TRAINING}
    other_sets = [one for one in configurations if one.subset is not Subset.TRAINING]
    return findings + [Finding(SEEN, one.id) for one in other_sets if one.fingerprint() in training]


def atoms_closer_than(configuration: Configuration, distance: float) -> bool:
    """Return whether two atoms, periodic images included, are closer than a distance.

    Args:
        distance: Å.

    Raises:
        DataError: the lattice vectors are linearly dependent.
    """
    return len(find_neighbours(configuration, distance).i) > 0

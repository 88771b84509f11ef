"""Checks of a data set for common mistakes, made by ``check`` and before each fit.

To add a check, write a function that takes `Measures` and returns findings, and list it in `CHECKS`. A check must not
warn about a correct data set, however unusual its structures are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fitsnap_nn.data.audit.absolute_units import energies_in_other_units, lengths_in_other_units
from fitsnap_nn.data.audit.composition import absent_elements, undetermined_element_energies, unused_isolated_atoms
from fitsnap_nn.data.audit.consistency import wrong_units
from fitsnap_nn.data.audit.labels import force_outliers, net_forces, wrong_energies, zero_stresses
from fitsnap_nn.data.audit.measures import Measures
from fitsnap_nn.data.audit.stress_offset import offset_stresses
from fitsnap_nn.data.audit.structures import (
    atoms_too_close,
    duplicates,
    one_run_on_both_sides,
    stress_without_volume,
)
from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.findings import Finding
from fitsnap_nn.settings.schema import Settings

CHECKS: tuple[Callable[[Measures], list[Finding]], ...] = (
    absent_elements,
    undetermined_element_energies,
    unused_isolated_atoms,
    atoms_too_close,
    stress_without_volume,
    duplicates,
    one_run_on_both_sides,
    wrong_units,
    energies_in_other_units,
    lengths_in_other_units,
    wrong_energies,
    force_outliers,
    net_forces,
    zero_stresses,
    offset_stresses,
)


def audit(configurations: Sequence[Configuration], settings: Settings) -> list[Finding]:
    """Return the findings of all checks.

    Args:
        configurations: all sets of the fit.
        settings: checked settings.

    Raises:
        DataError: the lattice vectors of a cell are linearly dependent.
    """
    data = Measures(configurations, settings)
    return [finding for check in CHECKS for finding in check(data)]

"""Uncertainty of the energies, and how it compares with the errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fitsnap_nn.data.properties import ENERGY
from fitsnap_nn.reports.results import Floats, Result, pairs

OPENING = "uncertainty: "
MIN_CONFIGURATIONS = 10  # below, a correlation is a matter of chance


def energy_spread(results: Sequence[Result], name: str) -> list[str]:
    """Return a line with the mean spread of the energies, and its correlation with the error.

    Args:
        results: predictions and labels of one set.
        name: name of the set.

    Returns:
        One line; none if the predictions have no uncertainty.
    """
    found = [one for one in results if one.evaluation.spread]
    if not found:
        return []
    spread = _spread(found)
    mean = 1000 * spread.mean()
    line = f"  {OPENING}standard deviation of the energy {mean:.3g} meV/atom (mean over the {name} set"
    labelled = [one for one in found if one.configuration.energy is not None]
    if len(labelled) < MIN_CONFIGURATIONS:
        return [f"{line})"]
    errors, spread = pairs(ENERGY, labelled), _spread(labelled)
    sizes = np.abs(errors.model - errors.target)
    if min(sizes.std(), spread.std()) == 0.0:
        return [f"{line})"]
    return [f"{line}); correlation with the absolute error {np.corrcoef(spread, sizes)[0, 1]:.2f}"]


def _spread(results: Sequence[Result]) -> Floats:
    """Return the standard deviation of the energy per atom of each configuration, eV/atom."""
    return np.array([one.evaluation.spread[ENERGY.name] / len(one.configuration) for one in results])

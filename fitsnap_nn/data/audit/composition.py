"""Checks of the elements: are they present, and do the data determine their energies?"""

from __future__ import annotations

import numpy as np

from fitsnap_nn.data.audit.measures import Measures
from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.data.findings import Finding
from fitsnap_nn.data.neighbours import is_isolated

TOLERANCE = 1e-6  # relative, of singular values of the compositions


def absent_elements(data: Measures) -> list[Finding]:
    """Find elements of the settings that no configuration contains."""
    absent = [
        symbol for symbol, there in zip(data.settings.elements, data.fractions.sum(axis=0), strict=True) if not there
    ]
    if not absent:
        return []
    return [
        Finding(
            f"no configuration contains {', '.join(absent)}: this fit does not train the model for it. Remove the "
            f"element from [{data.settings.elements_key[0]}] {data.settings.elements_key[1]}, or add data."
        )
    ]


def undetermined_element_energies(data: Measures) -> list[Finding]:
    """Find compositions that do not determine every element energy.

    With one composition only, any choice gives the same fit, which is a note. With several, energy differences between
    compositions depend on an arbitrary choice, which is a warning.
    """
    training = [k for k, one, _ in data.labelled("energy") if one.subset is Subset.TRAINING]
    if not _by_least_squares(data) or not training:
        return []
    fractions = np.unique(data.fractions[training].round(9), axis=0)
    present = int(fractions.any(axis=0).sum())
    rank = int(np.linalg.matrix_rank(fractions, tol=TOLERANCE))
    if rank == present:
        return []
    if len(fractions) == 1:
        what = "all training configurations have the same composition, so that the element energies are arbitrary"
        return [Finding(f"{what}: use the potential for this composition only, or add isolated atoms.", warning=False)]
    return [
        Finding(
            f"the compositions of the training set determine {rank} of {present} element energies. Add configurations "
            "of other compositions or isolated atoms, or set [PYTORCH] element_energies."
        )
    ]


def unused_isolated_atoms(data: Measures) -> list[Finding]:
    """Find isolated atoms of all elements in a fit whose element energies come from least squares.

    The least-squares energies follow the many other configurations, so that the isolated atoms have large residuals and
    atomisation energies are less accurate.
    """
    if not _by_least_squares(data):
        return []
    alone = [
        (one.species[0], one.id)
        for _, one, _ in data.labelled("energy")
        if one.subset is Subset.TRAINING and is_isolated(one)
    ]
    if {symbol for symbol, _ in alone} != set(data.settings.elements) or len(alone) == len(data.configurations):
        return []
    what = (
        "isolated atoms, but element_energies = least_squares. Set [PYTORCH] element_energies = isolated to use them."
    )
    return [Finding(what, name, warning=False) for _, name in alone]


def _by_least_squares(data: Measures) -> bool:
    """Return whether the element energies are fitted before training, and not those of trained weights.

    A linear model has none: its constants are coefficients, and its solver says if the data do not determine them.
    """
    if data.settings.solver.is_linear:
        return False
    training = data.settings.pytorch
    trained = data.settings.initial_file or data.settings.architecture.pretrained[0]
    return training.composition_baseline and training.element_energies == ("least_squares",) and not trained

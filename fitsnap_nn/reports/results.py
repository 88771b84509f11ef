"""Predictions for labelled configurations beside the labels: the input of every report.

Values are shown in the report units of the properties: energies in eV/atom, forces by component in eV/Å, stresses by
component in GPa, the unit of elastic constants (LAMMPS' metal units give the same number times 10⁴ bar).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.data.configuration import Configuration, Subset
from fitsnap_nn.data.evaluation import Evaluation
from fitsnap_nn.data.properties import Property

Floats = NDArray[np.float64]


class Result(NamedTuple):
    """A configuration with its labels, and the prediction of the whole potential: network, baselines and reference."""

    configuration: Configuration
    evaluation: Evaluation


class Pairs(NamedTuple):
    """Values of a property, component by component: (M,) predictions, (M,) labels, and the number of labels.

    Labels are counted by configurations for properties of a configuration, by atoms for properties of an atom.
    """

    model: Floats
    target: Floats
    labels: int


def pairs(quantity: Property, results: Sequence[Result]) -> Pairs:
    """Return all predictions of a property that have a label, in its report unit."""
    model, target = [np.empty((0, quantity.symmetry.components))], [np.empty((0, quantity.symmetry.components))]
    for configuration, evaluation in results:
        label, value = configuration.labels.get(quantity.name), evaluation.values.get(quantity.name)
        if label is not None and value is not None:
            divisor = len(configuration) if quantity.per_atom else 1
            model.append(_shown(quantity, value, divisor))
            target.append(_shown(quantity, label, divisor))
    predictions, labels = np.concatenate(model), np.concatenate(target)
    return Pairs(predictions.ravel(), labels.ravel(), len(predictions))


def _shown(quantity: Property, value: Floats, divisor: int) -> Floats:
    rows = quantity.rows(value)
    size = quantity.report_unit.size
    return rows / divisor if size == 1.0 else rows / divisor / size


def by_subset(results: Sequence[Result]) -> dict[Subset, list[Result]]:
    """Return the results of each set, in the order training, validation, test."""
    return {subset: [one for one in results if one.configuration.subset is subset] for subset in Subset}

"""Predictions and labels of configurations, the input of all reports.

Values are given in the report units of the properties: energies in eV/atom, forces by component in eV/Å, stresses by
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
    """Labels and prediction of one configuration.

    Attributes:
        configuration: the configuration with its labels.
        evaluation: prediction of the whole potential, baselines and reference potential included.
    """

    configuration: Configuration
    evaluation: Evaluation


class Pairs(NamedTuple):
    """Components of a property.

    Attributes:
        model: (M,) predictions.
        target: (M,) labels.
        labels: number of configurations with a label, or of atoms for a per-atom property.
    """

    model: Floats
    target: Floats
    labels: int


def pairs(quantity: Property, results: Sequence[Result]) -> Pairs:
    """Return predictions and labels of a property where both exist.

    Args:
        quantity: the property.
        results: predictions and labels.

    Returns:
        Values in the report unit of the property.
    """
    model, target = [np.empty((0, quantity.symmetry.components))], [np.empty((0, quantity.symmetry.components))]
    for configuration, evaluation in results:
        label, value = configuration.labels.get(quantity.name), evaluation.values.get(quantity.name)
        if label is not None and value is not None:
            divisor = len(configuration) if quantity.per_atom else 1
            model.append(in_report_unit(quantity, value, divisor))
            target.append(in_report_unit(quantity, label, divisor))
    predictions, labels = np.concatenate(model), np.concatenate(target)
    return Pairs(predictions.ravel(), labels.ravel(), len(predictions))


def in_report_unit(quantity: Property, value: Floats, divisor: int) -> Floats:
    """Return the value of one configuration as rows, in the report unit of the property.

    Args:
        quantity: the property.
        value: label or prediction, in internal units.
        divisor: number of atoms for values that are compared per atom, otherwise 1.
    """
    rows = quantity.rows(value)
    size = quantity.report_unit.size
    return rows / divisor if size == 1.0 else rows / divisor / size


def in_the_fit(results: Sequence[Result]) -> list[Result]:
    """Return the results of each set without the configurations that have no weight; all of a set if none has one.

    Configurations without any weight, such as isolated atoms that only give the element energies, do not take part in
    the fit. Their errors would dominate the mean over all groups.

    Args:
        results: predictions and labels.
    """
    found = []
    for members in by_subset(results).values():
        found += [one for one in members if any(map(one.configuration.weight, one.configuration.labels))] or members
    return found


def by_subset(results: Sequence[Result]) -> dict[Subset, list[Result]]:
    """Return the results of each set, in the order training, validation, test.

    Args:
        results: predictions and labels.
    """
    return {subset: [one for one in results if one.configuration.subset is subset] for subset in Subset}

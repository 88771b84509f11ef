"""Evaluation of a model on configurations: from cached inputs to predictions of the whole potential in float64."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.evaluation import Evaluation
from fitsnap_nn.data.properties import ENERGY, FORCES, STANDARD, STRESS, Property
from fitsnap_nn.inputs.base import CachedInput
from fitsnap_nn.inputs.batch import join_batches
from fitsnap_nn.inputs.reference import reference_values
from fitsnap_nn.models.base import Model
from fitsnap_nn.models.prediction import Prediction, mean_prediction, predict

M = TypeVar("M", bound=Model[Any])


def to_float64(model: M) -> M:
    """Return a copy of a model that computes in float64 on the CPU.

    Args:
        model: left unchanged.

    Returns:
        A copy with the same weights, in evaluation mode.
    """
    double = copy.deepcopy(model).cpu()
    double.set_precision(torch.float64)
    return double.eval()


def evaluate(
    model: Model[Any], configuration: Configuration, cached: CachedInput, properties: Iterable[Property] = STANDARD
) -> Evaluation:
    """Return the prediction for a configuration, reference potential included.

    Args:
        model: a model in float64, see `to_float64`.
        configuration: the configuration.
        cached: its cached input, with the derivatives that the properties require.
        properties: requested properties. A stress is returned for fully periodic cells only.

    Returns:
        The predicted values in internal units.
    """
    return evaluate_together(model, [configuration], [cached], properties)[0]


def evaluate_together(
    model: Model[Any],
    configurations: Sequence[Configuration],
    cached: Sequence[CachedInput],
    properties: Iterable[Property] = STANDARD,
) -> list[Evaluation]:
    """Return the predictions for several configurations, computed in one batch.

    Args:
        model: a model in float64, see `to_float64`.
        configurations: the configurations.
        cached: their cached inputs, in the same order.
        properties: as in `evaluate`.

    Returns:
        One evaluation per configuration, in the same order.
    """
    pairs = list(zip(configurations, cached, strict=True))
    batch = join_batches([model.input.to_batch(*pair) for pair in pairs], torch.float64)
    stressed = [one.has_strain and all(configuration.pbc) for configuration, one in pairs]
    requested = [one for one in properties if one != STRESS or any(stressed)]
    predictions = [predict(one, batch, requested) for one in model.members()]
    prediction, spread = mean_prediction(predictions), _spread(predictions)
    ends = batch.n_atoms.cumsum(0).tolist()
    evaluations = []
    for number, (configuration, one) in enumerate(pairs):
        atoms = slice(ends[number] - len(configuration), ends[number])
        kept = [item for item in requested if item != STRESS or stressed[number]]
        own = {name: (values[number] if name == ENERGY.name else values[atoms]) for name, values in spread.items()}
        evaluations.append(Evaluation(_values(prediction, kept, number, atoms, one), own))
    return evaluations


def _spread(found: Sequence[Prediction]) -> dict[str, Floats]:
    """Return the standard deviations of the predictions of the members of a committee, see `Evaluation`."""
    if len(found) == 1:
        return {}
    deviations = {
        "energies": torch.stack([one.atom_energies for one in found]).std(dim=0),
        ENERGY.name: torch.stack([one.energy for one in found]).std(dim=0),
    }
    if FORCES.name in found[0].values:
        components = torch.stack([one.values[FORCES.name] for one in found])
        deviations[FORCES.name] = components.var(dim=0).sum(dim=1).sqrt()
    return {name: values.double().numpy() for name, values in deviations.items()}


def _values(
    prediction: Prediction, properties: Sequence[Property], number: int, atoms: slice, cached: CachedInput
) -> dict[str, Floats]:
    """Return the values of one configuration of a batch."""
    reference = reference_values(cached)
    names = {"energy": "configuration", **{one.name: one.per for one in properties}}
    values: dict[str, Floats] = {}
    for name, per in names.items():
        predicted: Tensor = prediction.values[name][atoms if per == "atom" else number]
        values[name] = predicted.double().numpy() + reference.get(name, 0.0)
    return values

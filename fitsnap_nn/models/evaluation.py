"""Evaluation of a model on configurations: from cached inputs to predictions of the whole potential in float64."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.evaluation import Evaluation
from fitsnap_nn.data.properties import ENERGY, STANDARD, STRESS, Property
from fitsnap_nn.inputs.base import CachedInput
from fitsnap_nn.inputs.batch import join_batches
from fitsnap_nn.inputs.reference import reference_values
from fitsnap_nn.models.base import Model
from fitsnap_nn.models.committee import member_weights
from fitsnap_nn.models.prediction import mean_prediction, predict
from fitsnap_nn.models.uncertainty import Uncertainty, deviations

M = TypeVar("M", bound=Model[Any])


def to_float64(model: M, device: torch.device | None = None) -> M:
    """Return a copy of a model that computes in float64.

    Args:
        model: left unchanged.
        device: of the copy; ``None`` for that of the model.

    Returns:
        A copy with the same weights, in evaluation mode.
    """
    double = copy.deepcopy(model).to(device)
    double.set_precision(torch.float64)
    return double.eval()


def evaluate(
    model: Model[Any],
    configuration: Configuration,
    cached: CachedInput,
    properties: Iterable[Property] = STANDARD,
    uncertainty: Uncertainty | None = None,
) -> Evaluation:
    """Return the prediction for a configuration, reference potential included.

    Args:
        model: a model in float64, see `to_float64`.
        configuration: the configuration.
        cached: its cached input, with the derivatives that the properties require.
        properties: requested properties. A stress is returned for fully periodic cells only.
        uncertainty: how the spread is found; ``None``: that of the members of a committee, uncalibrated.

    Returns:
        The predicted values in internal units.
    """
    return evaluate_together(model, [configuration], [cached], properties, uncertainty)[0]


def evaluate_together(
    model: Model[Any],
    configurations: Sequence[Configuration],
    cached: Sequence[CachedInput],
    properties: Iterable[Property] = STANDARD,
    uncertainty: Uncertainty | None = None,
) -> list[Evaluation]:
    """Return the predictions for several configurations, computed in one batch on the device of the model.

    Args:
        model: a model in float64, see `to_float64`.
        configurations: the configurations.
        cached: their cached inputs, in the same order.
        properties, uncertainty: as in `evaluate`.

    Returns:
        One evaluation per configuration, in the same order.
    """
    pairs = list(zip(configurations, cached, strict=True))
    device = model.element_energies.device
    batch = join_batches([model.input.to_batch(*pair) for pair in pairs], torch.float64, device)
    stressed = [one.has_strain and all(configuration.pbc) for configuration, one in pairs]
    requested = [one for one in properties if one != STRESS or any(stressed)]
    predictions = [predict(one, batch, requested) for one in model.members()]
    weights = member_weights(model)
    mean = mean_prediction(predictions, weights)
    if uncertainty:
        spreads = uncertainty.spread(model, batch, requested, predictions)
    else:
        spreads = deviations(predictions, weights)
    # One transfer per property and batch, not per configuration.
    values, spread = _on_host(mean.values), _on_host(spreads)
    evaluations, end = [], 0
    for number, (configuration, one) in enumerate(pairs):
        atoms, end = slice(end, end + len(configuration)), end + len(configuration)
        kept = [item for item in requested if item != STRESS or stressed[number]]
        own = {name: (rows[number] if name == ENERGY.name else rows[atoms]) for name, rows in spread.items()}
        predicted = _values_of(values, kept, number, atoms, one)
        evaluations.append(Evaluation(predicted, own, reference_values(one)))
    return evaluations


def _on_host(values: Mapping[str, Tensor]) -> dict[str, Floats]:
    return {name: rows.double().cpu().numpy() for name, rows in values.items()}


def _values_of(
    predicted: Mapping[str, Floats], properties: Sequence[Property], number: int, atoms: slice, cached: CachedInput
) -> dict[str, Floats]:
    """Return the values of one configuration of a batch, reference potential included."""
    reference = reference_values(cached)
    names = {"energy": "configuration", **{one.name: one.per for one in properties}}
    values: dict[str, Floats] = {}
    for name, per in names.items():
        values[name] = predicted[name][atoms if per == "atom" else number] + reference.get(name, 0.0)
    return values

"""Fits that start from linear least squares, and the linear model on the same descriptors as their yardstick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch

from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.data.properties import Property
from fitsnap_nn.errors import counted
from fitsnap_nn.inputs import DescriptorInput
from fitsnap_nn.models import BPNN, Model
from fitsnap_nn.models.mlp import PER_ELEMENT
from fitsnap_nn.reports.errors_table import digits
from fitsnap_nn.settings import Settings
from fitsnap_nn.settings.checks import MAX_COLUMNS
from fitsnap_nn.training.batches import SampleSet
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.training.least_squares import LeastSquares, fit_last_layer
from fitsnap_nn.training.objective import Objective
from fitsnap_nn.workflow.device import choose_device
from fitsnap_nn.workflow.initialization import initialize
from fitsnap_nn.workflow.preparation import Prepared

LINEAR = "linear model on the same descriptors"


def set_last_layer(
    model: Model[Any],
    training: SampleSet,
    objective: Objective,
    settings: Settings,
    prepared: Prepared,
    ranks: Ranks,
) -> list[str]:
    """Set the last layers of the initial model by least squares, if the input asks for it.

    Args:
        model: the initial model.
        training: samples of the training set, in the order of ``prepared``.
        objective: weights of the least squares.
        settings: settings of the fit.
        prepared: the data.
        ranks: share the work.

    Returns:
        Lines for the log; none without ``initial = least_squares``.
    """
    if not settings.starts_from_least_squares:
        return []
    network = cast(BPNN, model)
    groups, release = _groups(prepared), prepared.releaser()
    members = network.members()
    fits = [fit_last_layer(one, training, groups, objective, ranks, release=release) for one in members]
    found = fits[0]
    if found is None:
        return ["last layer: not set by least squares, because it is frozen"]
    frozen = not all(one.requires_grad for layer in network.last_layers for one in layer.parameters())
    kept = " (frozen ones are kept)" if frozen else ""
    inputs = "the random features of the hidden layers" if network.hidden else "the descriptors"
    which = "first member of the committee: " if len(members) > 1 else ""
    return [f"last layer by least squares on {inputs}{kept}: {which}{_describe(found, objective.properties)}"]


def fit_linear(settings: Settings, prepared: Prepared, objective: Objective, ranks: Ranks) -> tuple[BPNN | None, str]:
    """Return the linear model on the descriptors of the fit, one per element, with the least-squares coefficients.

    Args: as `set_last_layer`.

    Returns:
        The model in float64, and a line about it for the log; ``None`` if the input does not ask for it, or if it would
        have too many coefficients.
    """
    if not settings.starts_from_least_squares:
        return None, ""
    model_input = cast(DescriptorInput, prepared.model_input)
    columns = len(model_input.elements) * (model_input.size + 1)
    if columns > MAX_COLUMNS:
        return None, f"{LINEAR}: not fitted, its {columns} coefficients exceed the limit of {MAX_COLUMNS}"
    with torch.random.fork_rng(devices=[]):  # the random numbers of the network do not depend on the yardstick
        model = BPNN(model_input, [], "linear", PER_ELEMENT)
    initialize(model, settings, prepared)
    model.set_precision(torch.float64)
    model.to(choose_device(settings, ranks))
    training = prepared.samples(Subset.TRAINING, torch.float64)
    found = fit_last_layer(model, training, _groups(prepared), objective, ranks, release=prepared.releaser())
    assert found is not None, "nothing is frozen"
    return model, f"{LINEAR}: {_describe(found, objective.properties)}"


def _groups(prepared: Prepared) -> list[str]:
    return [one.group for one in prepared.subset(Subset.TRAINING)]


def _describe(found: LeastSquares, properties: Sequence[Property]) -> str:
    chosen = (
        f"by {found.folds}-fold cross-validation"
        if found.folds > 1
        else "by default: too few configurations for a cross-validation"
    )
    rows = ", ".join(f"{found.rows[one.name]} {one.title.lower()}" for one in properties if found.rows[one.name])
    return (
        f"{counted(found.columns, 'coefficient')}; labels: {rows}; regularisation {found.regularisation:.0e} {chosen}; "
        f"weighted RMSE {_errors(found.rmse, properties)}"
    )


def _errors(rmse: Mapping[str, float], properties: Sequence[Property]) -> str:
    parts = [
        f"{one.symbol} {digits(rmse[one.name] * one.loss_unit.size / one.display_unit.size)} {one.display_unit.label}"
        for one in properties
        if rmse[one.name] == rmse[one.name]  # not nan: some labels have a weight
    ]
    return ", ".join(parts)

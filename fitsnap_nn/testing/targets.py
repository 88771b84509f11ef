"""Tests of the targets of a model: equivariance, batches, padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fitsnap_nn.data.fitted import property_of
from fitsnap_nn.data.properties import FORCES, Property
from fitsnap_nn.inputs.graph.padded import pad
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.prediction import predict
from fitsnap_nn.models.spherical import rotated
from fitsnap_nn.settings.rows import PropertyRow
from fitsnap_nn.testing.graphs import crystal, make_graph, molecule

TOLERANCE = 1e-10  # relative to the largest component


def rows_of_every_kind(max_degree: int = 4) -> tuple[PropertyRow, ...]:
    """Return rows of section TARGETS of all symmetries and parities, per atom and per configuration."""
    rows = []
    for pseudo in (False, True):
        words = [(word, 0) for word in ("scalar", "vector", "symmetric_tensor", "tensor")]
        words += [("spherical", degree) for degree in range(max_degree + 1)]
        for number, (word, degree) in enumerate(words):
            name = f"{word}{degree}{'_pseudo' if pseudo else ''}"
            per = "atom" if number % 2 else "configuration"
            rows.append(PropertyRow(name, per, word, name, degree=degree, pseudo=pseudo))
    return (*rows, PropertyRow("gap", "configuration", "scalar", "gap", intensive=True))


def properties_of(model: GraphModel) -> list[Property]:
    """Return the properties of all targets of a model."""
    rows = (PropertyRow(**{**asdict(spec), "column": spec.name}) for spec in model.specs.values())
    return [property_of(row) for row in rows]


def with_baselines(model: GraphModel) -> GraphModel:
    """Return a model in float64 with baselines and scales that are neither 0 nor 1."""
    model.set_precision(torch.float64)
    assert model.targets is not None
    for number, spec in enumerate(model.specs.values(), start=1):
        baseline = np.linspace(-1.0, 1.0, len(model.elements)) + number
        model.targets.set_baseline(spec.name, baseline, np.linspace(0.5, 2.0, len(spec.blocks)))
    return model.eval()


def assert_targets_are_equivariant(model: GraphModel, *, inverts: bool = True) -> None:
    """Assert that all targets rotate with the atoms, and that they do not vanish.

    Args:
        model: in float64.
        inverts: test inversion too.
    """
    properties = properties_of(model)
    configurations = [crystal(model.elements), molecule(model.elements, _places(model.cutoff))]
    before = _values(model, properties, configurations)
    turn, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((3, 3)))
    proper = turn * np.linalg.det(turn)
    for matrix in (proper, -np.eye(3), -proper) if inverts else (proper,):
        turned = [_turned(one, matrix) for one in configurations]
        found = _values(model, properties, turned)
        for one in properties:
            matrices = torch.from_numpy(matrix).expand(len(before[one.name]), 3, 3)
            expected = rotated(before[one.name], one.symmetry, matrices)
            size = float(expected.abs().max())
            assert size > 1e-3, f"{one.name} vanishes"
            difference = float((found[one.name] - expected).abs().max())
            assert difference < TOLERANCE * size, f"{one.name}: {difference}"


def assert_targets_ignore_other_configurations(model: GraphModel) -> None:
    """Assert that targets are the same in a batch, on a padded graph, and next to forces."""
    properties = properties_of(model)
    lone = molecule(model.elements, np.zeros((1, 3)))
    each = [crystal(model.elements), lone, crystal(model.elements, 1, count=2)]
    alone = [_values(model, properties, [one]) for one in each]
    graph = make_graph(model, *each)
    together = predict(model, graph, properties).values
    padded = predict(model, pad(graph), [FORCES, *properties]).values
    for one in properties:
        expected = torch.cat([values[one.name] for values in alone])
        rows = len(expected)
        for found in (together[one.name], padded[one.name][:rows]):
            assert found.shape == expected.shape, one.name
            assert found.dtype == torch.float64, one.name
            assert (found - expected).abs().max() < TOLERANCE * max(1.0, float(expected.abs().max())), one.name


def _values(model: GraphModel, properties: Sequence[Property], configurations: Sequence[Any]) -> dict[str, Tensor]:
    return dict(predict(model, make_graph(model, *configurations), properties).values)


def _turned(configuration: Any, matrix: NDArray[np.float64]) -> Any:
    return replace(configuration, positions=configuration.positions @ matrix.T, cell=configuration.cell @ matrix.T)


def _places(cutoff: float) -> NDArray[np.float64]:
    """Return the places of five atoms without symmetry, as neighbours of each other, Å."""
    return 0.25 * cutoff * np.random.default_rng(5).standard_normal((5, 3))

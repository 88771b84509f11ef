"""Comparison of a model on a padded graph and on the graph itself."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.graph.padded import pad
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.prediction import predict


def assert_padding_changes_nothing(model: GraphModel, graph: Graph, tolerance: float = 1e-12) -> None:
    """Assert that a model predicts the same for a graph and its padded copy, with the same gradients of a loss.

    Args:
        model: in float64.
        graph: of the model's elements and cutoff, on the CPU.
        tolerance: of predictions and gradients, relative to the largest of a kind.
    """
    padded = pad(graph)
    expected, found = (predict(model, one, create_graph=True) for one in (graph, padded))
    for name, values in {"atom_energies": found.atom_energies, **found.values}.items():
        assert values.isfinite().all(), f"{name} of padding"
    n_atoms, n_configurations = len(graph.species), len(graph.n_atoms)
    true_rows = {"energy": n_configurations, "stress": n_configurations, "forces": n_atoms}
    _assert_close("atom_energies", found.atom_energies[:n_atoms], expected.atom_energies, tolerance)
    for name, rows in true_rows.items():
        _assert_close(name, found.values[name][:rows], expected.values[name], tolerance)
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad and weight.numel()}
    losses = _loss(expected.values), _loss({name: found.values[name][:rows] for name, rows in true_rows.items()})
    gradients = [torch.autograd.grad(loss, list(weights.values()), allow_unused=True) for loss in losses]
    for name, one, other in zip(weights, *gradients, strict=True):
        if one is not None:
            assert other is not None, f"no gradient of {name}"
            _assert_close(f"gradient of {name}", other, one, tolerance)


def _loss(values: Mapping[str, Tensor]) -> Tensor:
    """Return a sum of predictions with weights that are all different."""
    flat = torch.cat([values[name].flatten() for name in ("energy", "forces", "stress")])
    return flat @ torch.sin(torch.arange(1.0, len(flat) + 1.0, dtype=flat.dtype))


def _assert_close(name: str, found: Tensor, expected: Tensor, tolerance: float) -> None:
    assert found.shape == expected.shape, name
    if expected.numel():
        difference = float((found - expected).detach().abs().max())
        assert difference <= tolerance * max(1.0, float(expected.detach().abs().max())), f"{name}: {difference}"

"""Small hyperparameters, and what is asked of several architectures alike."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import torch

from fitsnap_nn.models import BPNN, GraphModel
from fitsnap_nn.models.zbl import Zbl
from fitsnap_nn.testing.graphs import crystal, make_graph

SMALL_MACE: dict[str, Any] = {
    "r_max": 4.0,
    "num_radial_basis": 4,
    "max_ell": 2,
    "hidden_irreps": "4x0e + 4x1o",
    "correlation": 2,
    "radial_MLP": (8, 8),
    "MLP_irreps": "4x0e",
    "avg_num_neighbors": 7.5,
}


def assert_repulsion_is_added(plain: GraphModel, repelled: GraphModel) -> None:
    """Of two models that differ in ``zbl`` only: as it is, whatever the scale of what is learned."""
    graph = make_graph(plain, crystal(plain.elements, lattice=1.6))
    added = Zbl(plain.elements, plain.cutoff).energies(graph)
    assert added.min() > 0.0
    repelled.energy_scale *= 2.0
    expected = 2.0 * plain.atom_energies(graph) + added
    torch.testing.assert_close(repelled.atom_energies(graph), expected, rtol=1e-12, atol=1e-12)


def assert_same_hyperparameters(model: type[GraphModel], section: type) -> None:
    """The section of an input has the model's arguments, with their defaults and in their order."""
    arguments = [one for one in inspect.signature(model).parameters.values() if one.name not in ("elements", "targets")]
    found = [(field.name, field.default) for field in fields(section)]
    assert found == [(argument.name, argument.default) for argument in arguments]


def randomize_baselines(model: BPNN) -> BPNN:
    """Set standardisation, element energies and scale to values that differ from the defaults; float64."""
    count, size = len(model.elements), model.input.size
    model.standardize(torch.randn(count, size), 0.5 + torch.rand(count, size), 0.5 + torch.rand(size))
    model.element_energies.copy_(torch.linspace(-3.0, -1.0, count))
    model.energy_scale.fill_(2.5)
    model.set_precision(torch.float64)
    return model

"""Edges in rows: those of a padded graph against those of the graph itself."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.graph.input import GraphInput
from fitsnap_nn.inputs.graph.padded import pad
from fitsnap_nn.models.mace_edges import arrange_edges
from fitsnap_nn.testing.graphs import crystal, make_graph

MODEL = SimpleNamespace(elements=("P", "In"), cutoff=4.0, input=GraphInput(("P", "In"), 4.0))


@pytest.fixture
def graph() -> Graph:
    return make_graph(MODEL, crystal(MODEL.elements), crystal(MODEL.elements, 1, count=2))


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("pairwise", [True, False])
def test_padded_edges_are_the_edges(graph: Graph, pairwise: bool):
    padded = pad(graph)
    edges, pairs = arrange_edges(graph, pairwise=pairwise)
    table, padded_pairs = arrange_edges(padded, pairwise=pairwise)
    count = len(pairs.first)
    assert count == graph.n_edges // (2 if pairwise else 1)
    assert torch.equal(padded_pairs.first[:count], pairs.first)
    vectors = padded.vectors.clone().requires_grad_()
    assert torch.equal(padded_pairs.select(vectors)[:count], pairs.select(graph.vectors))
    (slopes,) = torch.autograd.grad(padded_pairs.select(vectors).sum(), vectors)
    assert torch.equal(slopes[:, 0].nonzero().squeeze(1), padded_pairs.first)
    all_weights = random(len(padded_pairs.first), 3)
    weights, padded_weights = (one.clone().requires_grad_() for one in (all_weights[:count], all_weights))
    of_edges, padded_of_edges = edges.weights_of_edges(weights), table.weights_of_edges(padded_weights)
    assert torch.equal(padded_of_edges[: graph.n_edges], of_edges)
    # An edge's entry holds the values of the edge, its weights and its sender; other entries hold values of 0.
    features, values = random(len(padded.species), 2), random(padded.n_edges, 2)
    entries = table.to_entries(values)
    occupied = padded.slot[: graph.n_edges]
    assert torch.equal(entries[occupied], values[: graph.n_edges])
    assert torch.equal(table.gather_weights(padded_weights)[occupied], of_edges)
    assert torch.equal(table.gather_senders(features)[occupied], features[graph.edge_j])
    # What a model computes from them, which the zeros confine to true edges, has the same derivatives.
    cotangents = random(graph.n_edges, 3)
    (expected,) = torch.autograd.grad((of_edges * cotangents).sum(), weights)
    in_table = torch.zeros(len(entries), 3, dtype=torch.float64).index_copy(0, occupied, cotangents)
    (found,) = torch.autograd.grad((table.gather_weights(padded_weights) * in_table).sum(), padded_weights)
    torch.testing.assert_close(found[:count], expected, rtol=1e-14, atol=1e-14)
    assert not found[count:].any()


def test_without_reverse_edges(graph: Graph):
    """As for models without messages in molecular dynamics: no pairs, and features of senders without derivative."""
    padded = pad(replace(graph, reverse_edge_index=torch.zeros(0, dtype=torch.int64)))
    table, pairs = arrange_edges(padded, pairwise=True)
    assert torch.equal(pairs.first, torch.arange(padded.n_edges))
    features = random(len(padded.species), 2)
    found = table.gather_senders(features)[padded.slot[: graph.n_edges]]
    assert torch.equal(found, features[graph.edge_j])

"""Padded graphs: sizes, tables, and operations with their derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import FORCES
from fitsnap_nn.inputs.batch import join_batches
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.graph.compute import GraphCompute
from fitsnap_nn.inputs.graph.input import GraphInput
from fitsnap_nn.inputs.graph.padded import PaddedGraph, gather_rows, pad, rounded_size
from fitsnap_nn.settings.schema import Reference
from fitsnap_nn.testing.graphs import crystal, molecule
from fitsnap_nn.training.augmentation import augment, random_rotations
from fitsnap_nn.training.batches import Target

ELEMENTS = ("Ta", "O")


def graph_of(*configurations: Configuration) -> Graph:
    graph_input = GraphInput(ELEMENTS, 4.0)
    with GraphCompute(ELEMENTS, 4.0, Reference()) as compute:
        batches = [graph_input.to_batch(one, compute.compute(one)) for one in configurations]
    return join_batches(batches)


@pytest.fixture(scope="module")
def graph() -> Graph:
    """Cells smaller than the cutoff, in which atoms are neighbours of their own images, and an isolated atom."""
    found = graph_of(crystal(ELEMENTS, count=2), molecule(ELEMENTS, np.zeros((1, 3))), crystal(ELEMENTS, 1))
    assert (found.edge_i == found.edge_j).any()
    return found


@pytest.fixture(scope="module")
def padded(graph: Graph) -> PaddedGraph:
    return pad(graph)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def test_true_rows_come_first(graph: Graph, padded: PaddedGraph):
    for name in ("species", "config", "n_atoms", "volume", "edge_i", "edge_j", "reverse_edge_index", "vectors"):
        values, expected = getattr(padded, name), getattr(graph, name)
        assert torch.equal(values[: len(expected)], expected), name
        assert values.dtype == expected.dtype


def test_padding_is_a_valid_graph(graph: Graph, padded: PaddedGraph):
    reverse, lengths = padded.reverse_edge_index, torch.linalg.vector_norm(padded.vectors, dim=1)
    assert torch.equal(reverse[reverse], torch.arange(padded.n_edges))
    assert (reverse != torch.arange(padded.n_edges)).all()
    assert torch.equal(padded.edge_i[reverse], padded.edge_j)
    assert torch.equal(padded.vectors[reverse], -padded.vectors)
    torch.testing.assert_close(
        lengths[graph.n_edges :], 2.0 * lengths[: graph.n_edges].max().expand(padded.n_edges - graph.n_edges)
    )
    assert (padded.edge_i.diff() >= 0).all()
    assert torch.equal(padded.config.bincount(minlength=len(padded.n_atoms)), padded.n_atoms)
    assert (padded.n_atoms > 0).all()
    assert padded.n_edges >= graph.n_edges + 2


def test_the_table_lists_the_edges_of_each_atom(graph: Graph, padded: PaddedGraph):
    edges = [row[row < padded.n_edges].tolist() for row in padded.table]
    assert edges == [torch.where(graph.edge_i == atom)[0].tolist() for atom in range(len(padded.species))]
    flat = padded.table.flatten()
    assert torch.equal(flat[padded.slot[: graph.n_edges]], torch.arange(graph.n_edges))
    assert (padded.slot[graph.n_edges :] == len(flat)).all()
    occupied = padded.neighbour_of_slot[padded.slot[: graph.n_edges]]
    assert torch.equal(occupied, graph.edge_j)
    assert torch.equal(
        padded.reverse_table.flatten()[padded.slot[: graph.n_edges]], padded.slot[graph.reverse_edge_index]
    )


@pytest.mark.parametrize("by", ["centre", "neighbour"])
def test_sums_over_edges(graph: Graph, padded: PaddedGraph, by: str):
    values = random(padded.n_edges, 3)
    found = getattr(padded, f"sum_by_{by}")(values)
    expected = getattr(graph, f"sum_by_{by}")(values[: graph.n_edges])
    torch.testing.assert_close(found[: len(expected)], expected, rtol=1e-14, atol=1e-14)
    assert not found[len(expected) :].any()


def test_sums_by_configuration(graph: Graph, padded: PaddedGraph):
    atoms, edges = random(len(padded.species)), random(padded.n_edges, 6)
    found = padded.sum_by_configuration(atoms), padded.sum_edges_by_configuration(edges)
    expected = (
        graph.sum_by_configuration(atoms[: len(graph.species)]),
        graph.sum_edges_by_configuration(edges[: graph.n_edges]),
    )
    for sums, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(sums[: len(wanted)], wanted, rtol=1e-14, atol=1e-14)


def test_derivatives_of_all_orders():
    """Second derivatives too: forces are derivatives, and a fit differentiates them."""
    places = np.array([[0.0, 0.0, 0.0], [2.0, 0.5, 0.0], [4.0, 1.0, 0.3], [1.0, -0.5, 0.1]])
    padded = pad(graph_of(molecule(ELEMENTS, places)))
    occupied = (padded.table < padded.n_edges).flatten().double()[:, None]  # empty entries must not contribute
    functions: list[tuple[Callable[[Tensor], Tensor], int]] = [
        (lambda values: padded.gather_neighbours(values) * occupied, len(padded.species)),
        (padded.to_table, padded.n_edges),
        (lambda values: padded.from_table(padded.to_table(values)), padded.n_edges),
        (padded.gather_reverse_edges, padded.n_edges),
        (padded.sum_by_neighbour, padded.n_edges),
    ]
    for function, rows in functions:
        values = random(rows, 2).requires_grad_()
        assert torch.autograd.gradcheck(lambda x, function=function: (function(x) ** 2).sum(), values)
        assert torch.autograd.gradgradcheck(lambda x, function=function: (function(x) ** 2).sum(), values)


def test_rows_gathered_several_times():
    values, index = random(3, 4).requires_grad_(), torch.tensor([2, 0, 2, 1, 1])
    positions = torch.tensor([[1, 1], [3, 4], [0, 2]])
    weights = torch.tensor([1.0, 0.5, 3.0, -1.0, 2.0], dtype=torch.float64)
    (found,) = torch.autograd.grad((gather_rows(values, index, positions) * weights[:, None]).sum(), values)
    expected = torch.tensor([2 * 0.5, -1.0 + 2.0, 1.0 + 3.0], dtype=torch.float64)
    torch.testing.assert_close(found, expected[:, None].expand(3, 4))


def test_sizes_grow_in_steps():
    sizes = {rounded_size(size) for size in range(1000, 4001)}
    assert len(sizes) == 9
    assert all(size <= rounded_size(size) <= 1.19 * size + 1 for size in range(1, 3000))
    assert rounded_size(4096, 8) == 4096
    assert rounded_size(9, 4) == 12


def test_a_graph_without_edges(graph: Graph):
    none = torch.zeros(0, dtype=torch.int64)
    alone = replace(graph, edge_i=none, edge_j=none, reverse_edge_index=none, vectors=graph.vectors[:0])
    padded = pad(alone)
    assert not padded.sum_by_neighbour(random(padded.n_edges, 3)).any()


def test_given_number_of_rows(graph: Graph):
    assert len(pad(graph, rows=40).species) == 40
    with pytest.raises(ValueError, match="need at least"):
        pad(graph, rows=len(graph.species))


def test_a_graph_of_one_of_several_ranks_is_refused(graph: Graph):
    with pytest.raises(ValueError, match="another rank"):
        pad(replace(graph, reverse_edge_index=torch.arange(graph.n_edges)))


def test_without_reverse_edges_there_is_no_sum_by_neighbour(graph: Graph):
    padded = pad(replace(graph, reverse_edge_index=torch.zeros(0, dtype=torch.int64)))
    with pytest.raises(ValueError, match="without the indices"):
        padded.sum_by_neighbour(random(padded.n_edges, 3))


def test_rotations_leave_padding_as_it_is(graph: Graph, padded: PaddedGraph):
    forces = random(len(padded.species), 3)
    count = len(graph.species)
    labels, true_labels = ({"forces": Target(one, one[:, :1], one[:, :1] > 0)} for one in (forces, forces[:count]))
    rotations = random_rotations(len(graph.n_atoms), seed=1, epoch=0)
    turned, found = augment(padded, labels, [FORCES], rotations)
    wanted, expected = augment(graph, true_labels, [FORCES], rotations)
    assert isinstance(turned, PaddedGraph)
    assert torch.equal(turned.vectors[: graph.n_edges], wanted.vectors)
    assert torch.equal(turned.vectors[graph.n_edges :], padded.vectors[graph.n_edges :])
    assert torch.equal(found["forces"].values[:count], expected["forces"].values)
    assert torch.equal(found["forces"].values[count:], forces[count:])


def test_another_device(padded: PaddedGraph):
    moved = padded.to(torch.device("meta"))
    assert isinstance(moved, PaddedGraph)
    assert {moved.table.device.type, moved.vectors.device.type, moved.volume.device.type} == {"meta"}

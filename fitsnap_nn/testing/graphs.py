"""Graphs for tests: of one or several configurations, and with the ghost atoms of an MPI rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.neighbours import find_neighbours
from fitsnap_nn.inputs.batch import join_batches
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.graph.compute import GraphCompute
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.settings.schema import Reference


def make_graph(
    model: GraphModel, *configurations: Configuration, dtype: torch.dtype = torch.float64, cutoff: float | None = None
) -> Graph:
    """Return the graph that a model needs for one configuration, or for several in a batch.

    Args:
        model: its elements and cutoff define the graph.
        configurations: one or more.
        dtype: of the edge vectors.
        cutoff: another cutoff radius than that of the model, Å.
    """
    with GraphCompute(model.elements, cutoff or model.cutoff, Reference()) as compute:
        pairs = [(one, compute.compute(one)) for one in configurations]
    return cast(Graph, join_batches([model.input.to_batch(*pair) for pair in pairs], dtype))


def crystal(elements: Sequence[str], seed: int = 0, *, count: int = 3, lattice: float = 3.2) -> Configuration:
    """Return a sheared row of ``count`` bcc cells with displaced atoms, smaller than most cutoffs; elements alternate.

    Args:
        elements: chemical symbols.
        seed: of the shear and the displacements.
        count: number of cells.
        lattice: lattice constant, Å.
    """
    random = np.random.default_rng(seed)
    deformation = np.eye(3) + 0.06 * random.standard_normal((3, 3))
    corners = np.arange(count)[:, None, None] * np.array([1.0, 0.0, 0.0])
    positions = lattice * (corners + np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])).reshape(-1, 3) @ deformation
    return Configuration(
        id=f"crystal/{seed}",
        group="crystal",
        species=alternating(elements, len(positions)),
        positions=positions + 0.1 * random.standard_normal(positions.shape),
        cell=lattice * np.diag([count, 1.0, 1.0]) @ deformation,
    )


def molecule(elements: Sequence[str], positions: Floats) -> Configuration:
    """Return atoms at positions (N, 3), Å, in vacuum; elements alternate."""
    return Configuration(
        id="molecule",
        group="molecule",
        species=alternating(elements, len(positions)),
        positions=positions,
        cell=np.zeros((3, 3)),
        pbc=(False, False, False),
    )


def alternating(elements: Sequence[str], count: int) -> tuple[str, ...]:
    """Return ``count`` chemical symbols, cycling through ``elements``."""
    return tuple(elements[number % len(elements)] for number in range(count))


@dataclass(frozen=True)
class GhostGraph(Graph):
    """A graph with the ghost atoms of an MPI rank: periodic images are separate atoms without edges, after the others.

    Attributes:
        owner: (N + G,) int64, the atom that each is an image of.
        back: (E,) int64, the ``reverse`` of the graph without ghosts.
    """

    owner: Tensor
    back: Tensor

    @property
    def owned(self) -> int:
        return int(self.owner.max()) + 1

    def with_ghosts(self, features: Tensor) -> Tensor:
        return features.index_select(0, self.owner)

    def gather_reverse_edges(self, messages: Tensor) -> Tensor:
        return messages.index_select(0, self.back)


def ghost_graph(model: GraphModel, configuration: Configuration) -> GhostGraph:
    """Return the graph of a configuration, with one ghost for each periodic image that is a neighbour."""
    neighbours = find_neighbours(configuration, model.cutoff)
    graph = make_graph(model, configuration)
    images = np.column_stack([neighbours.j, neighbours.shifts])
    outside = neighbours.shifts.any(axis=1)
    ghosts, number = np.unique(images[outside], axis=0, return_inverse=True)
    edge_j = graph.edge_j.clone()
    edge_j[torch.from_numpy(outside)] = torch.from_numpy(len(configuration) + number.reshape(-1))
    owner = torch.cat([torch.arange(len(configuration)), torch.from_numpy(ghosts[:, 0]).long()])
    shared = {field.name: getattr(graph, field.name) for field in fields(Graph)}
    shared |= {
        "species": graph.species[owner],
        "config": torch.zeros_like(owner),
        "n_atoms": torch.tensor([len(owner)]),
        "edge_j": edge_j,
        "reverse_edge_index": torch.zeros(0, dtype=torch.int64),
    }
    return GhostGraph(**shared, owner=owner, back=graph.reverse_edge_index)


def shuffled(graph: Graph, seed: int = 0) -> Graph:
    """Return the graph with the edges of each atom permuted."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(graph.edge_i), generator=generator)
    order = order[torch.argsort(graph.edge_i[order], stable=True)]
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    return replace(
        graph,
        edge_i=graph.edge_i[order],
        edge_j=graph.edge_j[order],
        reverse_edge_index=place[graph.reverse_edge_index[order]],
        vectors=graph.vectors[order],
    )

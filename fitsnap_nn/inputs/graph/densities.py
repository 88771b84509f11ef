"""Sums over the neighbours of each atom, from which descriptors are made."""

from __future__ import annotations

import torch
from torch import Tensor

from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.graph.blocks import neighbour_blocks
from fitsnap_nn.inputs.graph.padded import PaddedGraph


def sums_of_products(graph: Graph, radial: Tensor, angular: Tensor, elements: int) -> Tensor:
    """Return sum_j radial_k(j) angular_l(j) over the neighbours j of each element, (N, elements * K, L).

    Args:
        graph: N atoms.
        radial: (E, K) of each edge.
        angular: (E, L) of each edge.
        elements: number of elements; 1 for a single sum over the neighbours of all elements.
    """
    if isinstance(graph, PaddedGraph):
        functions = graph.to_table(radial)
        if elements > 1:
            one_hot = graph.one_hot(elements, radial.dtype).index_select(0, graph.neighbour_of_slot)
            functions = (functions[:, :, None] * one_hot.view(*graph.table.shape, -1, 1)).flatten(2)
        return torch.bmm(functions.transpose(1, 2), graph.to_table(angular))
    blocks = neighbour_blocks(graph.edge_i, len(graph.species))
    # Radial functions go to the columns of the neighbour's element; the zeros elsewhere restrict the sum to it.
    element = graph.species.index_select(0, graph.edge_j) if elements > 1 else 0
    functions = blocks.pad(radial, blocks.position * elements + element, elements)
    return blocks.sum_by_atom(torch.bmm(functions.transpose(1, 2), blocks.pad(angular, blocks.position, 1)))

"""Edges of a graph in rows of equal length, over which the convolution of MACE sums with matrix products."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.graph.padded import PaddedGraph, gather_rows, rearrange_rows

MAX_ROW_LENGTH = 16  # maximum number of edges per row, over which one matrix product sums


class RowEdges(NamedTuple):
    """Edges in R padded rows of S entries; an atom has as many rows as its edges need.

    mace's blocks index an ``edge_index`` with 0 and 1, which here are the first two fields.

    Attributes:
        sender, receiver: (E,) atoms of each edge, sorted by receiver.
        entry: (E,) entry of each edge in the flattened rows.
        entry_sender, entry_pair: (R, S) sender, and row of the radial weights, of each entry; 0 in padding.
        row_receiver: (R,) receiver of each row.
    """

    sender: Tensor
    receiver: Tensor
    entry: Tensor
    entry_sender: Tensor
    entry_pair: Tensor
    row_receiver: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """R, S."""
        rows, length = self.entry_sender.shape
        return rows, length

    def to_entries(self, values: Tensor) -> Tensor:
        """Return per-edge values (E, K) in rows, (R * S, K), with 0 in padding."""
        rows, length = self.shape
        return values.new_zeros(rows * length, values.shape[1]).index_copy(0, self.entry, values)

    def gather_senders(self, features: Tensor) -> Tensor:
        """Return the features (N, ...) of the sender of each entry, (R * S, ...)."""
        return features.index_select(0, self.entry_sender.flatten())

    def gather_weights(self, weights: Tensor) -> Tensor:
        """Return the radial weights (pairs, K) of each entry, (R * S, K)."""
        return weights.index_select(0, self.entry_pair.flatten())

    def weights_of_edges(self, weights: Tensor) -> Tensor:
        """Return the radial weights (pairs, K) of each edge, (E, K)."""
        return weights.index_select(0, self.entry_pair.flatten().index_select(0, self.entry))

    def sum_rows(self, messages: Tensor, count: int) -> Tensor:
        """Return the sums (count, K) of messages (R, K) over the rows of each atom."""
        return messages.new_zeros(count, messages.shape[1]).index_add(0, self.row_receiver, messages)


class TableEdges(NamedTuple):
    """Edges of a padded graph: one row per atom, that of its table; fields and methods as in `RowEdges`.

    Attributes:
        graph: the graph.
        neighbours, reverse_table: properties of the graph, computed once for all layers.
        pair: (E,) row of the radial weights of each edge.
        edges_of_pair: (pairs, 1 or 2) edges with these radial weights.
    """

    sender: Tensor
    receiver: Tensor
    graph: PaddedGraph
    neighbours: Tensor
    reverse_table: Tensor | None
    pair: Tensor
    edges_of_pair: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        rows, length = self.graph.table.shape
        return rows, length

    def to_entries(self, values: Tensor) -> Tensor:
        return self.graph.to_table(values).flatten(0, 1)

    def gather_senders(self, features: Tensor) -> Tensor:
        if self.reverse_table is None:
            return features.index_select(0, self.neighbours)
        return gather_rows(features, self.neighbours, self.reverse_table)

    def gather_weights(self, weights: Tensor) -> Tensor:
        # Empty entries get the weights of the last pair, which is padding. Padding edges are in no row: the last
        # entry, which is empty, stands for theirs.
        last = self.pair.new_full((1,), len(weights) - 1)
        entry_pair = torch.cat([self.pair, last]).index_select(0, self.graph.table.flatten())
        entries = self.graph.slot.clamp_max(len(entry_pair) - 1)
        return gather_rows(weights, entry_pair, entries[self.edges_of_pair])

    def weights_of_edges(self, weights: Tensor) -> Tensor:
        return gather_rows(weights, self.pair, self.edges_of_pair)

    def sum_rows(self, messages: Tensor, count: int) -> Tensor:
        return messages


Edges = RowEdges | TableEdges


class Pairs(NamedTuple):
    """Edges for which radial weights are evaluated: one per pair, or all.

    Attributes:
        first: (P,) these edges.
        place: (E,) position of each edge among them; P for the others, or ``None`` for a graph that is not padded.
    """

    first: Tensor
    place: Tensor | None

    def select(self, values: Tensor) -> Tensor:
        """Return the rows (P, ...) of values (E, ...)."""
        if self.place is None:
            return values.index_select(0, self.first)
        return rearrange_rows(values, self.first, self.place)


def arrange_edges(graph: Graph, *, pairwise: bool) -> tuple[Edges, Pairs]:
    """Return the edges in rows, and those for which radial weights are evaluated.

    Args:
        graph: N atoms.
        pairwise: an edge and its reverse have equal weights, which are evaluated once per pair if the graph contains
            the reverse of each edge.
    """
    number = torch.arange(graph.n_edges, device=graph.edge_i.device)
    pairwise = pairwise and len(graph.reverse_edge_index) == graph.n_edges
    if isinstance(graph, PaddedGraph):
        return _table_edges(graph, number, pairwise=pairwise)
    if not pairwise:
        return row_edges(graph.edge_j, graph.edge_i, number, len(graph.species)), Pairs(number, None)
    first = number <= graph.reverse_edge_index
    pair = _number_of_pair(number, graph.reverse_edge_index, first)
    return row_edges(graph.edge_j, graph.edge_i, pair, len(graph.species)), Pairs(number[first], None)


def _number_of_pair(number: Tensor, reverse: Tensor, first: Tensor) -> Tensor:
    """Return the number of the pair of each edge; pairs are numbered in the order of their first edges."""
    return (torch.cumsum(first, 0) - 1).index_select(0, torch.minimum(number, reverse))


def _table_edges(graph: PaddedGraph, number: Tensor, *, pairwise: bool) -> tuple[TableEdges, Pairs]:
    has_reverse = len(graph.reverse_edge_index) == graph.n_edges
    pair, edges_of_pair, pairs = number, number[:, None], Pairs(number, number)
    if pairwise:
        reverse, count = graph.reverse_edge_index, graph.n_edges // 2
        is_first = number < reverse
        pair = _number_of_pair(number, reverse, is_first)
        # The other edges are copied to one row more, which is cut off: selecting the first ones would need their count.
        place = torch.where(is_first, pair, count)
        pairs = Pairs(number.new_zeros(count + 1).index_copy(0, place, number)[:count], place)
        edges_of_pair = torch.stack([pairs.first, reverse.index_select(0, pairs.first)], dim=1)
    edges = TableEdges(
        sender=graph.edge_j,
        receiver=graph.edge_i,
        graph=graph,
        neighbours=graph.neighbour_of_slot,
        reverse_table=graph.reverse_table if has_reverse else None,
        pair=pair,
        edges_of_pair=edges_of_pair,
    )
    return edges, pairs


def row_edges(sender: Tensor, receiver: Tensor, pair: Tensor, count: int) -> RowEdges:
    """Return edges in padded rows.

    Args:
        sender, receiver: (E,) atoms of each edge, sorted by receiver.
        pair: (E,) row of the radial weights of each edge.
        count: number of atoms.
    """
    degree = torch.bincount(receiver, minlength=count)
    length = min(MAX_ROW_LENGTH, int(degree.max())) if len(receiver) else 1
    rows = (degree + length - 1) // length
    first_edge, first_entry = torch.cumsum(degree, 0) - degree, length * (torch.cumsum(rows, 0) - rows)
    entry = torch.arange(len(receiver), device=receiver.device) + (first_entry - first_edge)[receiver]
    row_receiver = torch.repeat_interleave(rows)
    padding = entry.new_zeros(length * len(row_receiver))
    entry_sender, entry_pair = (padding.index_copy(0, entry, values).view(-1, length) for values in (sender, pair))
    return RowEdges(sender, receiver, entry, entry_sender, entry_pair, row_receiver)

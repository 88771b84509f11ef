"""Rectangular tables of the edges of each atom, for operations among all neighbours of an atom."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.graph.padded import PaddedGraph
from fitsnap_nn.models.pairs import sum_by

MIN_FILL = 0.7  # minimum ratio of the smallest to the largest number of neighbours in a table


class PaddedTable:
    """The table of a padded graph; attributes and methods as in `NeighbourTables`."""

    def __init__(self, graph: PaddedGraph) -> None:
        self._graph = graph
        self.masks = [graph.table < graph.n_edges]

    def split(self, values: Tensor) -> list[Tensor]:
        return [self._graph.to_table(values)]

    def join(self, blocks: Sequence[Tensor]) -> Tensor:
        return self._graph.from_table(blocks[0])

    def sum_by_centre(self, values: Tensor) -> Tensor:
        return self._graph.sum_by_centre(values)


class NeighbourTables:
    """Padded neighbour tables (atoms, maximum number of neighbours), since batched operations need rectangular arrays.

    Atoms with similar numbers of neighbours share a table, which limits the padding: a few atoms with 100 neighbours do
    not enlarge the tables of many atoms with 20. The T entries of all tables are stored contiguously. A padding entry
    repeats the last edge of its atom.

    Args:
        graph: its edges are sorted by centre.

    Attributes:
        masks: per table (atoms, neighbours), False in padding; at least one table, which may have no rows.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        counts = torch.bincount(graph.edge_i, minlength=len(graph.species))
        firsts = counts.cumsum(0) - counts
        self.masks: list[Tensor] = []
        self._entry_of_edge = torch.empty_like(graph.edge_i)
        entries: list[Tensor] = []
        for fewest, most in _degree_ranges(torch.unique(counts).tolist()) or [(1, 1)]:
            atoms = torch.where((counts >= fewest) & (counts <= most))[0]
            column = torch.arange(most, device=atoms.device)
            filled = column < counts[atoms, None]
            edges = firsts[atoms, None] + torch.minimum(column, counts[atoms, None] - 1)
            start = sum(map(len, entries))
            self._entry_of_edge[edges[filled]] = start + torch.where(filled.flatten())[0]
            entries.append(edges.flatten())
            self.masks.append(filled)
        self._edge_of_entry = torch.cat(entries)

    def split(self, values: Tensor) -> list[Tensor]:
        """Return (E, ...) per-edge values as (atoms, neighbours, ...) for each table."""
        blocks = torch.split(values.index_select(0, self._edge_of_entry), [mask.numel() for mask in self.masks])
        return [block.view(*mask.shape, *values.shape[1:]) for block, mask in zip(blocks, self.masks, strict=True)]

    def join(self, blocks: Sequence[Tensor]) -> Tensor:
        """Return (E, ...) per-edge values from those of each table."""
        return torch.cat([block.flatten(0, 1) for block in blocks]).index_select(0, self._entry_of_edge)

    def sum_by_centre(self, values: Tensor) -> Tensor:
        """Return the sums (owned atoms, ...) of values (E, ...) over the edges of each atom."""
        return sum_by(self._graph.edge_i, values, self._graph.owned)


def neighbour_tables(graph: Graph) -> PaddedTable | NeighbourTables:
    """Return the tables of a graph."""
    return PaddedTable(graph) if isinstance(graph, PaddedGraph) else NeighbourTables(graph)


def _degree_ranges(counts: list[int]) -> list[tuple[int, int]]:
    """Return (minimum, maximum) number of edges of the atoms in each table; ``counts`` are distinct and ascending."""
    ranges: list[tuple[int, int]] = []
    for count in reversed(counts):
        if count and ranges and count >= MIN_FILL * ranges[-1][1]:
            ranges[-1] = count, ranges[-1][1]
        elif count:
            ranges.append((count, count))
    return ranges

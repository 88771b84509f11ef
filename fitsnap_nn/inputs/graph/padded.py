"""Graphs of rounded sizes, on which a model runs without knowing any count and with deterministic sums.

On a GPU the host queues operations ahead of their execution, and a CUDA graph replays them for fixed shapes. Both
exclude operations whose result has a size that only the device knows. A `PaddedGraph` avoids them: a table with one row
of M entries per atom takes the place of lists of variable length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fitsnap_nn.inputs.graph.batch import Graph

Ints = NDArray[np.int64]

STEPS_PER_DOUBLING = 4  # sizes grow by factors of 2^(1/4): at most 19 % padding, and few shapes
COLUMNS = 4  # M is a multiple of it
# Å, a vector longer than any cutoff (100 Å at most), along no axis or plane, where derivatives may be singular.
FAR = (75.0, 60.0, 80.0)
FAR_LENGTH = 125.0
# Length of padding edges in units of the longest edge. High powers of a much larger length, as in cutoff functions,
# would overflow in float32 and turn all gradients into nan, although padding has no weight in them.
PADDING_LENGTH = 2.0


@dataclass(frozen=True)
class PaddedGraph(Graph):
    """Graph whose sizes are rounded up, so that few different shapes occur and no operation needs to know a count.

    The rows after the true ones are padding. Each padding configuration has at least one atom; padding atoms have no
    neighbours. Padding edges connect the last padding atom to itself and are longer than all others. They are in no row
    of the table, so that they contribute to no sum over the edges of an atom.

    Sums over neighbours are gathers followed by sums over a fixed number of terms. Their order is that of the table, so
    that results are reproducible on a GPU. The derivative of each of these methods is another of them.

    Attributes:
        table: (N, M) int64, edges of each atom; E where the atom has fewer than M.
        slot: (E,) int64, position of each edge in the flattened table; N * M for padding edges.
    """

    table: Tensor
    slot: Tensor

    @property
    def neighbour_of_slot(self) -> Tensor:
        """(N * M,) neighbour in each entry of the table; the last atom, which is padding, in empty entries."""
        last = self.edge_j.new_full((1,), len(self.species) - 1)
        return torch.cat([self.edge_j, last]).index_select(0, self.table.flatten())

    @property
    def reverse_table(self) -> Tensor:
        """(N, M) position in the flattened table of the reverse of each edge of an atom.

        Empty entries refer to the last entry of the table, which is empty because the last atom is padding.
        """
        empty = self.slot.new_full((1,), self.table.numel() - 1)
        slots = torch.cat([self.slot.index_select(0, self.reverse_edge_index), empty])
        return slots.index_select(0, self.table.flatten()).view(self.table.shape)

    def to_table(self, values: Tensor) -> Tensor:
        """Return (E, ...) per-edge values as rows per atom (N, M, ...), with 0 in empty entries."""
        entries = rearrange_rows(values, self.table.flatten(), self.slot)
        return entries.view(*self.table.shape, *values.shape[1:])

    def from_table(self, values: Tensor) -> Tensor:
        """Return (E, ...) per-edge values from rows per atom (N, M, ...), with 0 for padding edges."""
        return rearrange_rows(values.flatten(0, 1), self.slot, self.table.flatten())

    def gather_neighbours(self, features: Tensor) -> Tensor:
        """Return the features (N, ...) of the neighbour in each entry of the table, (N * M, ...).

        Empty entries hold the features of the last atom; derivatives with respect to them are ignored.
        """
        return gather_rows(features, self.neighbour_of_slot, self.reverse_table)

    def gather_reverse_edges(self, messages: Tensor) -> Tensor:
        if len(self.reverse_edge_index) < self.n_edges:
            raise ValueError("the graph was padded without the indices of reverse edges")
        return rearrange_rows(messages, self.reverse_edge_index, self.reverse_edge_index)

    def sum_by_centre(self, values: Tensor) -> Tensor:
        return self.to_table(values).sum(dim=1)

    def sum_by_neighbour(self, values: Tensor) -> Tensor:
        return self.sum_by_centre(self.gather_reverse_edges(values))

    def sum_edges_by_configuration(self, values: Tensor) -> Tensor:
        return self.sum_by_configuration(self.sum_by_centre(values))

    def sum_by_configuration(self, values: Tensor) -> Tensor:
        # A product with a matrix of 0 and 1: its derivatives are such products too. In float64, which no setting of
        # torch for faster products with fewer digits affects.
        configurations = torch.arange(len(self.n_atoms), device=self.config.device)
        members = (configurations[:, None] == self.config).double()
        sums = members @ values.double().flatten(1) if values.dim() > 1 else members @ values.double()
        return sums.view(-1, *values.shape[1:]).to(values.dtype)


def pad(graph: Graph, *, rows: int | None = None) -> PaddedGraph:
    """Return a graph padded to rounded sizes.

    The sizes depend on the graph alone, so that a resumed fit has the same.

    Args:
        graph: on the CPU. Its edges are sorted by centre; the reverse of each edge is in the graph. A graph without
            reverse edges stays so: then sums over the edges that end at an atom are not available.
        rows: number of atoms N after padding; ``None`` for the next rounded size.

    Returns:
        The padded graph, on the CPU.

    Raises:
        ValueError: ``rows`` leaves no padding atom per padding configuration, or the reverse of an edge belongs to
            another rank.
    """
    n_atoms, n_edges, n_configurations = len(graph.species), graph.n_edges, len(graph.n_atoms)
    configurations = rounded_size(n_configurations + 1)
    added = configurations - n_configurations
    atoms = rounded_size(n_atoms + added, 8) if rows is None else rows
    if atoms < n_atoms + added:
        raise ValueError(
            f"{n_atoms} atoms in {n_configurations} configurations need at least {n_atoms + added} rows, not {atoms}"
        )
    edges = rounded_size(n_edges + 2, 8)
    edge_i, reverse = graph.edge_i.numpy(), graph.reverse_edge_index.numpy()
    last = atoms - 1
    table, slot = _table(edge_i, atoms, edges)
    n_atoms_added = [1] * (added - 1) + [atoms - n_atoms - added + 1]
    config_added = np.repeat(np.arange(n_configurations, configurations), n_atoms_added)
    return PaddedGraph(
        species=extended(graph.species, atoms, 0),
        config=torch.from_numpy(np.concatenate([graph.config.numpy(), config_added])),
        n_atoms=torch.cat([graph.n_atoms, torch.tensor(n_atoms_added)]),
        volume=extended(graph.volume, configurations, 1.0),
        edge_i=extended(graph.edge_i, edges, last),
        edge_j=extended(graph.edge_j, edges, last),
        reverse_edge_index=torch.from_numpy(_reverse(reverse, n_edges, edges)),
        vectors=_padded_vectors(graph.vectors.detach(), edges),
        table=torch.from_numpy(table),
        slot=torch.from_numpy(slot),
    )


def rounded_size(size: int, multiple: int = 1) -> int:
    """Return the next size of a geometric series with four terms per factor of 2, rounded up to a multiple."""
    rounded = math.pow(2.0, math.ceil(STEPS_PER_DOUBLING * math.log2(max(size, 1))) / STEPS_PER_DOUBLING)
    return -(-max(size, math.floor(rounded)) // multiple) * multiple


def _table(edge_i: Ints, atoms: int, edges: int) -> tuple[Ints, Ints]:
    """Return the table of edges and the position of each edge in it, see `PaddedGraph`."""
    ends = np.searchsorted(edge_i, np.arange(atoms), side="right")
    firsts = np.concatenate([[0], ends[:-1]])
    counts = ends - firsts
    columns = rounded_size(int(counts.max()), COLUMNS)
    slot = np.full(edges, atoms * columns)
    shifts = np.repeat(np.arange(0, atoms * columns, columns) - firsts, counts)
    slot[: len(edge_i)] = np.arange(len(edge_i)) + shifts
    table = np.full(atoms * columns, edges)
    table[slot[: len(edge_i)]] = np.arange(len(edge_i))
    return table.reshape(atoms, columns), slot


def _reverse(reverse: Ints, n_edges: int, edges: int) -> Ints:
    """Return the padded indices of the reverse edges: padding edges are pairs of neighbouring indices."""
    if len(reverse) < n_edges:
        return np.empty(0, dtype=np.int64)
    if (reverse == np.arange(n_edges)).any():
        raise ValueError("the reverse of an edge belongs to another rank: such a graph cannot be padded")
    # n_edges is even, as each edge has another as its reverse.
    return np.concatenate([reverse, np.arange(n_edges, edges) ^ 1])


def extended(values: Tensor, size: int, filling: float) -> Tensor:
    """Return the rows of a tensor followed by rows of one value, (size, ...)."""
    rows = values.new_full((size, *values.shape[1:]), filling)
    rows[: len(values)] = values
    return rows


def _padded_vectors(vectors: Tensor, size: int) -> Tensor:
    extended = vectors.new_empty(size, 3)
    extended[: len(vectors)] = vectors
    far = extended.new_tensor(FAR)
    if len(vectors):
        # Column by column: a sum over the three numbers of each row takes four times as long.
        x, y, z = vectors.unbind(1)
        longest = math.sqrt(float((x * x).addcmul_(y, y).addcmul_(z, z).max()))
        far *= PADDING_LENGTH * longest / FAR_LENGTH
    extended[len(vectors) :: 2] = far
    extended[len(vectors) + 1 :: 2] = -far
    return extended


def gather_rows(values: Tensor, index: Tensor, positions: Tensor, offsets: Tensor | None = None) -> Tensor:
    """Return rows of a tensor; the derivative adds the terms of each row in a fixed order.

    torch's own derivative of ``index_select`` uses atomic additions on a GPU, whose order varies from run to run.

    Args:
        values: (A, ...).
        index: (B,) rows, below A.
        positions: (A, R) for each row of ``values`` its positions in ``index``. A row with fewer than R refers to a
            position whose derivative is 0.
        offsets: (A,) instead of equal numbers of positions: where those of each row start in ``positions`` (B,).

    Returns:
        (B, ...).
    """
    gathered: Tensor = _Gathered.apply(values, index, positions, offsets)  # type: ignore[no-untyped-call]
    return gathered


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, index: Tensor, positions: Tensor, offsets: Tensor | None) -> Tensor:
        ctx.save_for_backward(index, positions, offsets)
        return values.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor, None, None, None]:
        return _Summed.apply(bar, *ctx.saved_tensors), None, None, None  # type: ignore[no-untyped-call]


class _Summed(torch.autograd.Function):
    """Sums of the rows at the positions, without storing the terms; arguments as in `gather_rows`."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, index: Tensor, positions: Tensor, offsets: Tensor | None) -> Tensor:
        ctx.save_for_backward(index, positions, offsets)
        sums = torch.nn.functional.embedding_bag(positions, values.detach().flatten(1), offsets, mode="sum")
        return sums.view(len(sums), *values.shape[1:])

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor, None, None, None]:
        return _Gathered.apply(bar, *ctx.saved_tensors), None, None, None  # type: ignore[no-untyped-call]


def rearrange_rows(values: Tensor, index: Tensor, back: Tensor) -> Tensor:
    """Return rows of a tensor, each at most once; the derivative is the inverse rearrangement.

    Args:
        values: (A, ...).
        index: (B,) rows; A gives 0.
        back: (A,) for each row of ``values`` its position in the result; B for rows that do not occur.

    Returns:
        (B, ...).
    """
    rows: Tensor = _Rearranged.apply(values, index, back)  # type: ignore[no-untyped-call]
    return rows


class _Rearranged(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, index: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(index, back)
        return torch.cat([values, torch.zeros_like(values[:1])]).index_select(0, index)

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor, None, None]:
        index, back = ctx.saved_tensors
        return _Rearranged.apply(bar, back, index), None, None  # type: ignore[no-untyped-call]

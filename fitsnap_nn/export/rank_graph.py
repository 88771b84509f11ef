"""The neighbour graph of the atoms that one rank of LAMMPS owns, from what LAMMPS hands to a unified model.

LAMMPS has a row for each own atom and for each ghost, that is for each image of an atom within reach. In a graph the
images of one atom share a row: that of the atom itself where this rank owns it, or one of the rows after the own
atoms. A model then computes no more for ghosts than it must.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from fitsnap_nn.errors import LammpsError
from fitsnap_nn.export.lammps_data import LammpsData
from fitsnap_nn.inputs.graph.batch import Graph

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Exchange = Callable[[Tensor, Tensor, int], None]

NEEDS_IDS = "a model that passes messages needs the ids of atoms: remove `atom_modify id no` from the input."
ROUNDING = 1e-6  # Å, in which a vector may differ from its reverse
GENERIC = np.array([0.8191725, 0.6710436, 0.5497005])  # a direction onto which different images have different shadows


def graph_without_messages(data: LammpsData, n_elements: int, dtype: torch.dtype) -> Graph:
    """Of a model that needs no more of neighbours than their elements: one atom of each element stands for them all."""
    own = int(data.nlistatoms)
    species = np.concatenate([data.ielems[:own], np.arange(n_elements)])
    neighbours = own + _index(data.jelems if data.npairs else [])
    return OwnGraph(**_shared(data, species, neighbours, dtype), reverse_edge_index=_index([]), own=own)


def graph_of_rank(data: LammpsData, dtype: torch.dtype) -> Graph:
    """The graph of a rank in LAMMPS with our plugin, which passes messages on.

    Where all neighbours are images of own atoms, as on one rank, it is told which edges belong together: a model can
    then compute once what both edges of a pair share, and nothing has to be passed on.

    Raises:
        LammpsError: atoms have no ids.
    """
    own, tags = int(data.nlistatoms), data.tags
    if not tags[:own].all():
        raise LammpsError(NEEDS_IDS)
    _, first, inverse = np.unique(tags, return_index=True, return_inverse=True)
    chosen = first[inverse][data.pair_j]  # own atoms come first, so that a ghost of one is replaced by it
    needed = np.zeros(len(tags), dtype=bool)
    needed[chosen] = True
    needed[:own] = True
    place, rows = np.cumsum(needed) - 1, np.flatnonzero(needed)
    shared = _shared(data, data.elems[rows], place[chosen], dtype)
    reverse = _index(_known_reverse(shared["edge_i"].numpy(), chosen, data.rij, own) if data.npairs else [])
    if len(rows) == own and bool((reverse != torch.arange(len(reverse))).all()):
        return Graph(**shared, reverse_edge_index=reverse)
    return RankGraph(**shared, reverse_edge_index=reverse, own=own, data=data, rows=_index(rows))


def graph_of_all(data: LammpsData, tags: NDArray[np.int32], dtype: torch.dtype) -> Graph:
    """The graph of the atoms of a LAMMPS that runs on one rank, where all ghosts are images of own atoms.

    Args:
        tags: (ntotal,) ids of LAMMPS' atoms and ghosts.

    Raises:
        LammpsError: two atoms are so near the cutoff that by rounding only the one is the other's neighbour.
    """
    own = int(data.nlistatoms)
    if not data.npairs:
        return Graph(**_shared(data, data.ielems[:own], [], dtype), reverse_edge_index=_index([]))
    own_tags = tags[data.iatoms[:own]]
    order = np.argsort(own_tags)
    edge_j = order[np.searchsorted(own_tags, tags[data.jatoms], sorter=order)]
    shared = _shared(data, data.ielems[:own], edge_j, dtype)
    reverse = _reverse(shared["edge_i"].numpy(), edge_j, data.rij)
    if reverse is None:
        raise LammpsError("there are neighbours of which the one is not the other's.")
    return Graph(**shared, reverse_edge_index=_index(reverse))


@dataclass(frozen=True)
class OwnGraph(Graph):
    """The atoms that a rank owns, and after them what stands for others.

    Attributes:
        own: number of own atoms.
    """

    own: int

    @property
    def owned(self) -> int:
        return self.own


@dataclass(frozen=True)
class RankGraph(OwnGraph):
    """A graph that has exchanges of LAMMPS with our plugin between the layers of a model.

    Attributes:
        data: of this step.
        rows: (N,) for each atom the row of LAMMPS that is taken for it.
    """

    data: LammpsData
    rows: Tensor

    def with_ghosts(self, features: Tensor) -> Tensor:
        if len(self.rows) == self.own:
            return features
        found: Tensor = _FromOwners.apply(features[: self.own], self.data, self.rows)  # type: ignore[no-untyped-call]
        return found

    def gather_reverse_edges(self, messages: Tensor) -> Tensor:
        found: Tensor = _Reversed.apply(messages, self.data.edge_exchange)  # type: ignore[no-untyped-call]
        return found


class _FromOwners(torch.autograd.Function):
    """Features (own, ...) of own atoms -> (N, ...) of all; gradients go back to the ranks that own the atoms."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, data: LammpsData, rows: Tensor) -> Tensor:
        ctx.data, ctx.rows, ctx.own = data, rows, len(features)
        shape = features.shape[1:]
        values = features.new_zeros(data.ntotal, shape.numel())
        values[: len(features)] = features.reshape(len(features), -1)
        data.forward_exchange(values, values, shape.numel())
        return values[rows].view(-1, *shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        shape = gradient.shape[1:]
        values = gradient.new_zeros(ctx.data.ntotal, shape.numel())
        values[ctx.rows] = gradient.reshape(len(gradient), -1)
        ctx.data.reverse_exchange(values, values, shape.numel())
        return values[: ctx.own].view(-1, *shape), None, None


class _Reversed(torch.autograd.Function):
    """Messages (E, ...) -> those of the reverse edges; it is its own transpose."""

    @staticmethod
    def forward(ctx: Any, messages: Tensor, exchange: Exchange) -> Tensor:
        ctx.exchange = exchange
        return _exchanged(messages, exchange)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        return _exchanged(gradient, ctx.exchange), None


def _exchanged(values: Tensor, exchange: Exchange) -> Tensor:
    found = torch.empty_like(values, memory_format=torch.contiguous_format)
    exchange(values.contiguous(), found, values.shape[1:].numel())
    return found


def _shared(data: LammpsData, species: ArrayLike, edge_j: ArrayLike, dtype: torch.dtype) -> dict[str, Tensor]:
    """The fields that are alike for all graphs. Arrays without elements are not read: LAMMPS' own has none such."""
    own = int(data.nlistatoms)
    numbers = data.numneighs[:own] if data.npairs else np.zeros(own, dtype=np.int64)
    vectors = data.rij if data.npairs else np.zeros((0, 3))
    elements = _index(species)
    return {
        "species": elements,
        "config": torch.zeros_like(elements),
        "n_atoms": torch.tensor([len(elements)]),
        "volume": torch.ones(1, dtype=torch.float64),
        "edge_i": torch.repeat_interleave(torch.arange(own), _index(numbers)),
        "edge_j": _index(edge_j),
        "vectors": torch.from_numpy(vectors).to(dtype, copy=True).requires_grad_(True),
    }


def _known_reverse(edge_i: Ints, edge_j: Ints, vectors: Floats, own: int) -> Ints:
    """As `_reverse`, of edges between own atoms; the others, of which other ranks have the reverse, get themselves."""
    reverse, between = np.arange(len(edge_i)), np.flatnonzero(edge_j < own)
    found = _reverse(edge_i[between], edge_j[between], vectors[between]) if len(between) else None
    if found is not None:
        reverse[between] = between[found]
    return reverse


def _reverse(edge_i: Ints, edge_j: Ints, vectors: Floats) -> Ints | None:
    """For each edge (i, j, r) the place of (j, i, -r): sorted, the edges and the reversed edges are one list.

    ``None`` if they are not, as rounding can have it of two atoms at the cutoff.
    """
    shadow, count = vectors @ GENERIC, int(edge_i[-1]) + 1
    reverse = np.empty(len(edge_i), dtype=np.int64)
    reverse[np.lexsort((-shadow, edge_j * count + edge_i))] = np.lexsort((shadow, edge_i * count + edge_j))
    return reverse if (np.abs(vectors[reverse] + vectors) < ROUNDING).all() else None


def _index(numbers: ArrayLike) -> Tensor:
    return torch.from_numpy(np.asarray(numbers, dtype=np.int64))

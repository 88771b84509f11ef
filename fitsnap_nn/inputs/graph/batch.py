"""Batches of neighbour graphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from fitsnap_nn.data.voigt import COLUMNS, ROWS
from fitsnap_nn.inputs.batch import Batch, sum_by

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class Graph(Batch):
    """Atoms and the vectors between neighbours: E directed edges, each pair listed as (i, j) and as (j, i).

    In molecular dynamics on several ranks a graph holds the atoms that one rank owns, followed by ghost atoms, and
    only the edges of the owned atoms. `with_ghosts` and `gather_reverse_edges` then exchange features with other
    ranks. A message-passing model uses these two methods and needs no other knowledge of ranks.

    Attributes:
        edge_i: (E,) int64, index of the central atom; sorted.
        edge_j: (E,) int64, index of the neighbour, or of the atom of which the neighbour is a periodic image.
        reverse_edge_index: (E,) int64, index of the edge j -> i between the same two images; the edge's own index if
            another rank owns the reverse edge.
        vectors: (E, 3) Å, from i to the image of j.
    """

    edge_i: Tensor
    edge_j: Tensor
    reverse_edge_index: Tensor
    vectors: Tensor

    indices: ClassVar[Mapping[str, str]] = MappingProxyType(
        {**Batch.indices, "edge_i": "species", "edge_j": "species", "reverse_edge_index": "vectors"}
    )
    long_indices: ClassVar[tuple[str, ...]] = ("edge_i", "edge_j", "reverse_edge_index")
    # Fields of vectors with respect to which energies are differentiated.
    differentiated: ClassVar[tuple[str, ...]] = ("vectors",)

    @property
    def cost(self) -> float:
        # Measured: an edge of a graph model costs about 4 SNAP pairs, the overhead per configuration 30 edges.
        return 4.0 * (self.n_edges + 30.0 * len(self.n_atoms))

    @property
    def n_edges(self) -> int:
        """Number of edges E."""
        return len(self.edge_i)

    @property
    def owned(self) -> int:
        """Number of owned atoms, which come before the ghost atoms; energies of ghost atoms are not used."""
        return len(self.species)

    def with_ghosts(self, features: Tensor) -> Tensor:
        """Copy the features of owned atoms to their ghost atoms.

        Args:
            features: (N, ...) per-atom features.

        Returns:
            (N, ...) features, here unchanged: without domain decomposition there are no ghost atoms.
        """
        return features

    def gather_reverse_edges(self, messages: Tensor) -> Tensor:
        """Return for each edge the message of its reverse edge.

        Args:
            messages: (E, ...) per-edge features.

        Returns:
            (E, ...) features.
        """
        return messages.index_select(0, self.reverse_edge_index)

    def sum_by_centre(self, values: Tensor) -> Tensor:
        """Return the sums (N, ...) of values (E, ...) over the edges i -> j of each atom i."""
        return sum_by(self.edge_i, values, len(self.species))

    def sum_by_neighbour(self, values: Tensor) -> Tensor:
        """Return the sums (N, ...) of values (E, ...) over the edges i -> j of each atom j."""
        return sum_by(self.edge_j, values, len(self.species))

    def sum_edges_by_configuration(self, values: Tensor) -> Tensor:
        """Return the sums (C, ...) of values (E, ...) over the edges of each configuration."""
        return sum_by(self.config[self.edge_i], values, len(self.n_atoms))

    def forces(self, gradients: Tensor) -> Tensor:
        """Return forces (N, 3) from gradients as `GraphModel.energies_and_gradients` returns them."""
        return self.sum_by_centre(gradients) - self.sum_by_neighbour(gradients)

    def virials(self, gradients: Tensor) -> Tensor:
        """Return dE/d(strain) (C, 6) in Voigt order from the same gradients."""
        # By components, without index arrays, which would be copied to a GPU on each call.
        vectors, slopes = self.vectors.unbind(1), gradients.unbind(1)
        products = [
            vectors[row] * slopes[column] + vectors[column] * slopes[row]
            for row, column in zip(ROWS, COLUMNS, strict=True)
        ]
        return self.sum_edges_by_configuration(0.5 * torch.stack(products, dim=1))

    def padded(self) -> Graph:
        from fitsnap_nn.inputs.graph.padded import pad

        return pad(self)

    def rotated(self, matrices: Tensor) -> Self:
        edge_matrices = matrices.to(self.vectors).index_select(0, self.config[self.edge_i])
        return replace(self, vectors=torch.bmm(edge_matrices, self.vectors.unsqueeze(2)).squeeze(2))

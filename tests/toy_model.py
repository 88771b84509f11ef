"""Message-passing models small enough to be checked by eye: messages between atoms, and along edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.pairs import sum_by


class ToyModel(GraphModel):
    """Base class of both toy models: smooth functions of distances and of vectors.

    Args:
        width: number of features.
        layers: how often messages are passed, the first time to direct neighbours.
    """

    def __init__(self, elements: Sequence[str], *, cutoff: float = 4.0, width: int = 6, layers: int = 2) -> None:
        super().__init__(tuple(elements))
        self.cutoff = cutoff
        self.width = width
        self.num_message_passing = layers - 1
        self.embedding = nn.Embedding(len(self.elements), width)
        self.radial = nn.ModuleList(nn.Linear(5, width, bias=False) for _ in range(layers))
        self.mix = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.readout = nn.Linear(width, 1, bias=False)

    def description(self) -> dict[str, Any]:
        return {
            "architecture": type(self).__name__,
            "elements": list(self.elements),
            "cutoff": self.cutoff,
            "width": self.width,
            "layers": self.receptive_field,
        }

    def distances(self, graph: Graph) -> Tensor:
        """(E, 5) functions of distances, zero at the cutoff with their first three derivatives."""
        squared = (graph.vectors**2).sum(dim=1, keepdim=True) / self.cutoff**2
        centres = torch.linspace(0.1, 0.9, 5, dtype=squared.dtype, device=squared.device)
        return torch.exp(-8.0 * (squared - centres) ** 2) * (1.0 - squared).clamp(min=0.0) ** 4


class AtomMessages(ToyModel):
    """h_i <- tanh(W h_i + sum_j h_j R(r_ij) + |sum_j h_j R(r_ij) r_ij|²)."""

    def forward(self, graph: Graph) -> Tensor:
        features, distances = self.embedding(graph.species), self.distances(graph)
        for number, (radial, mix) in enumerate(zip(self.radial, self.mix, strict=True)):
            if number > 0:
                features = graph.with_ghosts(features)
            messages = features[graph.edge_j] * radial(distances)
            received = sum_by(graph.edge_i, messages, len(features))
            turning = sum_by(graph.edge_i, messages[:, :, None] * graph.vectors[:, None, :], len(features))
            features = torch.tanh(mix(features) + received + (turning**2).sum(dim=2))
        outputs: Tensor = self.readout(features)
        return outputs.squeeze(1)


class EdgeMessages(ToyModel):
    """m_ij <- tanh(W m_ji + sum_k m_jk + h_j) R(r_ij), from m_ij = h_j R(r_ij)."""

    def forward(self, graph: Graph) -> Tensor:
        species, distances = self.embedding(graph.species), self.distances(graph)
        messages = species[graph.edge_j] * self.radial[0](distances)
        for radial, mix in zip(self.radial[1:], self.mix, strict=False):
            sums = sum_by(graph.edge_i, messages, len(species)) + species
            messages = graph.gather_reverse_edges(torch.tanh(mix(messages) + sums[graph.edge_i]) * radial(distances))
        outputs: Tensor = self.readout(torch.tanh(self.mix[-1](sum_by(graph.edge_i, messages, len(species)) + species)))
        return outputs.squeeze(1)

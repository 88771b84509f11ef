"""Neighbour graphs as model input, ``calculator = LAMMPSGRAPH``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import Derivatives
from fitsnap_nn.inputs.base import CachedInput, ModelInput
from fitsnap_nn.inputs.batch import atom_fields
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.graph.cached import CachedGraph
from fitsnap_nn.inputs.graph.placed import PlacedGraph, place_fields

if TYPE_CHECKING:
    from fitsnap_nn.inputs.graph.compute import GraphCompute
    from fitsnap_nn.settings.schema import Reference

FIELDS = ("edge_i", "edge_j", "reverse_edge_index", "vectors")


@dataclass(frozen=True)
class GraphInput(ModelInput):
    """Neighbour graph of all atom pairs within a cutoff.

    Args:
        elements: chemical symbols, in the order of the LAMMPS atom types.
        radius: cutoff of the graph, Å.
        long_range: whether batches are `PlacedGraph`, with positions and cells; cached inputs are the same.
    """

    elements: tuple[str, ...]
    radius: float
    long_range: bool = False

    calculator: ClassVar[str] = "LAMMPSGRAPH"
    cached: ClassVar[type[CachedInput]] = CachedGraph

    @property
    def allows_primitive_cells(self) -> bool:
        return not self.long_range  # the errors of sums over k depend on the cell

    @property
    def cutoff(self) -> float:
        return self.radius

    @property
    def summary(self) -> str:
        return f"graphs: neighbours within {self.radius:g} Å"

    def cache_key(self, derivatives: Derivatives) -> dict[str, Any]:
        return {"cutoff": self.radius}

    def open(self, reference: Reference, folder: Path, derivatives: Derivatives) -> GraphCompute:
        from fitsnap_nn.inputs.graph.compute import GraphCompute

        return GraphCompute(self.elements, self.radius, reference, folder)

    def to_batch(self, configuration: Configuration, cached: CachedInput) -> Graph:
        arrays = {name: torch.from_numpy(getattr(cached, name)) for name in FIELDS}
        fields = {**atom_fields(configuration, self.elements), **arrays}
        return PlacedGraph(**fields, **place_fields(configuration)) if self.long_range else Graph(**fields)

    def payload(self) -> dict[str, Any]:
        found = {"calculator": self.calculator, "elements": list(self.elements), "radius": self.radius}
        return {**found, "long_range": True} if self.long_range else found

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> GraphInput:
        return cls(tuple(payload["elements"]), payload["radius"], payload.get("long_range", False))

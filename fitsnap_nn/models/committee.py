"""Committees of models on neighbour graphs, of any architecture; those of BPNN are one network, see `bpnn`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import tee
from typing import Any

import torch
from torch import Tensor

from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.models.base import GraphModel, Model

BASELINES = "element_energies", "energy_scale"
MIXED = "COMMITTEE"  # architecture, in model files, of the mean of models that were fitted one by one


def member_weights(model: Model[Any]) -> tuple[float, ...]:
    """Return the weights of the members of a model in its prediction; they sum to 1."""
    return model.weights if isinstance(model, Committee) else equal_weights(len(model.members()))


def equal_weights(count: int) -> tuple[float, ...]:
    """Return the weights of the members of a plain mean."""
    return (1.0 / count,) * count


class Committee(GraphModel):
    """Base class of means of models for the same elements: it needs what any of them needs.

    Args:
        networks: the members.
        weights: of the members in the mean; equal if empty.

    Raises:
        ValueError: the weights are not positive numbers, one for each member, whose sum is 1.
    """

    def __init__(self, networks: Sequence[GraphModel], weights: Sequence[float] = ()) -> None:
        super().__init__(networks[0].elements)
        self.weights = tuple(weights) or equal_weights(len(networks))
        fits = len(self.weights) == len(networks) and all(one > 0 for one in self.weights)
        if not (fits and abs(math.fsum(self.weights) - 1) < 1e-9):
            raise ValueError(f"{len(networks)} members with weights {' '.join(map(str, self.weights))}")
        self.networks = torch.nn.ModuleList(networks)
        self.cutoff = max(one.cutoff for one in networks)
        self.num_message_passing = max(one.num_message_passing for one in networks)
        self.has_long_range = any(one.has_long_range for one in networks)
        self.takes_padding = all(one.takes_padding for one in networks)
        self.needs_augmentation = any(one.needs_augmentation for one in networks)  # type: ignore[misc]  # of members

    def members(self) -> tuple[GraphModel, ...]:
        return tuple(self.networks)  # type: ignore[arg-type]  # a ModuleList is one of Module

    @property
    def precision(self) -> torch.dtype:
        return min((one.precision for one in self.members()), key=lambda dtype: dtype.itemsize)

    def set_precision(self, dtype: torch.dtype) -> None:
        for one in self.members():
            one.set_precision(dtype)


class GraphCommittee(Committee):
    """The mean of models that differ in their weights.

    Element energies and scale are common to all.

    Args:
        create: returns a model with random weights, without targets.
        size: number of members.
    """

    def __init__(self, create: Callable[[], GraphModel], size: int) -> None:
        super().__init__([create() for _ in range(size)])
        self.members()

    def members(self) -> tuple[GraphModel, ...]:
        for one in self._networks:
            for name in BASELINES:
                # The tensors of this model, which have been replaced by a change of device or type.
                setattr(one, name, getattr(self, name))
        return self._networks

    @property
    def _networks(self) -> tuple[GraphModel, ...]:
        return super().members()

    @property
    def layout(self) -> str:
        parts = [self._networks[0].layout, f"committee of {len(self.networks)}"]
        return ", ".join(filter(None, parts))

    def description(self) -> dict[str, Any]:
        return {**self._networks[0].description(), "committee": len(self.networks)}

    def state_for_elements(self, state: Mapping[str, Tensor], elements: Sequence[str]) -> dict[str, Tensor]:
        common = {name: state[name] for name in BASELINES}
        arranged: dict[str, Tensor] = {}
        for number, one in enumerate(self._networks):
            prefix = f"networks.{number}."
            own = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
            found = one.state_for_elements(own | common, elements)
            arranged |= {prefix + name: tensor for name, tensor in found.items()}
        return arranged | {name: arranged[f"networks.0.{name}"] for name in BASELINES}

    def fit_to_data(self, graphs: Iterable[Graph]) -> None:
        # Graphs are read only if a member asks for them, and then once for all.
        for one, own in zip(self._networks, tee(graphs, len(self.networks)), strict=True):
            one.fit_to_data(own)

    def prior_energies(self, graph: Graph) -> Tensor:
        return self._networks[0].prior_energies(graph)

    def forward(self, graph: Graph) -> Tensor:
        return torch.stack([one(graph) for one in self._networks]).mean(dim=0)

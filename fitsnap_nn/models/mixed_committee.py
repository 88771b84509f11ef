"""Committees of models that were fitted one by one, of the same architecture or of several."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from fitsnap_nn.inputs.ace.input import AceInput
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.snap.input import SnapInput
from fitsnap_nn.models.base import GraphModel, Model
from fitsnap_nn.models.bpnn import BPNN
from fitsnap_nn.models.committee import MIXED, Committee
from fitsnap_nn.models.descriptor_network import DescriptorNetwork
from fitsnap_nn.models.linear import LinearModel
from fitsnap_nn.models.prediction import weighted_mean


class MixedCommittee(Committee):
    """The weighted mean of models on neighbour graphs, each with its own cutoff, element energies and scale.

    Vectors beyond the cutoff of a member do not change it. The members keep their weights: this model is not trained.

    Args:
        models: the members, or their descriptions; for the same elements, in the same order, and without targets.
        weights: of the members; equal if empty.

    Raises:
        ValueError: one is a model on descriptors, or the weights are wrong.
    """

    def __init__(self, models: Sequence[GraphModel | Mapping[str, Any]], weights: Sequence[float] = ()) -> None:
        from fitsnap_nn.models import build_model

        built = [one if isinstance(one, GraphModel) else build_model(one) for one in models]
        members = [one for one in built if isinstance(one, GraphModel)]
        if len(members) < len(built):
            raise ValueError("a member is not a model on neighbour graphs")
        super().__init__(members, weights)
        self.element_energies.copy_(weighted_mean([one.element_energies for one in members], self.weights))

    @property
    def layout(self) -> str:
        return f"mean of {len(self.networks)} models"

    def description(self) -> dict[str, Any]:
        return {
            "architecture": MIXED,
            "models": [one.description() for one in self.members()],
            "weights": list(self.weights),
        }

    def prior_energies(self, graph: Graph) -> Tensor:
        return weighted_mean([one.prior_energies(graph) for one in self.members()], self.weights)

    def forward(self, graph: Graph) -> Tensor:
        # In eV, since the members have scales of their own; that of the committee is 1.
        outputs = [one.energy_scale * one(graph).double() for one in self.members()]
        return weighted_mean(outputs, self.weights).to(graph.vectors.dtype)


def members_of(model: Model[Any]) -> list[GraphModel]:
    """Return copies, as models on neighbour graphs, of the models that a model is the mean of.

    Args:
        model: on neighbour graphs, or on SNAP or ACE descriptors, where the mean of a committee is one network.

    Raises:
        ValueError: it is on other descriptors, or too large for this form.
    """
    if isinstance(model, BPNN | LinearModel) and isinstance(model.input, SnapInput | AceInput):
        return [DescriptorNetwork.of(model)]
    members = [copy.deepcopy(one) for one in model.members() if isinstance(one, GraphModel)]
    if not members:
        raise ValueError(f"it is a {type(model).__name__} on {model.input.calculator}")
    return members

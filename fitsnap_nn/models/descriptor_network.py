"""Network on SNAP or ACE descriptors as a function of the neighbour graph.

Fits read the descriptors from the cache and give a `BPNN` or a `LinearModel`. LAMMPS runs those on ACE in this form,
and those on SNAP if they are to run on a GPU; both are members of committees in this form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from fitsnap_nn.inputs import ModelInput, input_from_payload
from fitsnap_nn.inputs.ace.input import AceInput
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.graph.padded import PaddedGraph
from fitsnap_nn.inputs.snap.input import SnapInput
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.bpnn import BPNN
from fitsnap_nn.models.linear import LinearModel
from fitsnap_nn.models.mlp import ACTIVATIONS, uniform

ARCHITECTURES_OF_INPUTS = MappingProxyType({SnapInput.calculator: "SNAP", AceInput.calculator: "ACE"})


class DescriptorNetwork(GraphModel):
    """e_i = E0(Z_i) + net_Z((B_i - shift_Z) / scale_Z), with descriptors B_i and a network for each element.

    Args:
        model_input: descriptors, as an input or as its payload.
        hidden: nodes per hidden layer; none for a linear model.
        activation: of the hidden layers; a key of ``ACTIVATIONS``.

    Raises:
        ValueError: torch cannot compute the descriptors of this input.
    """

    def __init__(
        self, model_input: ModelInput | Mapping[str, Any], hidden: Sequence[int], activation: str = "softplus"
    ) -> None:
        found = input_from_payload(model_input) if isinstance(model_input, Mapping) else model_input
        if not isinstance(found, SnapInput | AceInput):
            raise ValueError(f"torch cannot compute the descriptors of {found.calculator}")
        super().__init__(found.elements)
        self._input = found
        self._hidden, self._activation = tuple(hidden), activation
        self.cutoff = found.cutoff
        count, sizes = len(self.elements), [found.size, *hidden, 1]
        pairs = list(pairwise(sizes))
        self.weights = nn.ParameterList(nn.Parameter(uniform((count, b, a), a)) for a, b in pairs)
        self.biases = nn.ParameterList(nn.Parameter(uniform((count, b), a)) for a, b in pairs)
        self.shift: Tensor
        self.scale: Tensor
        self.register_buffer("shift", torch.zeros(count, found.size))
        self.register_buffer("scale", torch.ones(count, found.size))
        self.descriptors = found.descriptors()  # last: the sizes in a model file have to be those of its weights

    @classmethod
    @torch.no_grad()
    def of(cls, model: BPNN | LinearModel) -> DescriptorNetwork:
        """Return a model on descriptors, or the mean of its committee, in float64.

        Args:
            model: left unchanged.

        Raises:
            ValueError: torch cannot compute its descriptors.
        """
        networks = model.plain_networks()
        hidden = [len(bias) for _, bias in networks[0].layers[:-1]]
        found = cls(model.input, hidden, networks[0].activation)
        found.set_precision(torch.float64)
        found.element_energies.copy_(model.element_energies)
        for element, network in enumerate(networks):
            found.shift[element], found.scale[element] = network.shift, network.scale
            for number, (weight, bias) in enumerate(network.layers):
                found.weights[number][element], found.biases[number][element] = weight, bias
        # The networks of `plain_networks` contain the element energies.
        found.biases[-1] -= found.element_energies[:, None]
        return found.eval().requires_grad_(False)

    def last_layer_parameters(self) -> Sequence[Tensor]:
        return self.weights[-1], self.biases[-1]

    def description(self) -> dict[str, Any]:
        options = {"hidden": list(self._hidden), "activation": self._activation}
        payload = self._input.payload()
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in payload.items()}
        return {"architecture": ARCHITECTURES_OF_INPUTS[self._input.calculator], "model_input": plain, **options}

    def set_precision(self, dtype: torch.dtype) -> None:
        # Always float64, because the sums in the descriptors cancel. With ACE in float32, energies of 108 atoms of
        # nickel had errors of up to 1.3 meV, SOAP_BPNN 0.01 meV. Rounding of the vectors to float32 costs 0.003 meV.
        super().set_precision(torch.float64)

    def forward(self, graph: Graph) -> Tensor:
        return self._outputs(replace(graph, vectors=graph.vectors.to(self.precision))).to(graph.vectors.dtype)

    def _outputs(self, graph: Graph) -> Tensor:
        descriptors = self.descriptors(graph)
        if len(self.elements) == 1:
            return self._network(0, descriptors)
        if isinstance(graph, PaddedGraph):  # all networks for all atoms: no size depends on the elements
            outputs = torch.stack([self._network(k, descriptors) for k in range(len(self.elements))], dim=1)
            return (outputs * graph.one_hot(len(self.elements), outputs.dtype)).sum(dim=1)
        outputs = torch.zeros_like(descriptors[:, 0])
        for element in range(len(self.elements)):
            atoms = torch.where(graph.species == element)[0]
            outputs = outputs.index_copy(0, atoms, self._network(element, descriptors.index_select(0, atoms)))
        return outputs

    def _network(self, element: int, descriptors: Tensor) -> Tensor:
        """Return the output (M,) of the network of an element for descriptors (M, D)."""
        values = (descriptors - self.shift[element]) / self.scale[element]
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if layer:
                values = ACTIVATIONS[self._activation].value(values)
            values = nn.functional.linear(values, weight[element], bias[element])
        return values.squeeze(1)

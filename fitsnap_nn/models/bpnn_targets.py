"""Networks of BPNN for targets: invariant scalars, from the descriptors that the energy is a function of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from fitsnap_nn.models.mlp import ACTIVATIONS
from fitsnap_nn.models.targets import TargetSpec


class TargetNetworks(nn.Module):
    """One network for each target, or one for each target and element.

    Args:
        specs: the targets. With the head ``linear`` a network has no hidden layer.
        inputs: number of inputs.
        hidden: nodes per hidden layer.
        activation: a key of ``ACTIVATIONS``.
        elements: number of elements with networks of their own, or 1.
    """

    def __init__(
        self, specs: Iterable[TargetSpec], inputs: int, hidden: Sequence[int], activation: str, elements: int
    ) -> None:
        super().__init__()
        self.activation = activation
        self._layers: dict[str, list[list[nn.Linear]]] = {}
        for spec in specs:
            sizes = [inputs, *([] if spec.head == "linear" else hidden), 1]
            self._layers[spec.name] = [[nn.Linear(a, b) for a, b in pairwise(sizes)] for _ in range(elements)]
        self.networks = nn.ModuleDict(
            {
                name: nn.ModuleList(nn.Sequential(*layers) for layers in networks)
                for name, networks in self._layers.items()
            }
        )

    @torch.no_grad()
    def standardize(self, deviations: Tensor) -> None:
        """Divide the initial weights of the descriptors by their standard deviations (D,)."""
        for networks in self._layers.values():
            for layers in networks:
                layers[0].weight[:, : len(deviations)] /= deviations

    def forward(self, name: str, inputs: Tensor, species: Tensor) -> Tensor:
        """Return the output (N, 1) for each atom.

        Args:
            name: the target.
            inputs: (N, inputs) standardised descriptors.
            species: (N,) elements.
        """
        networks = self._layers[name]
        if len(networks) == 1:
            return self._apply_layers(networks[0], inputs)
        found = inputs.new_zeros(len(inputs), 1)
        for element, layers in enumerate(networks):
            atoms = torch.where(species == element)[0]
            found = found.index_copy(0, atoms, self._apply_layers(layers, inputs[atoms]))
        return found

    def _apply_layers(self, layers: Sequence[nn.Linear], values: Tensor) -> Tensor:
        *hidden, last = layers
        for layer in hidden:
            values = ACTIVATIONS[self.activation].value(layer(values))
        found: Tensor = last(values)
        return found

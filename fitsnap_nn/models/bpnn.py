"""Behler-Parrinello networks on the descriptors of an atom's surroundings.

J. Behler and M. Parrinello, Phys. Rev. Lett. 98, 146401 (2007): the energy is a sum over atoms,
E = sum_i e(B_i), each term a feed-forward network of the atom's descriptors.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fitsnap_nn.models.contract import Batch, Model

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "linear": nn.Identity,
}

SHARED, PER_ELEMENT, ONE_HOT = 1, 2, 3


class PlainNetwork(NamedTuple):
    """The network of one element with everything folded in; float64, output in eV.

    Attributes:
        shift, scale: (D,), the first layer sees (B - shift) / scale.
        layers: (weight (out, in), bias (out,)) of each layer; the last one is linear.
        activation: name of the activation of all layers but the last.
    """

    shift: Tensor
    scale: Tensor
    layers: tuple[tuple[Tensor, Tensor], ...]
    activation: str


class BPNN(Model):
    """e_i = E0(Z_i) + s net_Z(A z_i), z_i = (B_i - mean_Z) / deviation_Z * deviation.

    A is a trained matrix that starts as 1/deviation on the diagonal, with the deviations over all elements: the
    network starts with standardised inputs, while a step changes A as if it acted on the descriptors themselves,
    as FitSNAP's first layer does. Learning rates therefore mean what they mean there. It is folded into the
    next layer in everything exported.

    Args:
        elements: chemical symbols, in the order of LAMMPS' atom types.
        n_descriptors: D, descriptors of an atom.
        hidden: nodes of each hidden layer.
        activation: a key of ``ACTIVATIONS``.
        multi_element_option: 1 one network for all elements, 2 one for each, 3 one with the element as one-hot input.
    """

    needs = "descriptors"

    def __init__(
        self,
        elements: Sequence[str],
        n_descriptors: int,
        hidden: Sequence[int],
        activation: str = "softplus",
        multi_element_option: int = SHARED,
    ) -> None:
        super().__init__()
        self.elements = tuple(elements)
        self.hidden = tuple(hidden)
        self.activation = activation
        self.option = multi_element_option
        inputs = n_descriptors + (len(self.elements) if self.option == ONE_HOT else 0)
        count = len(self.elements) if self.option == PER_ELEMENT else 1
        self.mixing = nn.ModuleList(nn.Linear(n_descriptors, n_descriptors) for _ in range(count))
        self.networks = nn.ModuleList(_network((inputs, *self.hidden, 1), activation) for _ in range(count))
        shape = (len(self.elements), n_descriptors)
        self.shift: Tensor
        self.scale: Tensor
        self.element_energies: Tensor
        self.energy_scale: Tensor
        self.register_buffer("shift", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))
        self.register_buffer("element_energies", torch.zeros(len(self.elements), dtype=torch.float64))
        self.register_buffer("energy_scale", torch.ones((), dtype=torch.float64))

    def description(self) -> dict[str, Any]:
        """Architecture and hyperparameters, from which ``models.build`` makes the same network."""
        return {
            "architecture": "BPNN",
            "elements": list(self.elements),
            "n_descriptors": self.shift.shape[1],
            "hidden": list(self.hidden),
            "activation": self.activation,
            "multi_element_option": self.option,
        }

    @torch.no_grad()
    def standardize(self, mean: Tensor, deviation: Tensor, overall: Tensor) -> None:
        """Set the mean (E, D) and deviation (E, D) of each element's descriptors, and the deviation (D,) of all."""
        self.shift.copy_(mean)
        self.scale.copy_(deviation / overall)
        for mixing in self.mixing:
            assert isinstance(mixing, nn.Linear)
            mixing.weight.copy_(torch.diag(1.0 / overall))
            mixing.bias.zero_()

    def atom_energies(self, batch: Batch) -> Tensor:
        inputs = (batch.descriptors - self.shift[batch.species]) / self.scale[batch.species]
        if self.option == PER_ELEMENT:
            outputs = inputs.new_zeros(len(inputs))
            for element, (mixing, network) in enumerate(zip(self.mixing, self.networks, strict=True)):
                (members,) = torch.where(batch.species == element)
                outputs = outputs.index_add(0, members, network(mixing(inputs[members])).squeeze(1))
        else:
            inputs = self.mixing[0](inputs)
            if self.option == ONE_HOT:
                one_hot = nn.functional.one_hot(batch.species, len(self.elements))
                inputs = torch.cat([inputs, one_hot.to(inputs.dtype)], dim=1)
            outputs = self.networks[0](inputs).squeeze(1)
        return self.element_energies[batch.species] + self.energy_scale * outputs.double()

    def set_precision(self, dtype: torch.dtype) -> None:
        """Weights and standardisation in ``dtype``; energies stay float64."""
        self.networks.to(dtype)
        self.mixing.to(dtype)
        self.shift, self.scale = self.shift.to(dtype), self.scale.to(dtype)

    def plain_networks(self) -> list[PlainNetwork]:
        """One network for each element, with one-hot input, target scale and element energy folded into it."""
        return [self._plain_network(element) for element in range(len(self.elements))]

    @torch.no_grad()
    def _plain_network(self, element: int) -> PlainNetwork:
        number = element if self.option == PER_ELEMENT else 0
        layers = [_plain(layer) for layer in self.networks[number].children() if isinstance(layer, nn.Linear)]
        n_descriptors = self.shift.shape[1]
        mixing, mixing_bias = _plain(self.mixing[number])
        weight, bias = layers[0]
        if self.option == ONE_HOT:
            bias = bias + weight[:, n_descriptors + element]
            weight = weight[:, :n_descriptors]
        layers[0] = (weight @ mixing, weight @ mixing_bias + bias)
        weight, bias = layers[-1]
        energy_scale = self.energy_scale.cpu()
        layers[-1] = (weight * energy_scale, bias * energy_scale + self.element_energies[element].cpu())
        return PlainNetwork(
            self.shift[element].double().cpu(), self.scale[element].double().cpu(), tuple(layers), self.activation
        )


def _plain(layer: nn.Module) -> tuple[Tensor, Tensor]:
    assert isinstance(layer, nn.Linear)
    return layer.weight.double().cpu().clone(), layer.bias.double().cpu().clone()


def _network(sizes: Sequence[int], activation: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])

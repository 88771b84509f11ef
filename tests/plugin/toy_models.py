"""Models for the tests, small enough to be checked: pairs, messages between atoms, messages along pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fitsnap_nn.plugin.data import Data

Pass = Callable[[Tensor], Tensor]


class TorchModel:
    """Energies of atoms from pairs; forces along pairs by differentiation.

    ``atom_energies(elems (N,), i (P,), j (P,), rij (P, 3), pass_on)`` gives an energy for each of N rows; ``pass_on``
    makes a feature matrix complete.
    """

    ndescriptors = 1
    nparams = 1
    ghost_layers = 0

    def __init__(self, element_types: list[str], cutoff: float, dtype: torch.dtype = torch.float64) -> None:
        self.element_types = element_types
        self.rcutfac = 0.5 * cutoff
        self.cutoff = cutoff
        self.dtype = dtype

    def compute_descriptors(self, data: Data) -> None:
        pass

    def compute_gradients(self, data: Data) -> None:
        pass

    def compute_forces(self, data: Data) -> None:
        rij = torch.from_numpy(data.rij).to(self.dtype).requires_grad_(True)
        i, j, elems = (torch.from_numpy(array).long() for array in (data.pair_i, data.pair_j, data.elems))
        energies = self.atom_energies(elems, i, j, rij, self.passing(data))[: data.nlocal]
        (forces,) = torch.autograd.grad(energies.sum(), rij)
        data.eatoms = energies.double()
        data.energy = energies.sum()
        data.update_pair_forces(forces)

    def passing(self, data: Data) -> Pass:
        return lambda features: features

    def atom_energies(self, elems: Tensor, i: Tensor, j: Tensor, rij: Tensor, pass_on: Pass) -> Tensor:
        raise NotImplementedError

    def envelope(self, rij: Tensor) -> Tensor:
        """1 at zero distance; at the cutoff it goes to zero with its first three derivatives. (P, 1)"""
        return (1.0 - (rij**2).sum(1, keepdim=True) / self.cutoff**2).clamp(min=0.0) ** 4

    def weights(self, *shape: int, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        values = torch.randn(shape, generator=generator, dtype=torch.float64)
        return (values / shape[0] ** 0.5).to(self.dtype)

    def radial(self, rij: Tensor, width: int) -> Tensor:
        """(P, width) functions of the distance."""
        squared = (rij**2).sum(1, keepdim=True) / self.cutoff**2
        centres = torch.linspace(0.1, 0.9, width, dtype=self.dtype)
        return torch.exp(-8.0 * (squared - centres) ** 2) * self.envelope(rij)


class SmoothPair(TorchModel):
    """A soft repulsion and a well, as a sum over pairs."""

    pairwise = True

    def atom_energies(self, elems: Tensor, i: Tensor, j: Tensor, rij: Tensor, pass_on: Pass) -> Tensor:
        energy = (2.0 - 3.0 * (rij**2).sum(1) / self.cutoff**2 * (elems[i] + elems[j] + 1)) * self.envelope(rij)[:, 0]
        return energy.new_zeros(len(elems)).index_add(0, i, energy)


class NodeMessages(TorchModel):
    """Messages between atoms, in two layers: features of the other ranks' atoms come by ``forward_exchange``."""

    def __init__(self, element_types: list[str], cutoff: float, width: int, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(element_types, cutoff, dtype)
        self.width = width

    def passing(self, data: Data) -> Pass:
        return lambda features: Exchanged.apply(features, data.forward_exchange, data.reverse_exchange)

    def atom_energies(self, elems: Tensor, i: Tensor, j: Tensor, rij: Tensor, pass_on: Pass) -> Tensor:
        features = self.weights(len(self.element_types), self.width, seed=1)[elems]
        for layer in range(2):
            features = pass_on(features)
            messages = features[j] * (self.radial(rij, 6) @ self.weights(6, self.width, seed=2 + layer))
            received = torch.zeros_like(features).index_add(0, i, messages)
            features = torch.tanh(features @ self.weights(self.width, self.width, seed=4 + layer) + received)
        return features @ self.weights(self.width, seed=6)


class EdgeMessages(TorchModel):
    """Messages along pairs, each of which needs that of the reversed pair: by ``edge_exchange``, or from ghosts."""

    width = 5
    layers = 3

    def __init__(self, element_types: list[str], cutoff: float, ghosts: bool) -> None:
        super().__init__(element_types, cutoff)
        self.ghost_layers = self.layers if ghosts else 0

    def passing(self, data: Data) -> Pass:
        if not self.ghost_layers:
            return lambda messages: Exchanged.apply(messages, data.edge_exchange, data.edge_exchange)
        # Rows of ghosts are atoms of their own, so that a pair of rows is enough to know a pair.
        i, j = data.pair_i.tolist(), data.pair_j.tolist()
        found = places(list(zip(i, j, strict=True)), list(zip(j, i, strict=True)))
        return lambda messages: torch.cat([messages, messages.new_zeros(1, self.width)])[found]

    def atom_energies(self, elems: Tensor, i: Tensor, j: Tensor, rij: Tensor, pass_on: Pass) -> Tensor:
        own = self.weights(len(self.element_types), self.width, seed=1)
        messages = self.radial(rij, self.width) * own[elems[i]] * torch.sin(own[elems[j]])
        for layer in range(self.layers):
            sums = messages.new_zeros(len(elems), self.width).index_add(0, i, messages)
            mixed = messages + sums[i] @ self.weights(self.width, self.width, seed=2 + layer)
            mixed = mixed + pass_on(messages) @ self.weights(self.width, self.width, seed=8 + layer)
            messages = torch.tanh(mixed) * self.envelope(rij)
        return messages.new_zeros(len(elems), self.width).index_add(0, i, messages) @ self.weights(self.width, seed=7)


class Exchanged(torch.autograd.Function):
    """An exchange, and its transpose for the gradient."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, exchange: Callable[..., None], transpose: Callable[..., None]) -> Tensor:
        ctx.transpose = transpose
        result = torch.empty_like(features)
        exchange(features.contiguous(), result, features.shape[1])
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        result = torch.empty_like(gradient)
        ctx.transpose(gradient.contiguous(), result, gradient.shape[1])
        return result, None, None


def places(items: Sequence[Any], wanted: Sequence[Any]) -> Tensor:
    """Where each of the wanted ones is among the items; one past their end if it is not there."""
    place = {item: number for number, item in enumerate(items)}
    return torch.tensor([place.get(item, len(items)) for item in wanted], dtype=torch.long)

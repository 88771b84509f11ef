"""The last layers of Behler-Parrinello networks, on whose weights energies, forces and stresses depend linearly.

With the outputs a_i (H,) of the last hidden layer the energy of atom i is E_i = E0 + s (w . a_i + b). The design matrix
of a linear least-squares fit of w and b therefore follows from a_i and da_i/dB_i.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from fitsnap_nn.data.properties import FORCES, STRESS, Property
from fitsnap_nn.inputs.snap.batch import DescriptorBatch
from fitsnap_nn.models.pairs import sum_by

if TYPE_CHECKING:
    from fitsnap_nn.models.bpnn import BPNN

CHUNK = 2**21  # numbers per intermediate array of a push-forward: fits the caches, and limits the memory


class HiddenFeatures(NamedTuple):
    """Inputs of the last layer of one network, and what their derivatives follow from.

    Attributes:
        members: (M,) atoms of the batch that the network is applied to.
        values: (M, H) inputs of the last layer.
        constants: number of values, the last ones, that do not depend on the descriptors.
        input_scale: (1, D) or (M, D); the network's inputs are (B - shift) / input_scale.
        weights: (out, in) of each hidden layer, for the descriptors only.
        slopes: (M, out) derivative of the activation in each hidden layer.
    """

    members: Tensor
    values: Tensor
    constants: int
    input_scale: Tensor
    weights: Sequence[Tensor]
    slopes: Sequence[Tensor]

    @property
    def chunk(self) -> int:
        """Number of rows (components, D) to be pushed forward at a time."""
        return max(1, CHUNK // (6 * max(self.input_scale.shape[1], *(len(weight) for weight in self.weights), 1)))

    def push_forward(self, derivatives: Tensor, rows: Tensor) -> Tensor:
        """Return derivatives of the values from those of the descriptors, by the chain rule from layer to layer.

        Args:
            derivatives: (R, components, D) of the descriptors of one atom each.
            rows: (R,) index of that atom in ``members``.

        Returns:
            (R, components, H - constants).
        """
        scale = self.input_scale if len(self.input_scale) == 1 else self.input_scale.index_select(0, rows)
        pushed = derivatives / scale.unsqueeze(1)
        for weight, slope in zip(self.weights, self.slopes, strict=True):
            pushed = (pushed @ weight.t()).mul_(slope.index_select(0, rows).unsqueeze(1))
        return pushed


class LastLayer:
    """Weights and biases of the last layers of a BPNN as one vector: network by network, the weights, then the bias.

    Args:
        model: the model; only the last layers are changed, by `assign`.
    """

    def __init__(self, model: BPNN) -> None:
        self.model = model
        self._parameters = [tensor for layer in model.last_layers for tensor in (layer.weight, layer.bias)]

    @property
    def size(self) -> int:
        """Number of weights and biases, K."""
        return sum(tensor.numel() for tensor in self._parameters)

    @property
    def values(self) -> Tensor:
        """(K,) float64, on the CPU."""
        return torch.cat([tensor.detach().flatten() for tensor in self._parameters]).double().cpu()

    @property
    def trainable(self) -> Tensor:
        """(K,) bool; false for frozen parameters."""
        return torch.cat([torch.full((tensor.numel(),), tensor.requires_grad) for tensor in self._parameters])

    @property
    def constant(self) -> Tensor:
        """(K,) bool; true for biases and weights of constant inputs, on which forces do not depend."""
        flags = [torch.zeros(tensor.numel(), dtype=torch.bool) for tensor in self._parameters]
        constants = self.model.constant_features
        for weights, bias in zip(flags[::2], flags[1::2], strict=True):
            weights[len(weights) - constants :] = True
            bias[:] = True
        return torch.cat(flags)

    @torch.no_grad()
    def assign(self, values: Tensor) -> None:
        """Set all weights and biases.

        Args:
            values: (K,).
        """
        parts = torch.split(values, [tensor.numel() for tensor in self._parameters])
        for tensor, part in zip(self._parameters, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    @torch.no_grad()
    def design(self, batch: DescriptorBatch, properties: Sequence[Property]) -> dict[str, Tensor]:
        """Return the derivatives of predictions with respect to the weights and biases, which they do not depend on.

        Args:
            batch: N atoms in C configurations.
            properties: energy, forces and stress, or some of them.

        Returns:
            By property name, float64: ``energy`` (C, K), ``forces`` (N, 3, K), ``stress`` (C, 6, K).
        """
        count, double = len(batch.n_atoms), torch.float64
        atoms = batch.descriptors.new_zeros(len(batch.species), self.size, dtype=double)
        found = {}
        if FORCES in properties:
            found["forces"] = atoms.new_zeros(len(atoms), 3, self.size)
        if STRESS in properties:
            found["stress"] = atoms.new_zeros(count, 6, self.size)
        start = 0
        for features in self.model.hidden_features(batch):
            width = features.values.shape[1]
            atoms[features.members, start : start + width] = features.values.to(double)
            atoms[features.members, start + width] = 1.0
            columns = slice(start, start + width - features.constants)
            if FORCES in properties:
                _add_forces(found["forces"][:, :, columns], features, batch)
            if STRESS in properties:
                _add_virials(found["stress"][:, :, columns], features, batch)
            start += width + 1
        if STRESS in properties:
            found["stress"] /= batch.volume[:, None, None]
        found["energy"] = sum_by(batch.config, atoms, count)
        return {name: rows.mul_(self.model.energy_scale) for name, rows in found.items()}


def _add_forces(sums: Tensor, features: HiddenFeatures, batch: DescriptorBatch) -> None:
    """Add -sum_i da_i/dR_j over the atoms i of a network to ``sums`` (N, 3, columns)."""
    row_of = batch.species.new_full((len(batch.species),), -1)
    row_of[features.members] = torch.arange(len(features.members), device=row_of.device)
    for first in range(0, len(batch.pair_i), features.chunk):
        pairs = slice(first, first + features.chunk)
        rows, derivatives, pair_j = (
            row_of.index_select(0, batch.pair_i[pairs]),
            batch.gradients[pairs],
            batch.pair_j[pairs],
        )
        own = rows >= 0
        if not bool(own.all()):
            rows, derivatives, pair_j = rows[own], derivatives[own], pair_j[own]
        sums -= sum_by(pair_j, features.push_forward(derivatives, rows), len(sums))


def _add_virials(sums: Tensor, features: HiddenFeatures, batch: DescriptorBatch) -> None:
    """Add sum_i da_i/d(strain) over the atoms i of a network to ``sums`` (C, 6, columns)."""
    rows = torch.arange(len(features.members), device=features.members.device)
    for some in torch.split(rows, features.chunk):
        atoms = features.members[some]
        pushed = features.push_forward(batch.strain_gradients[atoms], some)
        sums += sum_by(batch.config[atoms], pushed, len(sums))

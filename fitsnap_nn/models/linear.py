"""Linear models: the energy of an atom is linear in its descriptors, with coefficients for each element.

E_i = beta_0(Z_i) + beta(Z_i) . B_i. With SNAP descriptors see A. P. Thompson et al., J. Comput. Phys. 285, 316 (2015);
with ``quadraticflag`` they include their products, M. A. Wood and A. P. Thompson, J. Chem. Phys. 148, 241721 (2018).
With ACE descriptors see R. Drautz, Phys. Rev. B 99, 014104 (2019). The coefficients solve a linear system, see
`fitsnap_nn.training.linear_system`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.properties import ENERGY, FORCES, Property
from fitsnap_nn.inputs import rows_class
from fitsnap_nn.inputs.rows import CachedRows, Mask, RowsBatch, RowsInput
from fitsnap_nn.models.base import Model
from fitsnap_nn.models.baselines import FitStatistics
from fitsnap_nn.models.bpnn import PlainNetwork


class LinearModel(Model[RowsBatch]):
    """E_i = beta_0(Z_i) + beta(Z_i) . B_i, in float64.

    Args:
        model_input: descriptors, or the ``payload()`` of such an input.

    Attributes:
        coefficients: (E, D) beta, eV; ``element_energies`` are beta_0.
    """

    def __init__(self, model_input: RowsInput | Mapping[str, Any]) -> None:
        super().__init__()
        if isinstance(model_input, Mapping):
            model_input = rows_class(model_input["calculator"]).from_payload(model_input)
        self._input = model_input
        self.elements = self._input.elements
        shape = (len(self.elements), self._input.size)
        self.coefficients = nn.Parameter(torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("element_energies", torch.zeros(len(self.elements), dtype=torch.float64))
        self.register_buffer("energy_scale", torch.ones((), dtype=torch.float64))

    @property
    def input(self) -> RowsInput:
        return self._input

    def description(self) -> dict[str, Any]:
        return {"architecture": "LINEAR", "model_input": self._input.payload()}

    def set_precision(self, dtype: torch.dtype) -> None:
        """Do nothing: coefficients alternate in sign and cancel, so that float32 is not enough."""

    def target_scale(self, statistics: FitStatistics) -> float:
        return 1.0

    def atom_energies(self, batch: RowsBatch) -> Tensor:
        products = batch.descriptors * self.coefficients[batch.species]
        return self.element_energies[batch.species] + products.sum(dim=1)

    @torch.no_grad()
    def energy_terms(self, batch: RowsBatch) -> float:
        return float((batch.descriptors * self.coefficients[batch.species]).abs().sum())

    def energies_and_gradients(self, batch: RowsBatch) -> tuple[Tensor, Tensor]:
        """Return per-atom energies (N,), eV, and dE_i/dB_i of the atoms of each element, the coefficients (E, D)."""
        return self.atom_energies(batch), self.coefficients

    def forces_from(self, batch: RowsBatch, gradients: Tensor) -> Tensor:
        return batch.force_rows.flatten(2) @ gradients.flatten()

    def virials_from(self, batch: RowsBatch, gradients: Tensor) -> Tensor:
        return batch.strain_rows.flatten(2) @ gradients.flatten()

    @property
    def has_constants(self) -> bool:
        """Whether beta_0 is fitted; otherwise it is 0."""
        return self._input.has_constants

    @property
    def fitted(self) -> Mask:
        """(K,) which columns of `design` have a coefficient."""
        found = self._input.has_coefficient
        constants = np.ones((len(found), 1), dtype=bool)
        return np.hstack([constants, found] if self.has_constants else [found]).ravel()

    def design(self, configuration: Configuration, cached: CachedRows, quantity: Property) -> Floats:
        """Return the derivatives of the predicted components of a property with respect to the coefficients.

        Args:
            configuration: N atoms.
            cached: its cached input.
            quantity: energy, forces or stress.

        Returns:
            (M, K) for the energy per atom in eV, forces in eV/Å or stress in eV/Å³; the K columns are those of each
            element in turn, its beta_0 first if there are constants.
        """
        if quantity == ENERGY:
            species = configuration.element_indices(self.elements)
            of_element = species == np.arange(len(self.elements))[:, None]
            parts = (of_element @ cached.descriptors)[None] / len(species), of_element.mean(axis=1)[None, :, None]
        else:
            rows = cached.force_rows if quantity == FORCES else cached.strain_rows / configuration.volume
            derivatives = rows.reshape(-1, *rows.shape[2:])
            parts = derivatives, np.zeros((*derivatives.shape[:2], 1))
        values, constants = parts
        columns = np.concatenate([constants, values], axis=2) if self.has_constants else values
        return columns.reshape(len(columns), -1)

    @property
    def values(self) -> Floats:
        """(K,) coefficients in the order of the columns of `design`."""
        constants = [self.element_energies[:, None]] if self.has_constants else []
        found: Floats = torch.cat([*constants, self.coefficients.detach()], dim=1).flatten().cpu().numpy()
        return found

    @torch.no_grad()
    def assign(self, values: Floats) -> None:
        """Set the coefficients.

        Args:
            values: (K,) in the order of the columns of `design`.
        """
        by_element = torch.from_numpy(values).reshape(len(self.elements), -1)
        if self.has_constants:
            self.element_energies.copy_(by_element[:, 0])
        self.coefficients.copy_(by_element[:, int(self.has_constants) :])

    @torch.no_grad()
    def plain_networks(self) -> list[PlainNetwork]:
        """Return the model as one network without hidden layer per element, in the order of ``elements``."""
        shift = torch.zeros(self._input.size, dtype=torch.float64)
        scale = torch.ones_like(shift)
        pairs = zip(self.coefficients.detach().cpu(), self.element_energies.cpu(), strict=True)
        return [PlainNetwork(shift, scale, ((beta[None], constant[None]),), "linear") for beta, constant in pairs]

"""Interface of all models on per-atom descriptors."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from fitsnap_nn.inputs.snap.batch import DescriptorBatch
from fitsnap_nn.models.base import Model
from fitsnap_nn.models.baselines import FitStatistics, half_spread_scale
from fitsnap_nn.models.explicit import (
    Derived,
    Explicit,
    ExplicitRun,
    contract_strain,
    predict_explicitly,
    run_explicitly,
)
from fitsnap_nn.models.pairs import pair_forces


class DescriptorModel(Model[DescriptorBatch]):
    """Base class of models on per-atom descriptors; batches are `DescriptorBatch`.

    With descriptors B, F_j = -sum_i dE_i/dB_i . dB_i/dR_j and stress = sum_i dE_i/dB_i . dB_i/d(strain) / V.
    """

    def target_scale(self, statistics: FitStatistics) -> float:
        return half_spread_scale(statistics)

    def energies_and_gradients(self, batch: DescriptorBatch) -> tuple[Tensor, Tensor]:
        """Return per-atom energies (N,), eV, and dE_i/dB_i (N, D), eV."""
        create_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            batch = replace(batch, descriptors=batch.descriptors.detach().requires_grad_(True))
            energies = self.atom_energies(batch)
            (beta,) = torch.autograd.grad(energies.sum(), batch.descriptors, create_graph=create_graph)
        return (energies if create_graph else energies.detach()), beta

    def forces_from(self, batch: DescriptorBatch, gradients: Tensor) -> Tensor:
        return pair_forces(gradients, batch.gradients, batch.pair_i, batch.pair_j)

    def virials_from(self, batch: DescriptorBatch, gradients: Tensor) -> Tensor:
        return contract_strain(batch, gradients)

    def explicit(self, batch: DescriptorBatch) -> Explicit | None:
        """Return the model with analytic derivatives, or ``None`` (the default) to use automatic differentiation.

        Args:
            batch: the batch that it is applied to.
        """
        return None

    def start_training_step(self, batch: DescriptorBatch, *, forces: bool, virials: bool) -> ExplicitRun | None:
        explicit = self.explicit(batch)
        return None if explicit is None else run_explicitly(explicit, batch, forces=forces, virials=virials)

    def derivatives(self, batch: DescriptorBatch, *, forces: bool, virials: bool) -> Derived:
        explicit = self.explicit(batch)
        if explicit is None:
            return super().derivatives(batch, forces=forces, virials=virials)
        return predict_explicitly(explicit, batch, forces=forces, virials=virials)

"""The contract between data, models and everything that uses a model: Batch -> Model -> Prediction.

A model is a function from a batch to the energies of its atoms. Forces and virials follow by
differentiation here, once, so that training, evaluation and deployment cannot disagree.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fitsnap_nn.models.pairs import pair_forces, sum_by


class Batch(NamedTuple):
    """Atoms of C configurations, concatenated: N atoms, D descriptors an atom, P pairs.

    Attributes:
        species: (N,) int64, index into the model's elements.
        config: (N,) int64, the configuration that an atom belongs to.
        n_atoms: (C,) int64.
        volume: (C,) float64 Å³.
        descriptors: (N, D).
        pair_i, pair_j: (P,) int32 or int64, indices into the atoms of the batch.
        gradients: (P, 3, D) dB_i/dR_j, 1/Å.
        strain_gradients: (N, 6, D) dB_i/d(strain), Voigt; (0, 6, D) where no stress is wanted.
    """

    species: Tensor
    config: Tensor
    n_atoms: Tensor
    volume: Tensor
    descriptors: Tensor
    pair_i: Tensor
    pair_j: Tensor
    gradients: Tensor
    strain_gradients: Tensor


class Prediction(NamedTuple):
    """What a model says of a batch. Energies are float64 always.

    Attributes:
        energy: (C,) eV.
        atom_energies: (N,) eV.
        forces: (N, 3) eV/Å, or ``None`` when not asked for.
        stress: (C, 6) eV/Å³, Voigt order xx yy zz yz xz xy, ASE sign, or ``None``.
    """

    energy: Tensor
    atom_energies: Tensor
    forces: Tensor | None
    stress: Tensor | None


class Model(torch.nn.Module, ABC):
    """Base of every architecture.

    Attributes:
        needs: ``"descriptors"`` (of LAMMPS) or ``"edges"`` (a neighbour graph).
        elements: chemical symbols, in the order of LAMMPS' atom types.
    """

    needs: str = "descriptors"
    elements: tuple[str, ...]

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """Architecture and hyperparameters as plain values, from which ``models.build`` makes the same model."""

    @abstractmethod
    def set_precision(self, dtype: torch.dtype) -> None:
        """Compute in this type; energies and baselines stay float64."""

    @abstractmethod
    def atom_energies(self, batch: Batch) -> Tensor:
        """Energies of the atoms, (N,) eV, float64, differentiable by the descriptors of the batch."""

    def energies_and_gradients(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Energies of the atoms, and dE_i/dB_i (N, D); differentiable by the weights where gradients are enabled."""
        create_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            batch = batch._replace(descriptors=batch.descriptors.detach().requires_grad_(True))
            energies = self.atom_energies(batch)
            (beta,) = torch.autograd.grad(energies.sum(), batch.descriptors, create_graph=create_graph)
        return (energies if create_graph else energies.detach()), beta


def predict(
    model: Model, batch: Batch, *, forces: bool = True, stress: bool = True, create_graph: bool = False
) -> Prediction:
    """Energies, and by differentiation forces and stresses, of a batch.

    With descriptors B, F_j = -sum_i dE_i/dB_i . dB_i/dR_j and
    stress = sum_i dE_i/dB_i . dB_i/d(strain) / V.

    Args:
        create_graph: keep what is needed to differentiate all of it by the weights.
    """
    with torch.set_grad_enabled(create_graph):
        if forces or stress:
            atom_energies, beta = model.energies_and_gradients(batch)
        else:
            atom_energies, beta = model.atom_energies(batch), batch.descriptors
        return Prediction(
            sum_by(batch.config, atom_energies, len(batch.n_atoms)),
            atom_energies,
            pair_forces(beta, batch.gradients, batch.pair_i, batch.pair_j) if forces else None,
            _stress(batch, beta) if stress else None,
        )


def _stress(batch: Batch, beta: Tensor) -> Tensor:
    atom_virials = torch.bmm(batch.strain_gradients, beta.unsqueeze(2)).squeeze(2)
    return sum_by(batch.config, atom_virials, len(batch.n_atoms)) / batch.volume[:, None].to(beta.dtype)

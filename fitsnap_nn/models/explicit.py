"""Predictions of descriptor models with analytic derivatives instead of automatic differentiation.

For small batches the cost of a training step is dominated by autograd's recording and replaying of operations.
Therefore the whole prediction is a single autograd function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fitsnap_nn.inputs.snap.batch import DescriptorBatch
from fitsnap_nn.models.pairs import contract_pairs, contract_pairs_backward, sum_by

# Vector-Jacobian product: dL/d(parameters) from dL/dE_i (N,) and dL/d(dE_i/dB_i) (N, D).
Pullback = Callable[[Tensor, Tensor], Sequence[Tensor]]


class Explicit(NamedTuple):
    """A model with analytic derivatives, applied to one batch.

    Attributes:
        parameters: tensors on which the energies depend; differentiable with respect to the weights.
        run: returns per-atom energies (N,) eV, float64, dE_i/dB_i (N, D) eV, and the pullback to the parameters.
    """

    parameters: Sequence[Tensor]
    run: Callable[[], tuple[Tensor, Tensor, Pullback]]


def mean_of(models: Sequence[Explicit]) -> Explicit:
    """Return the mean of several models that are applied to the same batch."""
    if len(models) == 1:
        return models[0]

    def run() -> tuple[Tensor, Tensor, Pullback]:
        energies, gradients, pullbacks = zip(*(one.run() for one in models), strict=True)

        def pull_back(energies_bar: Tensor, gradients_bar: Tensor) -> list[Tensor]:
            bars = energies_bar / len(models), gradients_bar / len(models)
            return [bar for pullback in pullbacks for bar in pullback(*bars)]

        return sum(energies) / len(models), sum(gradients) / len(models), pull_back

    return Explicit([parameter for one in models for parameter in one.parameters], run)


class Derived(NamedTuple):
    """Energies and derivatives of a batch.

    Attributes:
        atom_energies: (N,) eV, float64.
        energy: (C,) eV, float64.
        forces: (N, 3) eV/Å; ``None`` if not requested.
        virials: (C, 6) eV, Voigt order; ``None`` if not requested.
    """

    atom_energies: Tensor
    energy: Tensor
    forces: Tensor | None
    virials: Tensor | None


class ExplicitRun(NamedTuple):
    """The forward pass of a model with analytic derivatives on one batch, ready to be differentiated.

    Attributes:
        derived: energies, and the derivatives that were requested.
        parameters: see `Explicit`.
    """

    derived: Derived
    parameters: Sequence[Tensor]
    batch: DescriptorBatch
    beta: Tensor
    pullback: Pullback

    def parameter_gradients(
        self,
        energy_bar: Tensor | None,
        forces_bar: Tensor | None,
        virials_bar: Tensor | None,
        atoms_bar: Tensor | None = None,
    ) -> Sequence[Tensor]:
        """Return dL/d(parameters) from the derivatives of L with respect to the fields of `Derived`."""
        batch, beta_bar = self.batch, None
        if forces_bar is not None:
            beta_bar = contract_pairs_backward(forces_bar, batch.gradients, batch.pair_i, batch.pair_j)
        if virials_bar is not None:
            of_atom = virials_bar.index_select(0, batch.config)
            from_strain = torch.bmm(batch.strain_gradients.mT, of_atom.unsqueeze(2)).squeeze(2)
            beta_bar = from_strain if beta_bar is None else beta_bar + from_strain
        if energy_bar is not None:
            from_energy = energy_bar.index_select(0, batch.config)
            atoms_bar = from_energy if atoms_bar is None else atoms_bar + from_energy
        if beta_bar is None:
            beta_bar = torch.zeros_like(self.beta)
        if atoms_bar is None:
            atoms_bar = torch.zeros_like(batch.config, dtype=torch.float64)
        return self.pullback(atoms_bar, beta_bar)

    @torch.no_grad()
    def backward(self, energy_bar: Tensor | None, forces_bar: Tensor | None, virials_bar: Tensor | None) -> None:
        """Add the gradients of L to ``grad`` of the weights, without recording or replaying an autograd graph."""
        gradients = self.parameter_gradients(energy_bar, forces_bar, virials_bar)
        derived, bars = [], []
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            if not parameter.requires_grad:
                continue
            if parameter.is_leaf and parameter.grad is not None:
                parameter.grad.add_(gradient)
            else:  # computed from the weights, as the biases of one-hot elements are
                derived.append(parameter)
                bars.append(gradient)
        if derived:
            torch.autograd.backward(derived, bars)


@torch.no_grad()
def run_explicitly(explicit: Explicit, batch: DescriptorBatch, *, forces: bool, virials: bool) -> ExplicitRun:
    """Evaluate a model with analytic derivatives; nothing is recorded for autograd.

    Args:
        explicit: the model, applied to the batch.
        batch: N atoms in C configurations.
        forces, virials: derivatives to compute.
    """
    atom_energies, beta, pullback = explicit.run()
    energy = sum_by(batch.config, atom_energies, len(batch.n_atoms))
    found = contract_pairs(beta, batch.gradients, batch.pair_i, batch.pair_j) if forces else None
    derived = Derived(atom_energies, energy, found, contract_strain(batch, beta) if virials else None)
    return ExplicitRun(derived, explicit.parameters, batch, beta, pullback)


def predict_explicitly(explicit: Explicit, batch: DescriptorBatch, *, forces: bool, virials: bool) -> Derived:
    """Return the prediction of a batch, differentiable with respect to ``explicit.parameters`` by autograd.

    Args: as `run_explicitly`.
    """
    derived = _Prediction.apply(explicit, batch, forces, virials, *explicit.parameters)  # type: ignore[no-untyped-call]
    return Derived(*derived)


def contract_strain(batch: DescriptorBatch, beta: Tensor) -> Tensor:
    """Return dE/d(strain), the sum over atoms of dE_i/dB_i . dB_i/d(strain).

    Args:
        batch: N atoms in C configurations, with strain gradients.
        beta: (N, D) dE_i/dB_i, eV.

    Returns:
        (C, 6) eV, Voigt order.
    """
    atom_virials = torch.bmm(batch.strain_gradients, beta.unsqueeze(2)).squeeze(2)
    return sum_by(batch.config, atom_virials, len(batch.n_atoms))


class _Prediction(torch.autograd.Function):
    """`run_explicitly` as one operation of an autograd graph."""

    @staticmethod
    def forward(
        ctx: Any, explicit: Explicit, batch: DescriptorBatch, forces: bool, virials: bool, *parameters: Tensor
    ) -> Derived:
        ctx.set_materialize_grads(False)  # properties that are not in the loss then cost nothing
        ctx.save_for_backward(*parameters)
        ctx.run = run_explicitly(explicit, batch, forces=forces, virials=virials)
        derived: Derived = ctx.run.derived
        return derived

    @staticmethod
    def backward(
        ctx: Any,
        atoms_bar: Tensor | None,
        energy_bar: Tensor | None,
        forces_bar: Tensor | None,
        virials_bar: Tensor | None,
    ) -> tuple[Tensor | None, ...]:
        _ = ctx.saved_tensors  # autograd raises an error here if the weights were changed in place
        gradients = ctx.run.parameter_gradients(energy_bar, forces_bar, virials_bar, atoms_bar)
        return None, None, None, None, *gradients

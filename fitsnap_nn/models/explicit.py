"""Predictions of descriptor models whose derivatives are written out instead of left to automatic differentiation.

A training step on a handful of atoms takes as long as autograd needs to record and replay it, so the whole prediction
is one operation of the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fitsnap_nn.inputs.snap.batch import DescriptorBatch
from fitsnap_nn.models.pairs import contract_pairs, contract_pairs_backward, sum_by

# Derivatives of a loss with respect to the parameters, from those with respect to the energies (N,) and to the
# gradients (N, D) of the atoms.
Pullback = Callable[[Tensor, Tensor], Sequence[Tensor]]


class Explicit(NamedTuple):
    """A model with written-out derivatives, applied to one batch.

    Attributes:
        parameters: tensors that its energies depend on; differentiable with respect to the weights.
        run: returns energies of the atoms (N,) float64, dE_i/dB_i (N, D), and the pullback to the parameters.
    """

    parameters: Sequence[Tensor]
    run: Callable[[], tuple[Tensor, Tensor, Pullback]]


class Derived(NamedTuple):
    """Atom energies (N,), energies (C,), forces (N, 3) and virials (C, 6) of a batch; ``None`` where not wanted."""

    atom_energies: Tensor
    energy: Tensor
    forces: Tensor | None
    virials: Tensor | None


def predict_explicitly(explicit: Explicit, batch: DescriptorBatch, *, forces: bool, virials: bool) -> Derived:
    """Return the prediction of a batch, differentiable with respect to ``explicit.parameters``."""
    found = _Prediction.apply(batch, explicit.run, forces, virials, *explicit.parameters)  # type: ignore[no-untyped-call]
    return Derived(*found)


def contract_strain(batch: DescriptorBatch, beta: Tensor) -> Tensor:
    """Return (C, 6) eV: virials, from dE_i/dB_i (N, D)."""
    atom_virials = torch.bmm(batch.strain_gradients, beta.unsqueeze(2)).squeeze(2)
    return sum_by(batch.config, atom_virials, len(batch.n_atoms))


class _Prediction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        batch: DescriptorBatch,
        run: Callable[[], tuple[Tensor, Tensor, Pullback]],
        forces: bool,
        virials: bool,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*parameters)
        atom_energies, beta, ctx.pullback = run()
        ctx.batch, ctx.like = batch, beta
        energy = sum_by(batch.config, atom_energies, len(batch.n_atoms))
        found = contract_pairs(beta, batch.gradients, batch.pair_i, batch.pair_j) if forces else None
        return atom_energies, energy, found, contract_strain(batch, beta) if virials else None

    @staticmethod
    def backward(
        ctx: Any,
        atoms_bar: Tensor | None,
        energy_bar: Tensor | None,
        forces_bar: Tensor | None,
        virials_bar: Tensor | None,
    ) -> tuple[Tensor | None, ...]:
        _ = ctx.saved_tensors  # raises an error if the weights have changed since
        batch: DescriptorBatch = ctx.batch
        beta_bar = None
        if forces_bar is not None:
            beta_bar = contract_pairs_backward(forces_bar, batch.gradients, batch.pair_i, batch.pair_j)
        if virials_bar is not None:
            by_atom = virials_bar.index_select(0, batch.config)
            from_strain = torch.bmm(batch.strain_gradients.mT, by_atom.unsqueeze(2)).squeeze(2)
            beta_bar = from_strain if beta_bar is None else beta_bar + from_strain
        if energy_bar is not None:
            from_energy = energy_bar.index_select(0, batch.config)
            atoms_bar = from_energy if atoms_bar is None else atoms_bar + from_energy
        if beta_bar is None:
            beta_bar = torch.zeros_like(ctx.like)
        if atoms_bar is None:
            atoms_bar = torch.zeros_like(batch.config, dtype=torch.float64)
        return None, None, None, None, *ctx.pullback(atoms_bar, beta_bar)

"""The loss of a fit, and the errors it is judged by, as sums that ranks and batches can add."""

from __future__ import annotations

import torch
from torch import Tensor

from fitsnap_nn.models.contract import Batch, Prediction
from fitsnap_nn.training.batches import Counts, Labels
from fitsnap_nn.units import BAR


def residuals(prediction: Prediction, labels: Labels, batch: Batch) -> list[Tensor]:
    """Errors of energy (C, 1) eV/atom, forces (N, 3) eV/Å and stress (C, 6) bar; empty for what was not predicted."""
    energy = ((prediction.energy - labels.energy) / batch.n_atoms)[:, None]
    forces = energy[:0] if prediction.forces is None else prediction.forces - labels.forces
    stress = energy[:0] if prediction.stress is None else prediction.stress / BAR - labels.stress
    return [energy, forces, stress]


def loss_sums(prediction: Prediction, labels: Labels, batch: Batch) -> Tensor:
    """Weighted sums of squared errors of energies, forces and stresses, (3,) float64.

    Divided by the numbers of labels and added up (``mean_loss``) they are FitSNAP's loss, with stresses,

        mean_c w_c (E_c/N_c - e_c)^2 + mean_i w_i |F_i - f_i|^2 / 3 + mean_c w_c |S_c - s_c|^2 / 6,

    the means being over the labelled configurations, atoms and cells of a whole batch, on all ranks.
    """
    energy, forces, stress = residuals(prediction, labels, batch)
    weights = labels.weights
    terms = [weights[:, 0] @ energy.square().sum(1)]
    terms.append(weights[batch.config, 1] @ forces.square().sum(1).double() if len(forces) else weights.new_zeros(()))
    terms.append(weights[:, 2] @ stress.square().sum(1).double() if len(stress) else weights.new_zeros(()))
    return torch.stack(terms)


def mean_loss(sums: Tensor, counts: Counts) -> Tensor:
    """The loss that belongs to sums over batches with so many labels; a kind without labels counts for nothing."""
    return (sums / sums.new_tensor([max(1, count) for count in counts])).sum()


def error_sums(prediction: Prediction, labels: Labels, batch: Batch) -> Tensor:
    """Sums of absolute and squared errors, whatever the weights: (3, 2) float64, rows energy, force, stress."""
    found = torch.zeros(3, 2, dtype=torch.float64, device=labels.energy.device)
    masks = (labels.present[:, 0], labels.present[batch.config, 1], labels.present[:, 2])
    for row, (error, mask) in enumerate(zip(residuals(prediction, labels, batch), masks, strict=True)):
        if len(error):
            masked = error.double() * mask[:, None]
            found[row] = torch.stack([masked.abs().sum(), masked.square().sum()])
    return found

"""The loss of a fit, and the errors it is judged by, as sums that ranks and batches can add."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fitsnap_nn.models.base import Batch, Prediction
from fitsnap_nn.training.batches import Counts, Labels
from fitsnap_nn.units import BAR

PREDICTED = ("energy", "forces", "stress")


def residuals(prediction: Prediction, labels: Labels, batch: Batch) -> list[Tensor | None]:
    """Errors of energy (C, 1) eV/atom, forces (N, 3) eV/Å, stress (C, 6) bar; ``None`` for what was not predicted."""
    energy, forces, stress = prediction.energy.detach(), prediction.forces, prediction.stress
    return [
        ((energy - labels.energy) / batch.n_atoms)[:, None],
        None if forces is None else forces.detach() - labels.forces,
        None if stress is None else stress.detach() / BAR - labels.stress,
    ]


def loss_sums(prediction: Prediction, labels: Labels, batch: Batch) -> Tensor:
    """Weighted sums of squared errors of energies, forces and stresses, (3,) float64.

    Divided by the numbers of labels and added up (``mean_loss``) they are FitSNAP's loss, with stresses,

        mean_c w_c (E_c/N_c - e_c)^2 + mean_i w_i |F_i - f_i|^2 / 3 + mean_c w_c |S_c - s_c|^2 / 6,

    the means being over the labelled configurations, atoms and cells of a whole batch, on all ranks.
    """
    return _sums(residuals(prediction, labels, batch), _weights(labels, batch))


def backward(prediction: Prediction, labels: Labels, batch: Batch, counts: Counts, weights: Sequence[Tensor]) -> Tensor:
    """Add this batch's part of the derivative of the loss by the weights to their gradients; returns ``loss_sums``.

    The derivative of the loss by the predictions is 2 w (error) / count, which is written out here; from there on
    automatic differentiation takes over.

    Args:
        prediction: made with ``create_graph``.
        counts: labels of the whole batch, on all ranks.
        weights: of the model. Nothing is differentiated by what else the prediction depends on, such as the vectors
            between atoms, which would take a third of the time.
    """
    errors, importance = residuals(prediction, labels, batch), _weights(labels, batch)
    factors = (1.0 / batch.n_atoms[:, None], 1.0, 1.0 / BAR)
    tensors, slopes = [], []
    for number, (field, error) in enumerate(zip(PREDICTED, errors, strict=True)):
        tensor = getattr(prediction, field)
        if error is not None and tensor.requires_grad:
            slope = error * importance[number] * (2.0 / max(1, counts[number])) * factors[number]
            tensors.append(tensor)
            slopes.append(slope.view_as(tensor))
    torch.autograd.backward(tensors, slopes, inputs=list(weights))
    return _sums(errors, importance)


def _weights(labels: Labels, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Columns of weights that go with the rows of the residuals."""
    energy, force, stress = torch.split(labels.weights, 1, dim=1)
    kind = labels.forces.dtype
    return energy, force.to(kind).index_select(0, batch.config), stress.to(kind)


def _sums(errors: list[Tensor | None], weights: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    zero = weights[0].new_zeros(())
    pairs = zip(errors, weights, strict=True)
    return torch.stack([zero if error is None else (error * error * w).sum(dtype=zero.dtype) for error, w in pairs])


def mean_loss(sums: Tensor, counts: Counts) -> Tensor:
    """The loss that belongs to sums over batches with so many labels; a kind without labels counts for nothing."""
    return (sums / sums.new_tensor([max(1, count) for count in counts])).sum()


def error_sums(prediction: Prediction, labels: Labels, batch: Batch) -> Tensor:
    """Sums of absolute and squared errors, whatever the weights: (3, 2) float64, rows energy, force, stress."""
    found = torch.zeros(3, 2, dtype=torch.float64, device=labels.energy.device)
    masks = (labels.present[:, 0], labels.present[batch.config, 1], labels.present[:, 2])
    for row, (error, mask) in enumerate(zip(residuals(prediction, labels, batch), masks, strict=True)):
        if error is not None:
            masked = error.double() * mask[:, None]
            found[row] = torch.stack([masked.abs().sum(), masked.square().sum()])
    return found

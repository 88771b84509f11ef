"""The objective of a fit and the errors it is judged by, as sums that ranks and batches can add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fitsnap_nn.data.properties import Property
from fitsnap_nn.inputs.batch import Batch
from fitsnap_nn.models.base import Prediction
from fitsnap_nn.training.batches import Labels
from fitsnap_nn.training.losses import Loss


@dataclass(frozen=True)
class Term:
    """One property of the objective with its loss."""

    property: Property
    loss: Loss


class Residuals(NamedTuple):
    """Residuals of one property in a batch, and what weights them.

    Attributes:
        values: (rows, components) prediction minus label, in the property's loss unit; 0 where there is no label.
        weights: (rows, 1), 0 where there is no label.
        factor: derivative of the residuals with respect to the prediction, a number or (rows, 1).
    """

    values: Tensor
    weights: Tensor
    factor: Tensor | float


class Objective:
    """Weighted sum of losses over the properties of a fit.

    With squared errors and means it is FitSNAP's loss, with stresses,

        mean_c w_c (E_c/N_c - e_c)^2 + mean_i w_i |F_i - f_i|^2 / 3 + mean_c w_c |S_c - s_c|^2 / 6,

    the means being over the labelled configurations, atoms and cells of a whole batch, on all ranks. Group and
    configuration weights multiply every loss, whatever its form.

    Args:
        terms: properties in the order of the sums, each with its loss.
        reduction: ``mean`` over the label components of a property, or ``sum``.
    """

    def __init__(self, terms: Sequence[Term], reduction: str = "mean") -> None:
        self.terms = tuple(terms)
        self.properties = tuple(term.property for term in self.terms)
        self._mean = reduction == "mean"

    def sums(self, prediction: Prediction, labels: Labels, batch: Batch) -> Tensor:
        """Return weighted sums of losses, (properties,) float64; see `total`."""
        sums = []
        for term in self.terms:
            found = residuals(term.property, prediction, labels, batch)
            value, _ = term.loss.value_and_slope(found.values)
            sums.append((value * found.weights).sum(dtype=torch.float64))
        return torch.stack(sums)

    def backward(
        self,
        prediction: Prediction,
        labels: Labels,
        batch: Batch,
        counts: Mapping[str, int],
        weights: Sequence[Tensor],
    ) -> Tensor:
        """Add this batch's part of the derivative of the objective to the gradients of weights; return `sums`.

        The slopes of the losses are known, so automatic differentiation starts at the predictions.

        Args:
            prediction: made with ``create_graph``.
            counts: label components of the whole batch, on all ranks.
            weights: of the model. Nothing is differentiated with respect to anything else that the prediction depends
                on, such as the vectors between atoms, which would take a third of the time.
        """
        tensors, slopes, sums = [], [], []
        for term in self.terms:
            found = residuals(term.property, prediction, labels, batch)
            value, slope = term.loss.value_and_slope(found.values)
            sums.append((value * found.weights).sum(dtype=torch.float64))
            tensor = prediction.values[term.property.name]
            if tensor.requires_grad:
                scaled = slope * found.weights * (1.0 / self._divisor(counts[term.property.name])) * found.factor
                tensors.append(tensor)
                slopes.append(scaled.view_as(tensor))
        torch.autograd.backward(tensors, slopes, inputs=list(weights))
        return torch.stack(sums)

    def total(self, sums: Tensor, counts: Mapping[str, int]) -> float:
        """Return the objective that belongs to sums over batches with so many label components."""
        divisors = [self._divisor(counts[name]) for name in (one.name for one in self.properties)]
        return float((sums / sums.new_tensor(divisors)).sum())

    def _divisor(self, count: int) -> int:
        return max(1, count) if self._mean else 1


def residuals(quantity: Property, prediction: Prediction, labels: Labels, batch: Batch) -> Residuals:
    """Return the residuals of one property, without gradients."""
    target = labels[quantity.name]
    predicted = prediction.values[quantity.name].detach().reshape(target.values.shape)
    size = quantity.loss_unit.size
    # Labels are in the loss unit already, but for the division by the number of atoms.
    values = (predicted / size if size != 1.0 else predicted) - target.values
    factor: Tensor | float = 1.0 / size
    if quantity.per_atom:
        values = values / batch.n_atoms[:, None]
        factor = factor / batch.n_atoms[:, None]
    return Residuals(values, target.weights, factor)


def error_sums(properties: Sequence[Property], prediction: Prediction, labels: Labels, batch: Batch) -> Tensor:
    """Return sums of absolute and squared residuals, whatever the weights: (properties, 2) float64."""
    rows = []
    for quantity in properties:
        values = residuals(quantity, prediction, labels, batch).values.double() * labels[quantity.name].present
        rows.append(torch.stack([values.abs().sum(), values.square().sum()]))
    return torch.stack(rows)

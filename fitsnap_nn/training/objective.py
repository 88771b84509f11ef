"""Objective and errors of a fit, as sums that are additive over ranks and batches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fitsnap_nn.data.properties import Property
from fitsnap_nn.inputs.batch import Batch
from fitsnap_nn.models.prediction import Prediction
from fitsnap_nn.training.batches import Labels
from fitsnap_nn.training.losses import Loss


@dataclass(frozen=True)
class Term:
    """One property of the objective and its loss."""

    property: Property
    loss: Loss


class Residuals(NamedTuple):
    """Residuals of one property in a batch, and their weights.

    Attributes:
        values: (rows, components) prediction minus label, in the property's loss unit; 0 for missing labels.
        weights: (rows, 1); 0 for missing labels.
        factor: derivative of the residuals with respect to the prediction, scalar or (rows, 1).
    """

    values: Tensor
    weights: Tensor
    factor: Tensor | float


class Objective:
    """Weighted sum of losses over the properties of a fit.

    With squared errors and means it is FitSNAP's loss, extended by stresses,

        mean_c w_c (E_c/N_c - e_c)^2 + mean_i w_i |F_i - f_i|^2 / 3 + mean_c w_c |S_c - s_c|^2 / 6.

    Means are over the labelled configurations, atoms and cells of the whole batch on all ranks. Group and configuration
    weights multiply every loss.

    A balanced objective is the geometric mean of the terms instead of their sum, so that none of them can be neglected,
    whatever its unit: its value is a product, and only the ratio of weights within a property matters. Its gradient is
    that of a sum in which the factor of each term is the geometric mean over the value of the term (times the number of
    terms); these factors are those of the latest call of `balance`.

    Args:
        terms: properties, in the order of the sums, with their losses.
        reduction: ``mean`` over the label components of a property, or ``sum``.
        balanced: geometric mean of the terms instead of their sum.

    Attributes:
        factors: factor of each term in the gradient.
    """

    def __init__(self, terms: Sequence[Term], reduction: str = "mean", *, balanced: bool = False) -> None:
        self.terms = tuple(terms)
        self.properties = tuple(term.property for term in self.terms)
        self.balanced = balanced
        self.factors = [1.0] * len(self.terms)
        self._mean = reduction == "mean"

    def sums(self, prediction: Prediction, labels: Labels, batch: Batch) -> Tensor:
        """Return the weighted sums of losses of a batch.

        Args:
            prediction: of the batch.
            labels: of the batch.
            batch: C configurations.

        Returns:
            (properties,) float64, additive over batches and ranks; see `total`.
        """
        sums = []
        for term in self.terms:
            found = residuals(term.property, prediction, labels, batch)
            value, _ = term.loss.value_and_slope(found.values)
            sums.append((value * found.weights).sum(dtype=torch.float64))
        return torch.stack(sums)

    def slopes(
        self, prediction: Prediction, labels: Labels, batch: Batch, scales: Sequence[float | Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sums of losses of a batch and the derivatives of the objective with respect to predictions.

        Losses provide their slopes, so that automatic differentiation starts at the predictions.

        Args:
            prediction: of the batch.
            labels: of the batch.
            batch: this rank's configurations.
            scales: result of `scales`, as floats or () tensors.

        Returns:
            (properties,) float64, as `sums`; the derivatives by property name, in the shapes of the predictions.
        """
        slopes, sums = {}, []
        for term, scale in zip(self.terms, scales, strict=True):
            found = residuals(term.property, prediction, labels, batch)
            value, slope = term.loss.value_and_slope(found.values)
            sums.append((value * found.weights).sum(dtype=torch.float64))
            scaled = slope * found.weights * scale * found.factor
            slopes[term.property.name] = scaled.view_as(prediction.values[term.property.name])
        return torch.stack(sums), slopes

    def scales(self, counts: Mapping[str, int]) -> list[float]:
        """Return the factor of the sum of each property in the gradient of the objective.

        Args:
            counts: label components of the whole batch on all ranks, by property name.
        """
        return [factor / divisor for factor, divisor in zip(self.factors, self.divisors(counts), strict=True)]

    def total(self, sums: Tensor, counts: Mapping[str, int]) -> float:
        """Return the objective from sums over batches and ranks.

        Args:
            sums: (properties,) sums of the results of `sums`.
            counts: label components in these batches, by property name.
        """
        values = self.values(sums, counts)
        if not self.balanced:
            return sum(values)
        return _geometric_mean(values)

    def values(self, sums: Tensor, counts: Mapping[str, int]) -> list[float]:
        """Return the value of each term from sums over batches and ranks; arguments as in `total`."""
        found: list[float] = (sums / sums.new_tensor(self.divisors(counts))).tolist()
        return found

    def balance(self, *sets: Sequence[float]) -> None:
        """Set the factors of a balanced objective to those at the given values of its terms.

        Args:
            sets: values of each term in one or more sets, see `values`. A term that vanishes in the first, because no
                label has a weight there, takes its value from the next. One that vanishes in all keeps its factor.
        """
        values = [next(filter(None, found), 0.0) for found in zip(*sets, strict=True)]
        mean, number = _geometric_mean(values), sum(value > 0 for value in values)
        if self.balanced and math.isfinite(mean):
            pairs = zip(values, self.factors, strict=True)
            self.factors = [mean / (number * value) if value > 0 else factor for value, factor in pairs]

    def divisors(self, counts: Mapping[str, int]) -> list[int]:
        """Return by what the sum of each property is divided in `total`.

        Args:
            counts: label components, by property name.
        """
        return [self._divisor(counts[one.name]) for one in self.properties]

    def _divisor(self, count: int) -> int:
        return max(1, count) if self._mean else 1


def _geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean of those values that are not 0; 0 if all are."""
    logarithms = [math.log(value) for value in values if value != 0.0]
    return math.exp(sum(logarithms) / len(logarithms)) if logarithms else 0.0


def residuals(quantity: Property, prediction: Prediction, labels: Labels, batch: Batch) -> Residuals:
    """Return the residuals of one property, detached from the autograd graph.

    Args:
        quantity: the property.
        prediction: of the batch.
        labels: of the batch.
        batch: C configurations.
    """
    target = labels[quantity.name]
    predicted = prediction.values[quantity.name].detach().reshape(target.values.shape)
    size = quantity.loss_unit.size
    # Labels are stored in the loss unit, except for the division by the number of atoms.
    values = (predicted / size if size != 1.0 else predicted) - target.values
    factor: Tensor | float = 1.0 / size
    if quantity.per_atom:
        values = values / batch.n_atoms[:, None]
        factor = factor / batch.n_atoms[:, None]
    return Residuals(values, target.weights, factor)


def error_sums(
    properties: Sequence[Property],
    prediction: Prediction,
    labels: Labels,
    batch: Batch,
    blocks: Sequence[tuple[Property, Tensor]] = (),
) -> Tensor:
    """Return unweighted sums of absolute and squared residuals of labelled components.

    Args:
        properties: in the order of the rows.
        prediction: of the batch.
        labels: of the batch.
        batch: C configurations.
        blocks: property and `BlockOfProperty.matrix` of irreducible blocks, in the order of further rows.

    Returns:
        (properties and blocks, 2) float64, in loss units and loss units squared.
    """
    rows = []
    for quantity, matrix in (*((one, None) for one in properties), *blocks):
        values = residuals(quantity, prediction, labels, batch).values.double() * labels[quantity.name].present
        if matrix is not None:
            values = values @ matrix
        rows.append(torch.stack([values.abs().sum(), values.square().sum()]))
    return torch.stack(rows)

"""Weighted linear least squares of energies, forces and stresses for the last layers of a BPNN.

One pass over the data accumulates, for each property and each fold of a cross-validation, the Gram matrix
[A y]^T W [A y] of the design matrix A and the labels y. The squared residuals of any coefficients c are then a
quadratic form, (A c - y)^T W (A c - y) = (c, -1)^T [A y]^T W [A y] (c, -1). Regularisation and weights are therefore
chosen without the data.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from fitsnap_nn.data.properties import Property
from fitsnap_nn.errors import TrainingError
from fitsnap_nn.inputs.snap.batch import DescriptorBatch
from fitsnap_nn.models.bpnn import BPNN
from fitsnap_nn.models.last_layer import LastLayer
from fitsnap_nn.models.prediction import predict_baseline
from fitsnap_nn.training.batches import Labels, SampleSet
from fitsnap_nn.training.distributed import Ranks, rank_batches
from fitsnap_nn.training.objective import Objective, residuals

FOLDS = 5
BATCH_COST = 20_000.0  # maximum cost of a batch: about 1000 atoms
# Tikhonov parameters to choose from, for columns of unit norm; the normal equations resolve no smaller one in float64.
REGULARISATIONS = tuple(10.0**power for power in range(-12, -2))
WITHOUT_FOLDS = 1e-8  # Tikhonov parameter if there is one fold only
# Of columns that are not regularised. Biases and one-hot weights can be linearly dependent.
SMALLEST = 1e-12
MAX_ITERATIONS = 200
CONVERGED = 1e-6  # relative change of the weights of properties
EMPHASIS = 1e4  # weight of one property in the search for minima of the product of losses
PERFECT = 1e-10  # share of the labels' squares below which a residual counts as 0 in a product of losses
# Share of the labels' squares below which differences of losses are rounding errors of the quadratic form.
ROUNDING = 1e-13


@dataclass(frozen=True)
class LeastSquares:
    """Result of a fit of the last layers.

    Attributes:
        columns: number of weights and biases that were fitted.
        rows: label components with a weight, by property name.
        regularisation: Tikhonov parameter, for columns of unit norm.
        folds: number of folds of the cross-validation that chose it; 1: none.
        losses: squared-error loss of each property, as in the objective.
        rmse: weighted root-mean-square residual of each property, in its loss unit.
    """

    columns: int
    rows: Mapping[str, int]
    regularisation: float
    folds: int
    losses: Mapping[str, float]
    rmse: Mapping[str, float]


def fit_last_layer(
    model: BPNN,
    samples: SampleSet,
    groups: Sequence[str],
    objective: Objective,
    ranks: Ranks,
    release: Callable[[], None] = lambda: None,
) -> LeastSquares | None:
    """Set the weights and biases of the last layers to the least-squares solution on the features of the hidden layers.

    Rows have the weights of the objective; errors are squared, whatever its losses. Frozen parameters are kept.

    Args:
        model: the model; it may be on any device.
        samples: the training set, the same on every rank.
        groups: group of each sample.
        objective: weights of rows, and what the sums of each property are divided by; if it is balanced, the geometric
            mean of the losses of the properties is minimised instead of their sum.
        ranks: share the accumulation.
        release: called after each batch, to release the memory of its cached inputs.

    Returns:
        What was fitted, the same on every rank; ``None`` if all last layers are frozen.

    Raises:
        TrainingError: there is no finite solution.
    """
    layer = LastLayer(model)
    if not bool(layer.trainable.any()):
        return None
    grams, sums = _accumulate(layer, samples, folds_of(groups), objective, ranks, release)
    divisors = grams.new_tensor(objective.divisors(samples.total(range(len(samples)))))
    equations = NormalEquations(grams.div_(divisors[:, None, None]), ~layer.constant)
    # All ranks have the same matrices, but not necessarily the same linear algebra library.
    found = equations.with_fixed(layer.values, layer.trainable).fit(objective.balanced) if ranks.is_first else None
    solution, regularisation = ranks.broadcast(found) or (None, 0.0)
    if solution is None:
        raise TrainingError(
            "least squares for the last layer has no finite solution. Look for outliers with `check`, or set "
            "[PYTORCH] initial = random."
        )
    values = layer.values
    values[layer.trainable] = solution
    layer.assign(values)
    losses = equations.losses(layer.values)  # rounded to the precision of the model
    weights, rows = sums.sum(dim=0).unbind(1)
    rmse = (losses * divisors / weights).sqrt()
    names = [one.name for one in objective.properties]
    return LeastSquares(
        columns=len(solution),
        rows=dict(zip(names, map(int, rows.tolist()), strict=True)),
        regularisation=regularisation,
        folds=max(1, len(equations.folds)),
        losses=dict(zip(names, losses.tolist(), strict=True)),
        rmse=dict(zip(names, rmse.tolist(), strict=True)),
    )


def folds_of(groups: Sequence[str]) -> list[int]:
    """Return the fold of each configuration: blocks of consecutive ones of each group.

    Neighbouring frames of a trajectory resemble each other; random folds would not show overfitting.

    Args:
        groups: group of each configuration.
    """
    sizes = Counter(groups)
    number = {group: index for index, group in enumerate(sizes)}  # first fold, so that small groups do not share one
    seen = dict.fromkeys(sizes, 0)
    folds = []
    for group in groups:
        folds.append((seen[group] * FOLDS // sizes[group] + number[group]) % FOLDS)
        seen[group] += 1
    return folds


def _accumulate(
    layer: LastLayer,
    samples: SampleSet,
    folds: Sequence[int],
    objective: Objective,
    ranks: Ranks,
    release: Callable[[], None],
) -> tuple[Tensor, Tensor]:
    """Return Gram matrices (folds, properties, K + 1, K + 1), and sums of weights and numbers of rows (.., .., 2)."""
    device = next(layer.model.parameters()).device
    size, shape = layer.size + 1, (FOLDS, len(objective.properties))
    grams = torch.zeros(*shape, size, size, dtype=torch.float64, device=device)
    sums = torch.zeros(*shape, 2, dtype=torch.float64, device=device)
    for fold in range(FOLDS):
        members = [number for number, of_sample in enumerate(folds) if of_sample == fold]
        batches = rank_batches([samples.costs[member] for member in members], BATCH_COST, ranks)
        chosen = ([members[number] for number in batch] for batch in batches)
        for batch, labels in samples.collated(chosen, device):
            parts = _rows(layer, cast(DescriptorBatch, batch), labels, objective.properties)
            for number, (rows, weights) in enumerate(parts):
                weighted = rows * weights.sqrt()
                grams[fold, number].addmm_(weighted.t(), weighted)
                sums[fold, number] += torch.stack([weights.sum(), weights.new_tensor(len(weights))])
            release()
    return ranks.sum_(grams).cpu(), ranks.sum_(sums).cpu()


def _rows(
    layer: LastLayer, batch: DescriptorBatch, labels: Labels, properties: Sequence[Property]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield for each property the rows [A y] (M, K + 1) that have a weight, and their weights (M, 1), float64."""
    design, baseline = layer.design(batch, properties), predict_baseline(layer.model, batch, properties)
    for one in properties:
        # The residual of the baseline is -y; its derivative with respect to the prediction turns the design into A.
        found = residuals(one, baseline, labels, batch)
        weights = found.weights.double()
        used = weights[:, 0] > 0
        rows = design[one.name].reshape(*found.values.shape, layer.size)[used]
        factor = found.factor[used].unsqueeze(2) if isinstance(found.factor, Tensor) else found.factor
        augmented = torch.cat([rows * factor, -found.values[used].double().unsqueeze(2)], dim=2)
        components = found.values.shape[1]
        yield augmented.flatten(0, 1), weights[used].expand(-1, components).reshape(-1, 1)


@dataclass(frozen=True)
class NormalEquations:
    """Normal equations of a least-squares problem of K columns.

    Attributes:
        grams: (folds, properties, K + 1, K + 1) float64; the last row and column belong to the labels.
        regularised: (K,) bool, columns that are regularised.
    """

    grams: Tensor
    regularised: Tensor

    @property
    def folds(self) -> list[int]:
        """Folds that have rows; empty if there are fewer than two, so that there is no cross-validation."""
        filled = torch.where((self.grams.diagonal(dim1=2, dim2=3) > 0).any(dim=2).any(dim=1))[0].tolist()
        return filled if len(filled) > 1 else []

    def with_fixed(self, values: Tensor, free: Tensor) -> NormalEquations:
        """Return the equations for some of the columns, with the coefficients of the others fixed.

        Args:
            values: (K,) coefficients, of which those of fixed columns are used.
            free: (K,) bool.
        """
        if bool(free.all()):
            return self
        # (c, -1) of all columns is a linear function of (c, -1) of the free ones.
        size = len(values)
        columns = torch.where(free)[0]
        expand = self.grams.new_zeros(size + 1, len(columns) + 1)
        expand[columns, torch.arange(len(columns))] = 1.0
        expand[:-1, -1] = torch.where(free, 0.0, -values)
        expand[-1, -1] = 1.0
        return NormalEquations(expand.t() @ self.grams @ expand, self.regularised[free])

    def losses(self, solution: Tensor) -> Tensor:
        """Return the losses (properties,) of coefficients (K,)."""
        return _quadratic(self.grams.sum(dim=0), solution)

    def fit(self, balanced: bool) -> tuple[Tensor, float] | None:
        """Return the coefficients with the lowest loss in cross-validation, and the Tikhonov parameter.

        Args:
            balanced: minimise the product of the losses of all properties instead of their sum.

        Returns:
            ``None`` if there is no finite solution.
        """
        chosen: tuple[Tensor, float] | None = None
        lowest, total = math.inf, self.grams.sum(dim=0)
        weights = self._lowest_product() if balanced else self.grams.new_ones(self.grams.shape[1])
        for regularisation in REGULARISATIONS if self.folds else (WITHOUT_FOLDS,):
            if balanced:
                weights, _ = self._balance(weights, regularisation)
            solution = self._solve(total, weights, regularisation)
            # Of several that rounding does not tell apart, the first and smallest is taken.
            held_out = torch.maximum(self._held_out(weights, regularisation), ROUNDING * total[:, -1, -1])
            if balanced:
                held_out = held_out[self._fitted].log()
            loss = float(held_out.sum())
            if solution is not None and (chosen is None or loss < lowest):
                chosen, lowest = (solution, regularisation), loss
        return chosen

    @property
    def _fitted(self) -> Tensor:
        """(properties,) bool: whether a property has rows whose labels are not all 0."""
        return self.grams[:, :, -1, -1].sum(dim=0) > 0

    def _held_out(self, weights: Tensor, regularisation: float) -> Tensor:
        """Return the loss of each property in the folds that the coefficients were not fitted to."""
        losses = torch.zeros_like(weights)
        total = self.grams.sum(dim=0)
        for fold in self.folds:
            solution = self._solve(total - self.grams[fold], weights, regularisation)
            losses += math.inf if solution is None else _quadratic(self.grams[fold], solution)
        return losses

    def _lowest_product(self) -> Tensor:
        """Return the weights (properties,) at the lowest of the minima of the product that several starts lead to.

        The product is not convex: with energies and stresses that cannot both be fitted well, for instance, it has a
        minimum for each of the two. The starts do not depend on the weights of the objective.
        """
        squares = self.grams[:, :, -1, -1].sum(dim=0)
        start = torch.where(self._fitted, 1.0 / squares, 0.0)
        starts = [start] + [torch.where(one, EMPHASIS, 1.0) * start for one in torch.eye(len(start), dtype=torch.bool)]
        found = [self._balance(weights, WITHOUT_FOLDS) for weights in starts]
        return min(found, key=lambda one: one[1])[0]

    def _balance(self, weights: Tensor, regularisation: float) -> tuple[Tensor, float]:
        """Return the inverse losses (properties,) at a minimum of the product of the losses, and its logarithm.

        log L_t is below its tangent in L_t, so that no step of the iteration w_t = 1/L_t increases the product.

        Args:
            weights: (properties,) where the iteration starts.
            regularisation: see `_solve`.
        """
        total, fitted = self.grams.sum(dim=0), self._fitted
        smallest = PERFECT * total[:, -1, -1]
        product = math.inf
        for _ in range(MAX_ITERATIONS):
            solution = self._solve(total, weights, regularisation)
            if solution is None:
                break
            losses = torch.maximum(_quadratic(total, solution), smallest)
            product = float(losses[fitted].log().sum())
            found = torch.where(fitted, 1.0 / losses, 0.0)
            found /= found.max()  # the ratios of the weights matter, not their size
            change = (
                float((found[fitted] / weights[fitted] * weights.max()).log().abs().amax())
                if bool(fitted.any())
                else 0.0
            )
            weights = found
            if change < CONVERGED:
                break
        return weights, product

    def _solve(self, grams: Tensor, weights: Tensor, regularisation: float) -> Tensor | None:
        """Return the coefficients (K,) for weighted properties; ``None`` if the equations are not positive definite.

        Args:
            grams: (properties, K + 1, K + 1).
            weights: (properties,).
            regularisation: Tikhonov parameter of the columns, scaled to unit norm.
        """
        gram = (grams * weights[:, None, None]).sum(dim=0)
        norms = gram.diagonal()[:-1].clamp(min=0.0).sqrt()
        norms = torch.where(norms > 0, norms, 1.0)  # a column of zeros gets the coefficient 0
        scaled = gram[:-1, :-1] / norms[:, None] / norms
        scaled.diagonal().add_(torch.where(self.regularised, regularisation, SMALLEST))
        factor, failed = torch.linalg.cholesky_ex(scaled)
        if int(failed) or not bool(gram.isfinite().all()):
            return None
        return torch.cholesky_solve((gram[:-1, -1] / norms)[:, None], factor)[:, 0] / norms


def _quadratic(grams: Tensor, solution: Tensor) -> Tensor:
    """Return (c, -1)^T G (c, -1) for each of the matrices (properties, K + 1, K + 1)."""
    vector = torch.cat([solution, solution.new_tensor([-1.0])])
    return ((grams @ vector) @ vector).clamp(min=0.0)

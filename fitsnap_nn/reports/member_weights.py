"""Weights of the members of a committee, from their errors on the validation set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fitsnap_nn.data.properties import FORCES
from fitsnap_nn.reports.results import Floats, Result, in_the_fit

MIN_CONFIGURATIONS = 10  # with fewer, weights follow the errors of single configurations
NEGLIGIBLE = 0.02  # weight of a member that costs more time in MD than it improves the mean


def choose_weights(results: Sequence[Sequence[Result]]) -> list[float]:
    """Return the weights, not negative and with a sum of 1, whose weighted mean has the smallest errors of forces.

    The mean length of the error of the force on an atom is minimised, which is a convex function of the weights. A
    member with a negligible weight gets none.

    Args:
        results: of each model for the same configurations, in the same order, those of the validation set.

    Returns:
        One weight per model; empty if the set is too small.
    """
    used = [[one for one in in_the_fit(of) if FORCES.name in one.configuration.labels] for of in results]
    if len(used[0]) < MIN_CONFIGURATIONS:
        return []
    errors = np.stack([np.concatenate([_errors(one) for one in of]) for of in used])
    weights = _minimum(errors)
    weights[weights < NEGLIGIBLE] = 0.0
    return [float(one) for one in weights / weights.sum()]


def _errors(result: Result) -> Floats:
    error: Floats = result.evaluation.values[FORCES.name] - result.configuration.labels[FORCES.name]
    return error


def _minimum(errors: Floats) -> Floats:
    """Return the weights (M,) whose sum of errors (M, N, 3) has the smallest mean length."""
    from scipy.optimize import minimize  # slow to import

    def mean_length(weights: Floats) -> tuple[float, Floats]:
        residual = np.tensordot(weights, errors, axes=1)
        lengths = np.linalg.norm(residual, axis=1)
        directions = residual / np.maximum(lengths, np.finfo(float).tiny)[:, None]
        return float(lengths.mean()) / scale, np.einsum("mnk,nk->m", errors, directions) / len(lengths) / scale

    count, scale = len(errors), 1.0
    start = np.full(count, 1.0 / count)
    scale = mean_length(start)[0] or 1.0
    sum_is_one = {"type": "eq", "fun": lambda weights: weights.sum() - 1.0, "jac": np.ones_like}
    found = minimize(
        mean_length, start, jac=True, method="SLSQP", bounds=[(0.0, 1.0)] * count, constraints=[sum_is_one]
    )
    weights: Floats = np.clip(found.x, 0.0, 1.0)
    return weights

"""Weights of the members of a mean, from synthetic errors whose best combination is known."""

from __future__ import annotations

import numpy as np
import pytest

from fitsnap_nn.data.configuration import Configuration, Subset
from fitsnap_nn.data.evaluation import Evaluation
from fitsnap_nn.reports.member_weights import MIN_CONFIGURATIONS, choose_weights
from fitsnap_nn.reports.results import Result

SIZE = 40


def results(errors: np.ndarray, forces: bool = True) -> list[Result]:
    """Results with given errors (C, N, 3) of forces, for the same labels."""
    labels = np.random.default_rng(7).normal(size=errors.shape)
    found = []
    for label, error in zip(labels, errors, strict=True):
        configuration = Configuration(
            id="x",
            group="A",
            species=("Ta",) * len(label),
            positions=np.zeros((len(label), 3)),
            cell=np.eye(3),
            pbc=(True, True, True),
            labels={"forces": label} if forces else {},
            weights={"forces": 1.0},
            subset=Subset.VALIDATION,
        )
        found.append(Result(configuration, Evaluation({"forces": label + error}, {}, {})))
    return found


def noise(seed: int, scale: float, count: int = 20) -> np.ndarray:
    return scale * np.random.default_rng(seed).normal(size=(count, SIZE, 3))


def test_independent_errors_have_weights_of_their_inverse_variances() -> None:
    found = choose_weights([results(noise(1, 0.1)), results(noise(2, 0.2))])
    assert found == pytest.approx([0.8, 0.2], abs=0.03)
    assert sum(found) == pytest.approx(1.0, abs=1e-12)


def test_opposite_errors_cancel() -> None:
    error = noise(1, 0.1)
    assert choose_weights([results(error), results(-3 * error)]) == pytest.approx([0.75, 0.25], abs=1e-4)


def test_a_model_that_adds_nothing_has_no_weight() -> None:
    error = noise(1, 0.1)
    assert choose_weights([results(3 * error), results(error)]) == [0.0, 1.0]
    assert choose_weights([results(noise(1, 0.1)), results(noise(2, 5.0))]) == [1.0, 0.0]


def test_outliers_count_by_their_size_not_its_square() -> None:
    """One wild atom of the better model, whose square would outweigh all others."""
    good = noise(1, 0.1)
    good[0, 0] = 30.0
    found = choose_weights([results(good), results(noise(2, 0.3))])
    assert found[0] > 0.7
    lengths = np.linalg.norm(good, axis=2), np.linalg.norm(noise(2, 0.3), axis=2)
    assert (lengths[0] ** 2).sum() > 3 * (lengths[1] ** 2).sum()


def test_exact_models_and_units() -> None:
    assert choose_weights([results(noise(1, 0.0)), results(noise(2, 0.1))])[0] > 0.97
    small, large = (choose_weights([results(noise(1, s)), results(noise(2, 2 * s))]) for s in (1e-6, 1e3))
    assert small == pytest.approx(large, abs=1e-3)


def test_small_sets_give_no_weights() -> None:
    few = MIN_CONFIGURATIONS - 1
    assert choose_weights([results(noise(1, 0.1, few)), results(noise(2, 0.2, few))]) == []
    assert choose_weights([results(noise(1, 0.1), forces=False), results(noise(2, 0.2), forces=False)]) == []

"""Reduction of linear systems, and their solvers against the formulas of FitSNAP and scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from outside import Outside
from random_potentials import crystal, random_linear

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import STANDARD, Derivatives
from fitsnap_nn.errors import TrainingError
from fitsnap_nn.inputs.rows import CachedRows
from fitsnap_nn.models.linear import LinearModel
from fitsnap_nn.settings.linear import Ard, Lasso, Ridge, Solver
from fitsnap_nn.settings.schema import Bispectrum, Reference, Settings
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.training.linear_solvers import solve
from fitsnap_nn.training.linear_system import LinearSystem, Triangle, gather_system, reduce_system
from fitsnap_nn.units import BAR

TA = Bispectrum(type=("Ta",), twojmax=(4,))
ZBL = Reference(pair_style="zbl 3.0 4.0", pair_coeff=("* * 73 73",))


def system(rows: int = 300, columns: int = 7, seed: int = 0) -> LinearSystem:
    """A system of columns and rows of very different size."""
    random = np.random.default_rng(seed)
    matrix = random.standard_normal((rows, columns)) * 10.0 ** random.uniform(-3, 3, (rows, 1))
    matrix *= 10.0 ** random.uniform(-2, 2, columns)
    labels = matrix @ random.standard_normal(columns) + random.standard_normal(rows)
    return LinearSystem(matrix, labels, {"energy": rows})


def reduced(whole: LinearSystem, blocks: int = 5) -> LinearSystem:
    triangle = Triangle(whole.matrix.shape[1] + 1)
    triangle._limit = 40
    for rows in np.array_split(np.column_stack([whole.matrix, whole.labels]), blocks):
        triangle.add(rows)
    found = triangle.reduced()
    assert len(found) == found.shape[1]
    return LinearSystem(found[:, :-1], found[:, -1], whole.rows)


def settings(solver: str, **sections: object) -> Settings:
    return Settings(solver=Solver(solver), **sections)


def assert_same(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def test_the_triangle_has_the_least_squares_solution_and_the_residual() -> None:
    whole = system()
    small = reduced(whole)
    expected, squares, *_ = np.linalg.lstsq(whole.matrix, whole.labels, rcond=None)
    found = solve(small, settings("SVD"))
    assert_same(found.values, expected)
    assert found.note.startswith("rank 7 of 7, condition number ")
    assert found.remark == ""
    residual = small.labels - small.matrix @ found.values
    assert residual @ residual == pytest.approx(float(squares[0]), rel=1e-9)


def test_undetermined_coefficients_have_minimum_norm() -> None:
    whole = system()
    doubled = replace(whole, matrix=np.hstack([whole.matrix, whole.matrix, np.zeros((300, 1))]))
    found = solve(reduced(doubled), settings("SVD"))
    half = 0.5 * np.linalg.lstsq(whole.matrix, whole.labels, rcond=None)[0]
    assert_same(found.values, np.concatenate([half, half, [0.0]]))
    assert "rank 7 of 15" in found.note
    assert found.remark.startswith("undetermined: the data determine 7 of 15 coefficients")
    assert "minimum-norm solution: the data do not determine all coefficients" in found.note


def test_fewer_rows_than_columns() -> None:
    few = system(rows=4)
    found = solve(few, settings("SVD")).values
    assert_same(few.matrix @ found, few.labels)
    assert_same(found, np.linalg.pinv(few.matrix) @ few.labels)


def test_ridge_solves_the_regularised_normal_equations() -> None:
    whole = system()
    expected = np.linalg.solve(whole.matrix.T @ whole.matrix + 3.0 * np.eye(7), whole.matrix.T @ whole.labels)
    assert_same(solve(reduced(whole), settings("RIDGE", ridge=Ridge(alpha=3.0))).values, expected)
    assert_same(solve(whole, settings("RIDGE", ridge=Ridge(alpha=0.0))).values, solve(whole, settings("SVD")).values)


@pytest.mark.parametrize("nugget", [0.0, 2.0])
def test_anl_has_mean_and_covariance(nugget: float) -> None:
    whole = system()
    inverse = np.linalg.inv(whole.matrix.T @ whole.matrix + nugget * np.eye(7))
    mean = inverse @ whole.matrix.T @ whole.labels
    residual = whole.labels - whole.matrix @ mean
    variance = (residual @ residual / 2) / ((300 - 7) / 2 - 1)
    found = solve(reduced(whole), Settings(solver=Solver("ANL", cov_nugget=nugget)))
    assert_same(found.values, mean)
    assert found.covariance is not None
    assert_same(found.covariance, variance * inverse, 1e-7)
    with pytest.raises(TrainingError, match="9 rows are too few"):
        solve(replace(whole, rows={"energy": 9}), settings("ANL"))


def test_ard_and_lasso_are_those_of_scikit_learn(outside: Outside) -> None:
    outside.library("sklearn")
    from sklearn.linear_model import ARDRegression
    from sklearn.linear_model import Lasso as Reference_

    whole = system()
    variance = whole.labels.var()
    threshold = 10 ** (int(abs(np.log10(variance))) + 0.3)
    options = {"alpha_1": 1e-3 / variance, "alpha_2": 1e-3 / variance, "lambda_1": 1e-3 / variance}
    ard = ARDRegression(
        max_iter=1000, fit_intercept=False, threshold_lambda=threshold, lambda_2=1e-3 / variance, **options
    ).fit(whole.matrix, whole.labels)
    found = solve(whole, settings("ARD"))
    assert_same(found.values, ard.coef_, 1e-12)
    assert f"of 7 coefficients are not 0 after {ard.n_iter_} iterations" in found.note
    direct = ARDRegression(max_iter=1000, fit_intercept=False, threshold_lambda=50, alpha_1=1e-12, alpha_2=1e-12).fit(
        whole.matrix, whole.labels
    )
    section = Ard(directmethod=True, threshold_lambda=50)
    assert_same(solve(whole, settings("ARD", ard=section)).values, direct.coef_, 1e-12)
    lasso = Reference_(alpha=10.0, fit_intercept=False, max_iter=2000).fit(whole.matrix, whole.labels)
    assert_same(solve(whole, settings("LASSO", lasso=Lasso(alpha=10.0))).values, lasso.coef_, 1e-12)
    assert "; Objective did not converge" in solve(whole, settings("LASSO", lasso=Lasso(1e-9, max_iter=1))).note


def labelled(model: LinearModel, seed: int) -> tuple[Configuration, CachedRows]:
    """A configuration with random labels, and its cached input."""
    random, bare = np.random.default_rng(seed), crystal(TA.type, seed, repeat=1)
    labels = {"energy": np.array(-9.0), "forces": random.standard_normal((2, 3)), "stress": random.standard_normal(6)}
    weights = {"energy": 2.0, "forces": 3.0, "stress": 1e-6}
    with model.input.open(ZBL, Path(), Derivatives()) as compute:
        return replace(bare, labels=labels, weights=weights), compute.compute(bare)


def test_rows_have_the_units_and_weights_of_fitsnap() -> None:
    model = random_linear(TA)
    configuration, cached = labelled(model, 1)
    found = gather_system(model, [(configuration, cached)], STANDARD, Ranks())
    assert found is not None
    assert dict(found.rows) == {"energy": 1, "forces": 6, "stress": 6}
    energy, forces, stress = found.matrix[0], found.matrix[1:7], found.matrix[7:]
    assert_same(energy, 2.0 * np.array([1.0, *cached.descriptors.mean(axis=0)]))
    assert found.labels[0] == pytest.approx(2.0 * (-9.0 - cached.reference_energy) / 2)
    assert_same(forces[:, 1:], 3.0 * cached.force_rows[:, :, 0].reshape(6, -1))
    assert not forces[:, 0].any()
    assert_same(found.labels[1:7], 3.0 * (configuration.labels["forces"] - cached.reference_forces).ravel())
    # The sign of a pressure, in bar with LAMMPS' constant.
    assert_same(stress[:, 1:], -1.6021765 * cached.strain_rows[0, :, 0] / configuration.volume)
    pressure = -configuration.labels["stress"] / BAR + 1.6021765e6 * cached.reference_stress
    assert_same(found.labels[7:], 1e-6 * pressure)


def test_unlabelled_and_unweighted_properties_have_no_rows() -> None:
    model = random_linear(TA)
    configuration, cached = labelled(model, 2)
    without = replace(configuration, labels={"forces": configuration.labels["forces"]})
    whole = reduce_system(model, [(configuration, cached), (without, cached)], STANDARD, Ranks())
    assert whole is not None
    assert dict(whole.rows) == {"energy": 1, "forces": 12, "stress": 6}
    idle = replace(configuration, weights=dict.fromkeys(configuration.weights, 0.0))
    with pytest.raises(TrainingError, match="no label of the training set has a weight above 0"):
        reduce_system(model, [(idle, cached)], STANDARD, Ranks())
    broken = replace(configuration, labels={"energy": np.array(np.inf)})
    with pytest.raises(TrainingError, match=r"crystal/2: .*the linear system is not finite"):
        reduce_system(model, [(broken, cached)], STANDARD, Ranks())

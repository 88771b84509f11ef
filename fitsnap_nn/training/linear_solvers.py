"""Solvers of the linear systems of linear models, with FitSNAP's names, keys and results."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy.linalg import lstsq

from fitsnap_nn.data.configuration import Floats
from fitsnap_nn.errors import TrainingError
from fitsnap_nn.settings.linear import NEED_SKLEARN
from fitsnap_nn.settings.schema import Settings
from fitsnap_nn.training.linear_system import LinearSystem

CUTOFF = 1e-13  # singular values below this times the largest count as 0, as in FitSNAP
ARD_ITERATIONS = 1000
PINV_CUTOFF = 1e-15  # of numpy.linalg.pinv, which FitSNAP applies to the normal equations


@dataclass(frozen=True)
class Solution:
    """Coefficients of a linear system of K columns.

    Attributes:
        values: (K,) coefficients.
        note: what the log says about the solution.
        covariance: (K, K) covariance of the coefficients, from ANL; otherwise ``None``.
        remark: what is wrong with the solution, for the verdict; empty if nothing is.
    """

    values: Floats
    note: str
    covariance: Floats | None = None
    remark: str = ""


def needs_all_rows(solver: str) -> bool:
    """Return whether a solver needs the whole system instead of its triangle."""
    return solver in NEED_SKLEARN


def solve(system: LinearSystem, settings: Settings) -> Solution:
    """Return the solution by the solver of the input.

    Raises:
        TrainingError: there is no finite solution, or scikit-learn is needed and missing.
    """
    found = SOLVERS[settings.solver.solver](system, settings)
    if not np.isfinite(found.values).all():
        raise TrainingError(
            f"solver = {settings.solver.solver} has no finite solution. Look for outliers with `check`."
        )
    return found


def _svd(system: LinearSystem, settings: Settings) -> Solution:
    values, _, rank, singular = lstsq(system.matrix, system.labels, CUTOFF)
    columns = system.matrix.shape[1]
    missing = "" if rank == columns else ", minimum-norm solution: the data do not determine all coefficients"
    condition = singular[0] / singular[rank - 1] if rank else np.inf
    remark = (
        f"undetermined: the data determine {rank} of {columns} coefficients, so that energies and forces of structures "
        "unlike those of the training set are arbitrary. Use solver = RIDGE, fewer descriptors, or more data"
    )
    note = f"rank {rank} of {columns}, condition number {condition:.1e}{missing}"
    return Solution(values, note, remark=remark if missing else "")


def _ridge(system: LinearSystem, settings: Settings) -> Solution:
    # |A x - y|² + alpha |x|² is the sum of squares of a larger system, which avoids the normal equations.
    alpha, columns = settings.ridge.alpha, system.matrix.shape[1]
    matrix = np.vstack([system.matrix, np.sqrt(alpha) * np.eye(columns)])
    values, *_ = lstsq(matrix, np.concatenate([system.labels, np.zeros(columns)]), CUTOFF)
    return Solution(values, f"alpha = {alpha:g}")


def _anl(system: LinearSystem, settings: Settings) -> Solution:
    """Posterior mean and covariance of the coefficients for a flat prior and normal errors of unknown variance."""
    left, singular, right = np.linalg.svd(system.matrix, full_matrices=False)
    squares = singular**2 + settings.solver.cov_nugget
    kept = squares > PINV_CUTOFF * squares[0]
    inverse = np.where(kept, 1.0 / np.where(kept, squares, 1.0), 0.0)
    values = right.T @ (inverse * singular * (left.T @ system.labels))
    count, columns = sum(system.rows.values()), system.matrix.shape[1]
    if count - columns <= 2:
        raise TrainingError(
            f"solver = ANL: {count} rows are too few for the variance with {columns} coefficients. Add data."
        )
    residuals = system.labels - system.matrix @ values
    variance = float(residuals @ residuals) / (count - columns - 2)
    note = f"rank {kept.sum()} of {columns}, standard deviation of the weighted residuals {np.sqrt(variance):.4g}"
    return Solution(values, note, variance * (right.T * inverse) @ right)


def _lasso(system: LinearSystem, settings: Settings) -> Solution:
    options = settings.lasso
    model = _sklearn("Lasso")(alpha=options.alpha, fit_intercept=False, max_iter=options.max_iter)
    return _fitted(model, system)


def _ard(system: LinearSystem, settings: Settings) -> Solution:
    options = settings.ard
    if options.directmethod:
        alpha, beta, threshold = options.alphabig, options.lambdasmall, float(options.threshold_lambda)
    else:
        variance = float(np.var(system.labels))
        if variance == 0:
            raise TrainingError("solver = ARD: all weighted labels are equal. Check the weights in [GROUPS].")
        alpha, beta = options.scap / variance, options.scai / variance
        threshold = 10 ** (int(abs(np.log10(variance))) + options.logcut)
    priors = {"alpha_1": alpha, "alpha_2": alpha, "lambda_1": beta, "lambda_2": beta}
    make = _sklearn("ARDRegression")
    return _fitted(make(max_iter=ARD_ITERATIONS, threshold_lambda=threshold, fit_intercept=False, **priors), system)


def _fitted(model: Any, system: LinearSystem) -> Solution:
    """Return the coefficients of an estimator of scikit-learn; its warnings are part of the note."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(system.matrix, system.labels)
    values = np.asarray(model.coef_, dtype=np.float64)
    remarks = dict.fromkeys(str(one.message).split(". ")[0].strip().rstrip(".") for one in caught)
    note = f"{np.count_nonzero(values)} of {len(values)} coefficients are not 0 after {model.n_iter_} iterations"
    return Solution(values, "; ".join([note, *remarks]))


def _sklearn(name: str) -> Any:
    try:
        from sklearn import linear_model
    except ImportError as error:
        raise TrainingError(
            f"the solvers ARD and LASSO need scikit-learn: pip install 'fitsnap_nn[linear]' ({error})."
        ) from error
    return getattr(linear_model, name)


SOLVERS: Mapping[str, Callable[[LinearSystem, Settings], Solution]] = MappingProxyType(
    {"SVD": _svd, "RIDGE": _ridge, "ANL": _anl, "LASSO": _lasso, "ARD": _ard}
)

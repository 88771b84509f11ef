"""Sections of linear solvers; the keys are FitSNAP's."""

from __future__ import annotations

from dataclasses import dataclass

from fitsnap_nn.settings.options import option

PYTORCH = "PYTORCH"  # value of solver for neural networks
LINEAR_SOLVERS = ("SVD", "RIDGE", "ARD", "LASSO", "ANL")
NEED_SKLEARN = ("ARD", "LASSO")
SOLVER_SECTIONS = ("RIDGE", "ARD", "LASSO")  # with the parameters of the solver of that name
NOT_HERE = "it belongs to solvers of FitSNAP that are not available"
ALWAYS = "always computed"


@dataclass(frozen=True)
class Solver:
    """Kind of model: a neural network (``PYTORCH``), or a linear model on SNAP or ACE descriptors by one of the others.

    Linear solvers minimise FitSNAP's sum of squares: each row of the system, an energy per atom in eV, a force
    component in eV/Å or a stress component in bar, is multiplied by the weight of its group before it is squared.
    """

    solver: str = option(
        PYTORCH,
        "PYTORCH: neural network, see [PYTORCH]; the others: linear model",
        choices=(PYTORCH, *LINEAR_SOLVERS),
    )
    cov_nugget: float = option(0.0, "ANL: number added to the diagonal of the normal equations", minimum=0)
    compute_testerrs: bool = option(False, "errors of the testing set", no_effect=ALWAYS)
    detailed_errors: bool = option(False, "errors by group", no_effect=ALWAYS)
    nsam: int = option(0, "posterior samples", no_effect="ANL writes the covariance from which samples can be drawn")
    normalweight: float = option(-12.0, "weight of the normal equations", no_effect=NOT_HERE)
    normratio: float = option(0.5, "ratio of the normal equations", no_effect=NOT_HERE)
    mcmc_num: int = option(1000, "Monte Carlo steps", no_effect=NOT_HERE)
    mcmc_gamma: float = option(0.01, "Monte Carlo step width", no_effect=NOT_HERE)
    mcmc_sigma: float = option(0.1, "Monte Carlo noise", no_effect=NOT_HERE)
    merr_mult: int = option(0, "model error factor", no_effect=NOT_HERE)
    merr_method: str = option("iid", "model error method", no_effect=NOT_HERE)
    merr_cfs: str = option("all", "model error coefficients", no_effect=NOT_HERE)

    @property
    def is_linear(self) -> bool:
        """Whether the model is linear in the descriptors."""
        return self.solver in LINEAR_SOLVERS


@dataclass(frozen=True)
class Ridge:
    """``solver = RIDGE``: minimises the sum of squares plus alpha times the sum of squared coefficients."""

    alpha: float = option(1e-8, "Tikhonov parameter", minimum=0)
    local_solver: bool = option(
        False, "FitSNAP's own linear algebra", no_effect="the solution does not depend on the program"
    )


@dataclass(frozen=True)
class Lasso:
    """``solver = LASSO``: scikit-learn's ``Lasso``, which penalises the sum of absolute coefficients."""

    alpha: float = option(1e-8, "penalty; the squares are divided by twice the number of rows", minimum=0)
    max_iter: int = option(2000, "maximum number of iterations", minimum=1)


@dataclass(frozen=True)
class Ard:
    """``solver = ARD``: scikit-learn's ``ARDRegression``, which removes columns that the data do not support.

    v is the variance of the weighted labels, from which priors and threshold follow with ``directmethod = 0``.
    """

    directmethod: bool = option(
        False, "1: use alphabig, lambdasmall and threshold_lambda instead of scap, scai and logcut"
    )
    scap: float = option(1e-3, "directmethod = 0: alpha_1 and alpha_2 are scap / v", minimum=0)
    scai: float = option(1e-3, "directmethod = 0: lambda_1 and lambda_2 are scai / v", minimum=0)
    logcut: float = option(
        0.3,
        "directmethod = 0: columns of precision above 10^(n + logcut) are removed, n the integer part of abs(log10 v)",
    )
    alphabig: float = option(1e-12, "directmethod = 1: alpha_1 and alpha_2", minimum=0)
    lambdasmall: float = option(1e-6, "directmethod = 1: lambda_1 and lambda_2", minimum=0)
    threshold_lambda: int = option(100_000, "directmethod = 1: columns of larger precision are removed", minimum=0)
    alphasmall: float = option(1e-14, "smaller alpha", no_effect="FitSNAP does not use it either")
    lambdabig: float = option(1e-6, "larger lambda", no_effect="FitSNAP does not use it either")

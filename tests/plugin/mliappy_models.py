"""Models of atoms' energies for the tests that start fast: without torch, and those that fail."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from plain_models import this_rank


class Linear:
    """E = c (1 + sum of the components), for the tantalum of these tests.

    Args:
        declared: further attributes.
    """

    n_descriptors = 30
    n_elements = 1
    units = "metal"
    coefficient = 1e-4

    def __init__(self, **declared: Any) -> None:
        for name, value in declared.items():
            setattr(self, name, value)

    def __call__(
        self,
        elements: NDArray[np.int32],
        descriptors: NDArray[np.float64],
        slopes: NDArray[np.float64],
        energies: NDArray[np.float64],
    ) -> None:
        energies[:] = self.coefficient * (1.0 + descriptors.sum(axis=1))
        slopes[:] = self.coefficient


class FailsInAStep(Linear):
    """Raises an exception at its call number ``step`` on a rank."""

    step = 1
    rank = 0

    def __call__(self, *arrays: Any) -> None:
        super().__call__(*arrays)
        self.step -= 1
        if self.step == 0 and self.rank == this_rank():
            raise ArithmeticError("no luck with the arithmetic")


class FailsOnLoading(Linear):
    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["rank"] == this_rank():
            raise ArithmeticError("cannot be loaded here")


class NotFinite(Linear):
    """Gives one number that is none, in its argument number ``argument``."""

    def __call__(self, *arrays: Any) -> None:
        super().__call__(*arrays)
        arrays[self.argument][-1] = np.nan

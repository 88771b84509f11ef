"""Statistics of labels and errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def root_mean_square(values: NDArray[np.float64]) -> float:
    """Return the root mean square of all elements; 0 of none."""
    return float(np.sqrt(np.square(values).mean())) if values.size else 0.0

"""The reference potential of a configuration as one array of a cached input."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.inputs.base import CachedInput


def pack_reference(cached: CachedInput) -> NDArray[np.float64]:
    """(7 + 3 N,) the reference in one array."""
    return np.concatenate([[cached.reference_energy], cached.reference_stress, cached.reference_forces.ravel()])


def unpack_reference(reference: NDArray[Any]) -> tuple[float, NDArray[Any], NDArray[Any]]:
    return float(reference[0]), reference[7:].reshape(-1, 3), reference[1:7]

"""Results of the reference potential as a single array of a cached input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.inputs.base import CachedInput


def pack_reference(cached: CachedInput) -> NDArray[np.float64]:
    """Return (7 + 3 N,) the energy, the six stress components and the forces of the reference potential."""
    return np.concatenate([[cached.reference_energy], cached.reference_stress, cached.reference_forces.ravel()])


def unpack_reference(reference: NDArray[Any]) -> tuple[float, NDArray[Any], NDArray[Any]]:
    """Return energy (eV), forces (N, 3) (eV/Å) and stress (6,) (eV/Å³); the inverse of `pack_reference`."""
    return float(reference[0]), reference[7:].reshape(-1, 3), reference[1:7]


def reference_values(cached: CachedInput) -> Mapping[str, float | NDArray[np.float64]]:
    """Return energy, forces and stress of the reference potential by property name, in internal units."""
    return {"energy": cached.reference_energy, "forces": cached.reference_forces, "stress": cached.reference_stress}

"""Symmetric tensors as six numbers in Voigt order xx, yy, zz, yz, xz, xy (as in ASE).

LAMMPS orders pressure components as xx, yy, zz, xy, xz, yz; indexing with ``FROM_LAMMPS`` converts them to Voigt order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

ROWS = (0, 1, 2, 1, 0, 0)
COLUMNS = (0, 1, 2, 2, 2, 1)
FROM_LAMMPS = (0, 1, 2, 5, 4, 3)


def voigt(tensor: ArrayLike) -> Floats:
    """Return the symmetric part of a tensor in Voigt order.

    Args:
        tensor: (..., 3, 3).

    Returns:
        (..., 6) tensor components; shear components are not doubled as in engineering strain.
    """
    full = np.asarray(tensor, dtype=np.float64)
    return 0.5 * (full[..., ROWS, COLUMNS] + full[..., COLUMNS, ROWS])


def from_voigt(components: ArrayLike) -> Floats:
    """Return the symmetric tensor (..., 3, 3) of components (..., 6) in Voigt order; the inverse of `voigt`."""
    six = np.asarray(components, dtype=np.float64)
    full = np.empty((*six.shape[:-1], 3, 3))
    full[..., ROWS, COLUMNS] = six
    full[..., COLUMNS, ROWS] = six
    return full

"""The data that LAMMPS passes to a unified model at each step."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]


class LammpsData(Protocol):
    """Atoms and pairs of one rank: ``MLIAPDataPy`` of LAMMPS' own Python ML-IAP, or `fitsnap_nn.plugin.data.Data`.

    Shapes are given there. ``elems``, ``tags``, ``pair_j`` and the exchanges exist with our plugin only, and all but
    ``tags`` and ``edge_exchange`` with LAMMPS' coupling for KOKKOS, whose arrays are CuPy arrays on a GPU.
    """

    energy: float
    eatoms: Floats
    nlistatoms: int
    ntotal: int
    npairs: int
    natomneigh: int
    elems: Ints
    tags: Ints
    iatoms: Ints
    ielems: Ints
    jatoms: Ints
    jelems: Ints
    pair_i: Ints
    pair_j: Ints
    numneighs: Ints
    rij: Floats

    def update_pair_forces(self, fij: Any, /) -> None:
        """Add the forces that follow from the derivatives (npairs, 3) of the energy with respect to ``rij``."""

    def forward_exchange(self, copy_from: Any, copy_to: Any, vec_len: int, /) -> None:
        """Copy features of owned atoms to their ghosts."""

    def reverse_exchange(self, copy_from: Any, copy_to: Any, vec_len: int, /) -> None:
        """Add features of ghosts to the atoms they are images of."""

    def edge_exchange(self, copy_from: Any, copy_to: Any, vec_len: int, /) -> None:
        """Copy features of each pair to its reverse."""

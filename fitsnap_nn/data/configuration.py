"""One labelled arrangement of atoms, in the units the whole package uses: Å, eV, eV/Å, eV/Å³."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.errors import DataError

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Configuration:
    """Atoms, their cell, and whatever labels the data have; a label that is missing is ``None``, never 0.

    Attributes:
        id: where it came from, unique in a data set: ``group/file`` or ``group/file#3``.
        group: name of its group.
        species: (N,) chemical symbols.
        positions: (N, 3) Å.
        cell: (3, 3) Å, lattice vectors as rows; zero rows along directions that are not periodic are allowed.
        pbc: (3,) whether each direction is periodic.
        energy: total energy, eV.
        forces: (N, 3) eV/Å.
        stress: (3, 3) eV/Å³, dE/d(strain)/V as ASE has it: positive when the cell wants to shrink.
        energy_weight, force_weight, stress_weight: weights in the loss.
        testing: whether it is held out.
        charges: (N,) elementary charges, for ``atom_style charge``.
        spins: (N, 4) magnitude (µB) and direction, for ``atom_style spin``.
    """

    id: str
    group: str
    species: tuple[str, ...]
    positions: Floats
    cell: Floats
    pbc: tuple[bool, bool, bool] = (True, True, True)
    energy: float | None = None
    forces: Floats | None = None
    stress: Floats | None = None
    energy_weight: float = 1.0
    force_weight: float = 1.0
    stress_weight: float = 1.0
    testing: bool = False
    charges: Floats | None = None
    spins: Floats | None = None

    def __len__(self) -> int:
        return len(self.species)

    @property
    def volume(self) -> float:
        """Volume of the cell, Å³."""
        return float(abs(np.linalg.det(self.cell)))

    def element_indices(self, elements: Sequence[str]) -> NDArray[np.int64]:
        """(N,) which of some elements each atom is, from 0.

        Raises:
            DataError: it is none of them.
        """
        indices = {element: index for index, element in enumerate(elements)}
        if unknown := sorted(set(self.species) - indices.keys()):
            raise DataError(f"{self.id}: has {', '.join(unknown)}; the elements are {' '.join(elements)}.")
        return np.array([indices[symbol] for symbol in self.species], dtype=np.int64)

    def fingerprint(self) -> str:
        """Digest of all that a descriptor or a reference energy depends on: atoms and cell, not labels or weights."""
        digest = hashlib.sha256()
        digest.update(repr((self.species, self.pbc)).encode())
        for array in (self.positions, self.cell, self.charges, self.spins):
            digest.update(b"-" if array is None else np.ascontiguousarray(array, dtype=np.float64).tobytes())
        return digest.hexdigest()

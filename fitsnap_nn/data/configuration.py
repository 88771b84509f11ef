"""Labelled atomic configuration in the internal units of the package: Å, eV, eV/Å, eV/Å³."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.errors import DataError

Floats = NDArray[np.float64]

# Å, below which two atoms are at the same place. Rounding of coordinates of 100 Å, 1e-14 Å, turns the direction between
# atoms at this distance by 1e-8, the accuracy to which exported forces are verified; below 1e-10 Å LAMMPS' SNAP skips
# pairs without a message. The plugin refuses the same distances (lammps_plugin/contacts.h).
MIN_DISTANCE = 1e-6


class Subset(Enum):
    """Subsets of the data; the value is the name in tables and plots.

    TRAINING determines the parameters, VALIDATION the epoch and early stopping. TEST is never seen by the trainer.
    UNKNOWN is used in tests of models whose file does not contain the split of their fit.
    """

    TRAINING = "Train"
    VALIDATION = "Validation"
    TEST = "Test"
    UNKNOWN = "Unknown"


SETS = (Subset.TRAINING, Subset.VALIDATION, Subset.TEST)  # those of a fit


@dataclass(frozen=True, eq=False)
class Configuration:
    """Atoms, cell and labels; a missing label is absent from ``labels``, never 0.

    Attributes:
        id: origin, unique in a data set: ``group/file`` or ``group/file#frame``.
        group: name of the group.
        species: (N,) chemical symbols.
        positions: (N, 3) Å.
        cell: (3, 3) Å, lattice vectors as rows; rows of non-periodic directions may be zero.
        pbc: (3,) whether each direction is periodic.
        labels: labels by property name, in internal units: ``energy`` () eV, ``forces`` (N, 3) eV/Å, ``stress`` (3, 3)
            eV/Å³ in ASE's sign (dE/d(strain)/V, positive in tension), and user-defined properties.
        weights: loss weights by property name; 1 for properties that are not listed.
        stage_two_weights: loss weights that change in stage two of the training, by property name.
        subset: training, validation or test set.
        charges: (N,) elementary charges, for ``atom_style charge``.
        spins: (N, 4) magnitude (µB) and direction, for ``atom_style spin``.
    """

    id: str
    group: str
    species: tuple[str, ...]
    positions: Floats
    cell: Floats
    pbc: tuple[bool, bool, bool] = (True, True, True)
    labels: Mapping[str, Floats] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    subset: Subset = Subset.TRAINING
    charges: Floats | None = None
    spins: Floats | None = None
    stage_two_weights: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.species)

    def __repr__(self) -> str:
        counts = Counter(self.species)
        formula = "".join(f"{element}{number if number > 1 else ''}" for element, number in counts.items())
        labels = ", ".join(self.labels) or "no labels"
        return f"Configuration({self.id!r}, {formula}, {self.subset.value}, {labels})"

    @property
    def energy(self) -> float | None:
        """Label of the total energy, eV, or ``None``."""
        return float(self.labels["energy"]) if "energy" in self.labels else None

    @property
    def forces(self) -> Floats | None:
        """(N, 3) label of the forces, eV/Å, or ``None``."""
        return self.labels.get("forces")

    @property
    def stress(self) -> Floats | None:
        """(3, 3) label of the stress, eV/Å³, ASE's sign, or ``None``."""
        return self.labels.get("stress")

    def weight(self, name: str) -> float:
        """Return the weight of a property in the loss."""
        return self.weights.get(name, 1.0)

    @property
    def volume(self) -> float:
        """Volume of the cell, Å³."""
        return float(abs(np.linalg.det(self.cell)))

    def element_indices(self, elements: Sequence[str]) -> NDArray[np.int64]:
        """Return (N,) zero-based indices of the atoms' elements in ``elements``.

        Raises:
            DataError: an element is not in ``elements``.
        """
        indices = {element: index for index, element in enumerate(elements)}
        if unknown := sorted(set(self.species) - indices.keys()):
            raise DataError(
                f"{self.id}: contains {', '.join(unknown)}, but the elements of the model are {' '.join(elements)}. "
                "Remove the configuration."
            )
        return np.array([indices[symbol] for symbol in self.species], dtype=np.int64)

    def fingerprint(self) -> str:
        """Return a hash of all data on which model inputs and reference energies depend; labels and weights are not."""
        digest = hashlib.sha256()
        digest.update(repr((self.species, self.pbc)).encode())
        for array in (self.positions, self.cell, self.charges, self.spins):
            digest.update(b"-" if array is None else np.ascontiguousarray(array, dtype=np.float64).tobytes())
        return digest.hexdigest()


def composition_fractions(configurations: Sequence[Configuration], elements: Sequence[str]) -> Floats:
    """Return (C, E), the fraction of each element in each configuration."""
    counts = [np.bincount(c.element_indices(elements), minlength=len(elements)) / len(c) for c in configurations]
    return np.array(counts, dtype=np.float64).reshape(-1, len(elements))

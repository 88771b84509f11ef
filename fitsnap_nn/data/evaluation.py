"""The prediction of a whole potential for one configuration, whoever makes it: a model in Python, or LAMMPS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Prediction of a potential for a configuration of N atoms, the reference potential included.

    Attributes:
        values: by property name, in internal units: ``energy`` () eV, ``forces`` (N, 3) eV/Å, ``stress`` (6,) eV/Å³
            in Voigt order xx yy zz yz xz xy and ASE's sign, and others. What was not asked for is absent; so is the
            stress of a cell that is not fully periodic.
    """

    values: Mapping[str, Floats]

    @property
    def energy(self) -> float:
        """Total energy, eV."""
        return float(self.values["energy"])

    @property
    def forces(self) -> Floats | None:
        """(N, 3) eV/Å, or ``None`` where none were computed."""
        return self.values.get("forces")

    @property
    def stress(self) -> Floats | None:
        """(6,) eV/Å³, Voigt order, ASE's sign, or ``None``."""
        return self.values.get("stress")

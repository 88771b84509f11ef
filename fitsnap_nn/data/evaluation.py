"""Prediction of a complete potential for one configuration, computed by a model in Python or by LAMMPS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Prediction of a potential for a configuration of N atoms, including the reference potential.

    Attributes:
        values: predictions by property name, in internal units: ``energy`` () eV, ``forces`` (N, 3) eV/Å, ``stress``
            (6,) eV/Å³ in Voigt order xx yy zz yz xz xy and ASE's sign, and user-defined properties. Properties that
            were not requested are absent, and so is the stress of cells that are not fully periodic.
        spread: uncertainties as standard deviations: ``energies`` (N,) of the atom energies, eV; ``energy`` () of their
            sum, eV; ``forces`` (N,), eV/Å, if requested, root of the sum of the variances of the three components.
            Empty if they were not computed. See `fitsnap_nn.models.uncertainty`; those of a committee that is not
            calibrated are sample standard deviations over its members.
        reference: contribution of the reference potential to energy, forces and stress; empty if unknown, as for
            results of LAMMPS.
    """

    values: Mapping[str, Floats]
    spread: Mapping[str, Floats] = field(default_factory=dict)
    reference: Mapping[str, float | Floats] = field(default_factory=dict)

    @property
    def energy(self) -> float:
        """Total energy, eV."""
        return float(self.values["energy"])

    @property
    def forces(self) -> Floats | None:
        """(N, 3) forces, eV/Å, or ``None`` if not computed."""
        return self.values.get("forces")

    @property
    def stress(self) -> Floats | None:
        """(6,) stress, eV/Å³, Voigt order, ASE's sign, or ``None`` if not computed."""
        return self.values.get("stress")

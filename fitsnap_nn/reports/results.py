"""What a model says of labelled configurations, beside the labels: the input of every report.

Energies are reported in eV/atom, forces by component in eV/Å, stresses by component in GPa, which is the unit
of elastic constants and readable without powers of ten (LAMMPS' metal units give the same number times 10⁴ bar).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.voigt import voigt
from fitsnap_nn.units import GPA

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Result:
    """A configuration with its labels, and the prediction of the whole potential: network, baselines and reference.

    Attributes:
        configuration: N atoms, their labels, group and role.
        energy: total energy, eV.
        forces: (N, 3) eV/Å, or ``None`` where none were computed.
        stress: (6,) eV/Å³, Voigt order xx yy zz yz xz xy, ASE sign, or ``None``.
    """

    configuration: Configuration
    energy: float
    forces: Floats | None = None
    stress: Floats | None = None


class Pairs(NamedTuple):
    """Values of a property, component by component: (M,) of the model, (M,) of the labels, and how many labels."""

    model: Floats
    target: Floats
    labels: int


@dataclass(frozen=True)
class Property:
    """A labelled property: its name and unit, and how to read it from a result.

    Attributes:
        of: prediction and label of one result as (n, components) arrays, or ``None`` where either is missing; n is
            what a table counts: 1 for energies and stresses, the number of atoms for forces.
    """

    name: str
    unit: str
    of: Callable[[Result], tuple[Floats, Floats] | None]

    def pairs(self, results: Sequence[Result]) -> Pairs:
        """All predictions that have a label."""
        found = [both for both in map(self.of, results) if both is not None]
        if not found:
            return Pairs(np.empty(0), np.empty(0), 0)
        model, target = (np.concatenate([both[side] for both in found], axis=0) for side in (0, 1))
        return Pairs(model.ravel(), target.ravel(), len(model))


def _energy(result: Result) -> tuple[Floats, Floats] | None:
    label = result.configuration.energy
    if label is None:
        return None
    atoms = len(result.configuration)
    return np.array([[result.energy / atoms]], dtype=np.float64), np.array([[label / atoms]], dtype=np.float64)


def _forces(result: Result) -> tuple[Floats, Floats] | None:
    label = result.configuration.forces
    if label is None or result.forces is None:
        return None
    return np.asarray(result.forces, dtype=np.float64), label


def _stress(result: Result) -> tuple[Floats, Floats] | None:
    label = result.configuration.stress
    if label is None or result.stress is None:
        return None
    return np.asarray(result.stress, dtype=np.float64)[None] / GPA, voigt(label)[None] / GPA


ENERGY = Property("Energy", "eV/atom", _energy)
FORCE = Property("Force", "eV/Å", _forces)
STRESS = Property("Stress", "GPa", _stress)
PROPERTIES = (ENERGY, FORCE, STRESS)


def split(results: Sequence[Result]) -> tuple[list[Result], list[Result]]:
    """The results that were trained on, and those that were held out."""
    training = [result for result in results if not result.configuration.testing]
    testing = [result for result in results if result.configuration.testing]
    return training, testing

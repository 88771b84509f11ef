"""Properties: what is labelled in the data, predicted by a model, trained on and reported.

Energy, forces and stress are three rows of one table. An input file adds others in its section [PROPERTIES].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fitsnap_nn.data.voigt import voigt
from fitsnap_nn.units import BAR, GPA

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scalar:
    """A number that rotations leave unchanged."""

    components = 1


@dataclass(frozen=True)
class Cartesian:
    """A Cartesian tensor: a vector (rank 1), or a symmetric matrix (rank 2) as six numbers in Voigt order."""

    rank: Literal[1, 2]

    @property
    def components(self) -> int:
        """Number of independent components."""
        return {1: 3, 2: 6}[self.rank]


Symmetry = Scalar | Cartesian


class Unit(NamedTuple):
    """A unit in which values are used or shown.

    Attributes:
        label: as printed.
        size: the unit in internal units; a value in internal units is divided by it.
    """

    label: str
    size: float = 1.0


NO_UNIT = Unit("")


@dataclass(frozen=True)
class Property:
    """A labelled quantity.

    Attributes:
        name: key of the mappings of labels, weights and predictions.
        per: whether a label belongs to a configuration or to each of its atoms.
        symmetry: how it transforms under rotations, and so how many components it has.
        unit: internal unit; the readers convert to it.
        derivative: ``positions`` or ``strain`` where it is a derivative of the energy, which no model predicts by
            itself; ``None`` for a property that a model predicts.
        intensive: whether it does not grow with the configuration. An extensive property of a configuration is
            divided by the number of atoms in losses, errors and tables.
        title: name in tables, plots and file names; FitSNAP's where FitSNAP has the property.
        loss_unit: unit of residuals in the loss; ``huber`` deltas and group weights refer to it.
        report_unit: unit in tables and plots.
        symbol, display_unit: of the one-line summary and of the line printed for each epoch.
    """

    name: str
    per: Literal["configuration", "atom"]
    symmetry: Symmetry
    unit: str
    derivative: Literal["positions", "strain"] | None = None
    intensive: bool = True
    title: str = ""
    loss_unit: Unit = NO_UNIT
    report_unit: Unit = NO_UNIT
    symbol: str = ""
    display_unit: Unit = NO_UNIT

    @property
    def per_atom(self) -> bool:
        """Whether values are divided by the number of atoms before they are compared."""
        return self.per == "configuration" and not self.intensive

    def rows(self, value: ArrayLike) -> Floats:
        """Return a label or a prediction as an array (rows, components).

        Args:
            value: of one configuration: a number, (N,), (N, 3), (3, 3) or (6,).
        """
        array = np.asarray(value, dtype=np.float64)
        if isinstance(self.symmetry, Cartesian) and self.symmetry.rank == 2 and array.shape[-2:] == (3, 3):
            array = voigt(array)
        return array.reshape(-1, self.symmetry.components)

    def count(self, n_atoms: int) -> int:
        """Return the number of label components of a configuration of ``n_atoms`` atoms."""
        return self.symmetry.components * (n_atoms if self.per == "atom" else 1)


def user_property(
    name: str, per: Literal["configuration", "atom"], symmetry: Symmetry, unit: str, *, intensive: bool = True
) -> Property:
    """Return a property that a model predicts directly, shown in its own unit.

    Args:
        unit: label of the unit of the data, which is used as it is.
        intensive: see `Property`.
    """
    shown = Unit(unit if intensive or per == "atom" else f"{unit}/atom")
    return Property(name, per, symmetry, unit, None, intensive, name, shown, shown, name, shown)


ENERGY = Property(
    "energy", "configuration", Scalar(), "eV", None, False, "Energy",
    Unit("eV/atom"), Unit("eV/atom"), "E", Unit("meV/atom", 1e-3),
)  # fmt: skip
FORCES = Property(
    "forces", "atom", Cartesian(1), "eV/Å", "positions", True, "Force",
    Unit("eV/Å"), Unit("eV/Å"), "F", Unit("meV/Å", 1e-3),
)  # fmt: skip
STRESS = Property(
    "stress", "configuration", Cartesian(2), "eV/Å³", "strain", True, "Stress",
    Unit("bar", BAR), Unit("GPa", GPA), "P", Unit("GPa", GPA),
)  # fmt: skip
STANDARD = (ENERGY, FORCES, STRESS)


class Derivatives(NamedTuple):
    """Derivatives of the energy that the properties of a fit need: with respect to positions and to strain."""

    positions: bool = True
    strain: bool = True


def derivatives_of(properties: Iterable[Property]) -> Derivatives:
    """Return the derivatives of the energy that some properties need."""
    needed = {one.derivative for one in properties}
    return Derivatives("positions" in needed, "strain" in needed)


def labels_of(**labels: ArrayLike | None) -> Mapping[str, Floats]:
    """Return labels by property name, without those that are ``None``."""
    return {name: np.asarray(value, dtype=np.float64) for name, value in labels.items() if value is not None}

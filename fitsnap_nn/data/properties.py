"""Properties: quantities that are labelled in the data, predicted by a model, fitted and reported.

Energy, forces and stress are predefined. An input file defines others in section [TARGETS].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fitsnap_nn.data.symmetries import Cartesian, Scalar, Symmetry
from fitsnap_nn.data.voigt import voigt
from fitsnap_nn.units import BAR, GPA

Floats = NDArray[np.float64]


class Unit(NamedTuple):
    """Unit for computation or output.

    Attributes:
        label: printed name.
        size: one unit in internal units; values in internal units are divided by it.
    """

    label: str
    size: float = 1.0


NO_UNIT = Unit("")


@dataclass(frozen=True)
class Property:
    """Quantity that can be labelled, predicted and fitted.

    Attributes:
        name: key in the mappings of labels, weights and predictions.
        per: whether there is one label per configuration or one per atom.
        symmetry: transformation under rotations, which defines the number of components.
        unit: internal unit; the readers convert to it.
        derivative: ``positions`` or ``strain`` for a derivative of the energy; ``None`` for a property that a model
            predicts directly.
        intensive: whether the value is independent of the system size. Extensive properties of a configuration are
            divided by the number of atoms in losses, errors and tables.
        undivided: exempt an extensive property from this division.
        title: name in tables, plots and file names, as in FitSNAP where FitSNAP has the property.
        loss_unit: unit of residuals in the loss; Huber deltas and group weights refer to it.
        report_unit: unit in tables and plots.
        symbol, display_unit: symbol and unit in the log line per epoch and in the one-line summary.
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
    undivided: bool = False

    @property
    def per_atom(self) -> bool:
        """Whether values are divided by the number of atoms before comparison."""
        return self.per == "configuration" and not (self.intensive or self.undivided)

    def rows(self, value: ArrayLike) -> Floats:
        """Return the value of one configuration as a 2D array.

        Args:
            value: label or prediction: a number, (N,), (N, 3), (3, 3) or (6,), and so on.

        Returns:
            (rows, components); one row per configuration or per atom.
        """
        array = np.asarray(value, dtype=np.float64)
        if isinstance(self.symmetry, Cartesian) and self.symmetry.components == 6 and array.shape[-2:] == (3, 3):
            array = voigt(array)
        return array.reshape(-1, self.symmetry.components)

    def count(self, n_atoms: int) -> int:
        """Return the number of label components of a configuration of ``n_atoms`` atoms."""
        return self.symmetry.components * (n_atoms if self.per == "atom" else 1)


def plain_value(quantity: Property, value: ArrayLike) -> float | Floats:
    """Return a value as ASE stores it: a number, (K,) or (3, 3) per configuration, (N,) or (N, K) per atom."""
    rows = quantity.rows(value)
    if quantity.per == "atom":
        return rows[:, 0] if rows.shape[1] == 1 else rows
    if isinstance(quantity.symmetry, Cartesian) and quantity.symmetry.components == 9:
        return rows.reshape(3, 3)  # ASE reads nine numbers column by column, and writes a matrix so
    return float(rows[0, 0]) if rows.shape[1] == 1 else rows[0]


def user_property(
    name: str,
    per: Literal["configuration", "atom"],
    symmetry: Symmetry,
    unit: str,
    *,
    intensive: bool = True,
    undivided: bool = False,
) -> Property:
    """Return a user-defined property, which a model predicts directly.

    Args:
        name: name of the property.
        per: one label per configuration or per atom.
        symmetry: transformation under rotations.
        unit: name of the unit of the data; values are not converted.
        intensive, undivided: see `Property`.
    """
    whole = intensive or undivided or per == "atom"
    shown = Unit(unit if whole else f"{unit}/atom")
    return Property(name, per, symmetry, unit, None, intensive, name, shown, shown, name, shown, undivided)


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
    """Required derivatives of the energy, with respect to positions and to strain."""

    positions: bool = True
    strain: bool = True


def derivatives_of(properties: Iterable[Property]) -> Derivatives:
    """Return the derivatives of the energy that a set of properties requires."""
    required = {one.derivative for one in properties}
    return Derivatives("positions" in required, "strain" in required)


def labels_of(**labels: ArrayLike | None) -> Mapping[str, Floats]:
    """Return a mapping of labels by property name that omits ``None``."""
    return {name: np.asarray(value, dtype=np.float64) for name, value in labels.items() if value is not None}

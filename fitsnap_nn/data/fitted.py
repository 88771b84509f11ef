"""Properties of a fit: the labels that enter the loss, and their weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import ENERGY, FORCES, STRESS, Property, user_property
from fitsnap_nn.data.symmetries import symmetry_of
from fitsnap_nn.settings.rows import PropertyRow
from fitsnap_nn.settings.schema import Settings


def property_of(row: PropertyRow) -> Property:
    """Return the property of a row of section [TARGETS]."""
    symmetry = symmetry_of(row.symmetry, row.degree, row.pseudo)
    per: Literal["atom", "configuration"] = "atom" if row.per == "atom" else "configuration"
    intensive = row.intensive or per == "atom"
    return user_property(row.name, per, symmetry, row.unit, intensive=intensive, undivided=row.per_structure)


def user_columns(settings: Settings) -> Iterator[tuple[Property, str]]:
    """Yield each property of section [TARGETS] with its column name in the data files."""
    yield from ((property_of(row), row.column) for row in settings.targets)


def user_weights(settings: Settings) -> Iterator[tuple[Property, float]]:
    """Yield each property of section [TARGETS] with its weight in the loss."""
    rows = zip(user_columns(settings), settings.targets, strict=True)
    yield from ((one, row.weight) for (one, _), row in rows)


def fitted_properties(settings: Settings, configurations: Iterable[Configuration]) -> tuple[Property, ...]:
    """Return the properties that are predicted and reported.

    These are the energy, forces and stress if requested in [CALCULATOR], and the user-defined properties. The stress
    needs costly strain derivatives, so at least one configuration must also have a stress label with a positive weight,
    in stage two of the training at the latest.

    Args:
        settings: checked settings.
        configurations: all sets of the fit.
    """
    calculator = settings.calculator
    labelled = any(
        one.stress is not None and max(one.weight("stress"), one.stage_two_weights.get("stress", 0.0)) > 0
        for one in configurations
    )
    requested = {ENERGY: True, FORCES: calculator.force, STRESS: calculator.stress and labelled}
    user_defined = (one for one, _ in user_columns(settings))
    return (*(one for one, wanted in requested.items() if wanted), *user_defined)

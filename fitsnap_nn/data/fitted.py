"""Properties of a fit: the labels that enter the loss, and their weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Literal

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import ENERGY, FORCES, STRESS, Cartesian, Property, Scalar, Symmetry, user_property
from fitsnap_nn.settings.schema import Settings

SYMMETRIES: Mapping[str, Symmetry] = MappingProxyType({"scalar": Scalar(), "vector": Cartesian(1)})


def user_columns(settings: Settings) -> Iterator[tuple[Property, str]]:
    """Yield each property of section [PROPERTIES] with its column name in the data files."""
    for row in settings.properties:
        symmetry, intensive = SYMMETRIES[row.symmetry], row.intensive or row.per == "atom"
        per: Literal["atom", "configuration"] = "atom" if row.per == "atom" else "configuration"
        yield user_property(row.name, per, symmetry, row.unit, intensive=intensive), row.column


def user_weights(settings: Settings) -> Iterator[tuple[Property, float]]:
    """Yield each property of section [PROPERTIES] with its weight in the loss."""
    rows = zip(user_columns(settings), settings.properties, strict=True)
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

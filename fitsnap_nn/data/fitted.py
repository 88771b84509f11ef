"""The properties of a fit: which labels the loss is made of, and with which weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Literal

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import ENERGY, FORCES, STRESS, Cartesian, Property, Scalar, Symmetry, user_property
from fitsnap_nn.settings.schema import Settings

SYMMETRIES: Mapping[str, Symmetry] = MappingProxyType({"scalar": Scalar(), "vector": Cartesian(1)})


def user_columns(settings: Settings) -> Iterator[tuple[Property, str]]:
    """Yield the properties of section [PROPERTIES], each with its name in the data files."""
    for row in settings.properties:
        symmetry, intensive = SYMMETRIES[row.symmetry], row.intensive or row.per == "atom"
        per: Literal["atom", "configuration"] = "atom" if row.per == "atom" else "configuration"
        yield user_property(row.name, per, symmetry, row.unit, intensive=intensive), row.column


def user_weights(settings: Settings) -> Iterator[tuple[Property, float]]:
    """Yield the properties of section [PROPERTIES], each with its weight in the loss."""
    rows = zip(user_columns(settings), settings.properties, strict=True)
    yield from ((one, row.weight) for (one, _), row in rows)


def fitted_properties(settings: Settings, configurations: Iterable[Configuration]) -> tuple[Property, ...]:
    """Return what is predicted and reported: the energy, forces where asked for, stress where it is also labelled.

    A stress takes strain derivatives, so it must have a label with a weight.
    """
    calculator = settings.calculator
    labelled = any(one.stress is not None and one.weight("stress") > 0 for one in configurations)
    chosen = {ENERGY: True, FORCES: calculator.force, STRESS: calculator.stress and labelled}
    others = (one for one, _ in user_columns(settings))
    return (*(one for one, wanted in chosen.items() if wanted), *others)

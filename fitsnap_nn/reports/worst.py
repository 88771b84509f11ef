"""Configurations with the largest errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fitsnap_nn.data.properties import Property
from fitsnap_nn.data.statistics import root_mean_square
from fitsnap_nn.reports.results import Result, pairs

WORST = 5  # configurations listed
NEGLIGIBLE = 1e-3  # printed as 0: meV/atom, meV/Å, GPa


class Rated(NamedTuple):
    """A configuration and its root-mean-square errors by property, in report units."""

    result: Result
    errors: Mapping[Property, float]

    @property
    def texts(self) -> list[str]:
        """Errors with symbol and display unit: ``E 12.3 meV/atom``."""
        return [symbol_text(one, error) for one, error in self.errors.items()]

    @property
    def entry(self) -> dict[str, Any]:
        """Its entry in `FitRecord.worst`."""
        configuration = self.result.configuration
        return {
            "id": configuration.id,
            "group": configuration.group,
            "set": configuration.subset.value,
            "atoms": len(configuration),
            "errors": self.texts,
        }


def worst_results(results: Sequence[Result], properties: Sequence[Property], count: int = WORST) -> list[Rated]:
    """Return the configurations with the largest errors relative to the RMSE over all sets, largest first.

    Args:
        results: predictions and labels.
        properties: properties that are judged.
        count: maximum number of configurations.
    """
    overall = {one: rmse for one in properties if (rmse := error_of(one, results)) is not None}
    rated = []
    for result in results:
        errors = {
            one: error for one, rmse in overall.items() if rmse > 0 and (error := error_of(one, [result])) is not None
        }
        if errors:
            rated.append((max(error / overall[one] for one, error in errors.items()), Rated(result, errors)))
    rated.sort(key=lambda item: -item[0])
    return [one for _, one in rated[:count]]


def error_of(quantity: Property, results: Sequence[Result]) -> float | None:
    """Return the root-mean-square error of a property, in its report unit; ``None`` without labels.

    Args:
        quantity: the property.
        results: predictions and labels.
    """
    model, target, count = pairs(quantity, results)
    return root_mean_square(model - target) if count else None


def value_text(quantity: Property, value: float) -> str:
    """Return a value in its display unit: ``12.3 meV/atom``.

    Args:
        quantity: the property.
        value: in its report unit.
    """
    number = value * quantity.report_unit.size / quantity.display_unit.size
    digits = f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}" if abs(number) >= NEGLIGIBLE else "0"
    return f"{digits} {quantity.display_unit.label}".rstrip()


def symbol_text(quantity: Property, value: float) -> str:
    """Return a value with its symbol: ``E 12.3 meV/atom``; see `value_text`."""
    return f"{quantity.symbol} {value_text(quantity, value)}"

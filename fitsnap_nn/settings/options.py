"""Declaration of a key: the field of a section's dataclass carries default, description and limits."""

from __future__ import annotations

from dataclasses import field
from typing import Any

LARGEST_SEED = 2**32 - 1


def option(
    default: Any,
    doc: str,
    *,
    key: str = "",
    unit: str = "",
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    limit_reason: str = "",
    no_effect: str = "",
) -> Any:
    """Declare a key of a section.

    Args:
        default: value of the key if the input does not set it.
        doc: one-line description; it appears in docs/input.md and in the input templates.
        key: name in the input file if it differs from the name of the field.
        unit: unit of the value.
        choices: allowed values, compared without regard to case and stored as written here.
        minimum: smallest allowed number.
        maximum: largest allowed number.
        limit_reason: sentence added to the error for a number outside the limits.
        no_effect: why a key of FitSNAP has no effect in this package; empty for all other keys.

    Returns:
        A dataclass field.
    """
    metadata = {
        "doc": doc,
        "key": key,
        "unit": unit,
        "choices": choices,
        "minimum": minimum,
        "maximum": maximum,
        "limit_reason": limit_reason,
        "no_effect": no_effect,
    }
    return field(default=default, metadata=metadata)

"""What a field of a section says of its key."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def option(
    default: Any,
    doc: str,
    *,
    key: str = "",
    unit: str = "",
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    no_effect: str = "",
) -> Any:
    """A key of a section: its default, its meaning, and what its value may be.

    ``key`` is the name in the input file where it differs from the field's; ``choices`` are
    compared without regard to case and stored as written here; ``no_effect`` says why a key that
    FitSNAP knows changes nothing here.
    """
    metadata = {
        "doc": doc,
        "key": key,
        "unit": unit,
        "choices": choices,
        "minimum": minimum,
        "maximum": maximum,
        "no_effect": no_effect,
    }
    return field(default=default, metadata=metadata)

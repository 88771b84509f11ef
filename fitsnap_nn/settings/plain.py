"""Settings as plain types, for files that must load without code, and what differs between two of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.settings.architectures import architectures
from fitsnap_nn.settings.fields import format_value
from fitsnap_nn.settings.keys import keys_of, section_classes
from fitsnap_nn.settings.schema import GroupRow, Groups, Settings


def as_dict(settings: Settings) -> dict[str, Any]:
    """Settings as dicts, tuples, strings and numbers; ``from_dict`` gives equal settings back."""
    return asdict(settings)


def from_dict(values: Mapping[str, Any]) -> Settings:
    """Settings from ``as_dict``; what an older version did not have takes its default.

    Raises:
        CheckpointError: there is a section or a key that this version does not have.
    """
    classes = section_classes()
    try:
        parts = {name: _section(classes.get(name.upper()), value) for name, value in values.items()}
        known = architectures()
        stored = parts.get("architectures", {})
        parts["architectures"] = {name: _section(section, stored.get(name, {})) for name, section in known.items()}
        return Settings(**parts)
    except TypeError as error:
        raise CheckpointError(f"the stored settings are of another version of fitsnap_nn: {error}") from None


def _section(cls: type | None, value: Any) -> Any:
    if cls is None:
        return tuple(value) if isinstance(value, list) else value
    values = {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}
    if cls is Groups:
        values["rows"] = tuple(GroupRow(**row) for row in values.get("rows", ()))
    return cls(**values)


def differences(a: Settings, b: Settings) -> list[str]:
    """What could make two fits differ, one line a key: ``[PYTORCH] seed: 0 and 1``.

    Keys without effect, and where the files are, do not count.
    """
    lines = []
    for section in section_classes():
        first, second = a.section(section), b.section(section)
        for name, key in keys_of(section).items():
            pair = getattr(first, key.attribute), getattr(second, key.attribute)
            if pair[0] != pair[1] and not key.no_effect:
                lines.append(f"[{section}] {name}: {_show(pair[0])} and {_show(pair[1])}")
    lines += _mapping_differences("ESHIFT", a.eshift, b.eshift)
    return lines + _mapping_differences("GROUPS", _rows(a), _rows(b))


def _mapping_differences(section: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    names = [name for name in dict.fromkeys([*first, *second]) if first.get(name) != second.get(name)]
    return [f"[{section}] {name}: {_show(first.get(name))} and {_show(second.get(name))}" for name in names]


def _rows(settings: Settings) -> dict[str, tuple[float | int | None, ...]]:
    return {
        row.name: (row.training_size, row.testing_size, row.eweight, row.fweight, row.vweight)
        for row in settings.groups.rows
    }


def _show(value: Any) -> str:
    return "nothing" if value in (None, "", ()) else format_value(value)

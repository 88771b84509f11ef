"""Conversion of settings to plain types, for files that load without running code, and comparison of settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.settings.architectures import BUILT_IN, ArchitectureError, architecture_names, load_architecture
from fitsnap_nn.settings.fields import format_value
from fitsnap_nn.settings.keys import keys_of, section_classes
from fitsnap_nn.settings.schema import GroupRow, Groups, PropertyRow, Settings

# Fields of GROUPS that had no effect; the keys that they stood for have one now, under other field names.
RETIRED = frozenset({"vasp_use_toten", "vasp_unconverged_label"})


def as_dict(settings: Settings) -> dict[str, Any]:
    """Convert settings to dicts, tuples, strings and numbers; the inverse of ``from_dict``."""
    return asdict(settings)


def from_dict(values: Mapping[str, Any]) -> Settings:
    """Build settings from the result of ``as_dict``; keys that an older version did not have take their defaults.

    Raises:
        CheckpointError: a stored section or key does not exist in this version, or the architecture belongs to
            another package, which cannot be imported.
    """
    classes = section_classes()
    try:
        parts = {name: _section(classes.get(name.upper()), value) for name, value in values.items()}
        parts["targets"] = tuple(PropertyRow(**row) for row in parts.get("targets", parts.pop("properties", ())))
        model = values.get("pytorch", {}).get("model")
        parts["architectures"] = _architectures(parts.get("architectures", {}), model)
        return Settings(**parts)
    except TypeError as error:
        raise CheckpointError(f"the stored settings belong to another version of fitsnap_nn: {error}") from None


def _architectures(stored: Mapping[str, Any], model: str | None) -> dict[str, Any]:
    """Build the sections of the architectures; only the one in use must be importable."""
    sections = {name: _section(section, stored.get(name, {})) for name, section in BUILT_IN.items()}
    for name in stored:
        if name in BUILT_IN or name not in architecture_names():
            continue
        try:
            sections[name] = _section(load_architecture(name), stored[name])
        except ArchitectureError as error:
            if name == model:
                raise CheckpointError(f"{error}. Repair or reinstall that package.") from error
    return sections


def _section(cls: type | None, value: Any) -> Any:
    if cls is None:
        return tuple(value) if isinstance(value, list) else value
    values = {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}
    if cls is Groups:
        values = {name: item for name, item in values.items() if name not in RETIRED}
        values["rows"] = tuple(GroupRow(**row) for row in values.get("rows", ()))
    return cls(**values)


def differences(a: Settings, b: Settings) -> list[str]:
    """List the settings that can make two fits differ, one line per key: ``[PYTORCH] seed: 0 and 1``.

    Keys without effect and line numbers are ignored.
    """
    lines = []
    for section in dict.fromkeys([*section_classes(), *a.architectures, *b.architectures]):
        lines += section_differences(section, a.section(section), b.section(section))
    lines += _mapping_differences("ESHIFT", a.eshift, b.eshift)
    lines += _mapping_differences("TARGETS", _targets(a), _targets(b))
    return lines + _mapping_differences("GROUPS", _rows(a), _rows(b))


def section_differences(section: str, first: Any, second: Any) -> list[str]:
    """List the keys with an effect that differ between two dataclasses of one section, one line per key."""
    lines = []
    for name, key in keys_of(section).items():
        pair = getattr(first, key.attribute), getattr(second, key.attribute)
        if pair[0] != pair[1] and not key.no_effect:
            lines.append(f"[{section}] {name}: {_show(pair[0])} and {_show(pair[1])}")
    return lines


def _mapping_differences(section: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    names = [name for name in dict.fromkeys([*first, *second]) if first.get(name) != second.get(name)]
    return [f"[{section}] {name}: {_show(first.get(name))} and {_show(second.get(name))}" for name in names]


def _rows(settings: Settings) -> dict[str, tuple[float | int | None, ...]]:
    """Return sizes and weights by group; a test size of 0 is the same as none."""
    return {
        row.name: (
            row.training_size,
            row.testing_size,
            *([row.test_size] if row.test_size else []),
            row.eweight,
            row.fweight,
            row.vweight,
        )
        for row in settings.groups.rows
    }


def _targets(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Return the options of the targets by name, line numbers left out."""
    skipped = ("name", "where")
    return {
        row.name: tuple(f"{key}={value}" for key, value in asdict(row).items() if key not in skipped)
        for row in settings.targets
    }


def _show(value: Any) -> str:
    return "not set" if value in (None, "", ()) else format_value(value)

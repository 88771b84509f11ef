"""The schema as a table: for each section its keys, for each key its type, default and meaning."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, get_type_hints

from fitsnap_nn.settings.architectures import architectures
from fitsnap_nn.settings.schema import Settings

# Sections of FitSNAP for solvers and descriptors that are not here, with what they belong to.
FOREIGN_SECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "ACE": "ACE descriptors",
        "ARD": "a linear solver",
        "BASIC_CALCULATOR": "a template of FitSNAP's code",
        "CUSTOM": "the calculator LAMMPSCUSTOM",
        "JAX": "a solver that FitSNAP does not have yet",
        "LASSO": "a linear solver",
        "NETWORK": "the calculator LAMMPSCUSTOM",
        "RIDGE": "a linear solver",
        "TEMPLATE": "a template of FitSNAP's code",
        "TRAINSHIFT": "FitSNAP's VASP scraper",
    }
)


@dataclass(frozen=True)
class Key:
    """One key of a section. ``attribute`` is its field in the section's dataclass, ``kind`` the field's annotation."""

    name: str
    attribute: str
    kind: Any
    default: Any
    doc: str
    unit: str
    choices: tuple[str, ...]
    minimum: float | None
    maximum: float | None
    no_effect: str

    @property
    def is_prefix(self) -> bool:
        """Whether every key of the file that starts with the name (less its ``*``) belongs to this one."""
        return self.name.endswith("*")


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and is_dataclass(kind)


@cache
def section_classes() -> Mapping[str, type]:
    """Dataclass of each section, by the section's name; ESHIFT, whose keys are elements, has none."""
    hints = get_type_hints(Settings)
    classes: dict[str, type] = {name.upper(): kind for name, kind in hints.items() if _is_section(kind)}
    return MappingProxyType({**classes, **architectures()})


@cache
def section_names() -> tuple[str, ...]:
    """All sections that mean something here, in the order of the schema."""
    plain = {"source", "folder", "text", "notices"}
    names: list[str] = []
    for field in fields(Settings):
        if field.name == "architectures":
            names += architectures()
        elif field.name not in plain:
            names.append(field.name.upper())
    return tuple(names)


@cache
def keys_of(section: str) -> Mapping[str, Key]:
    """Keys of a section by their name in an input file; empty for ESHIFT."""
    cls = section_classes().get(section)
    if cls is None:
        return MappingProxyType({})
    hints = get_type_hints(cls)
    keys = {}
    for field in fields(cls):
        if "doc" in field.metadata:
            name = field.metadata["key"] or field.name
            rest = {key: value for key, value in field.metadata.items() if key != "key"}
            keys[name] = Key(name, field.name, hints[field.name], field.default, **rest)
    return MappingProxyType(keys)


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """``Did you mean X?`` for the candidate nearest to a word, case aside; empty when none is near."""
    known = {candidate.lower(): candidate for candidate in candidates}
    near = difflib.get_close_matches(word.lower(), known, n=1)
    return f"Did you mean {known[near[0]]}?" if near else ""

"""Table of the schema: the keys of each section; type, default and description of each key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, get_type_hints

from fitsnap_nn.settings.architectures import BUILT_IN, architecture_names, load_architecture
from fitsnap_nn.settings.problems import did_you_mean as did_you_mean
from fitsnap_nn.settings.schema import Settings

# Sections of FitSNAP that have no effect here, with the solver, descriptor or tool that reads them.
FOREIGN_SECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "BASIC_CALCULATOR": "template in the FitSNAP sources",
        "JAX": "solver planned in FitSNAP",
        "NETWORK": "solver NETWORK, with which it is read as [PYTORCH] of the model CUSTOM",
        "TEMPLATE": "template in the FitSNAP sources",
        "TRAINSHIFT": "FitSNAP's VASP scraper",
    }
)
# Section of the descriptors of each calculator that has some.
DESCRIPTOR_SECTIONS: Mapping[str, str] = MappingProxyType({"LAMMPSSNAP": "BISPECTRUM", "LAMMPSPACE": "ACE"})


@dataclass(frozen=True)
class Key:
    """Key of a section; ``attribute`` is its field in the dataclass, ``kind`` the annotation of that field."""

    name: str
    attribute: str
    kind: Any
    default: Any
    doc: str
    unit: str
    choices: tuple[str, ...]
    minimum: float | None
    maximum: float | None
    limit_reason: str
    no_effect: str

    @property
    def is_prefix(self) -> bool:
        """Whether the name ends in ``*`` and therefore stands for every key that starts with the rest of it."""
        return self.name.endswith("*")


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and is_dataclass(kind)


@cache
def section_classes() -> Mapping[str, type]:
    """Return the dataclass of each section of this package, by section name.

    ESHIFT and TARGETS have none: their keys are elements and names. Sections of other packages are not included,
    so that nothing of those packages is imported; see ``keys_of``.
    """
    hints = get_type_hints(Settings)
    classes: dict[str, type] = {name.upper(): kind for name, kind in hints.items() if _is_section(kind)}
    return MappingProxyType({**classes, **BUILT_IN})


@cache
def section_names() -> tuple[str, ...]:
    """Return the names of all known sections in the order of the schema, those of other packages included."""
    plain = {"source", "folder", "text", "notices"}
    names: list[str] = []
    for field in fields(Settings):
        if field.name == "architectures":
            names += architecture_names()
        elif field.name not in plain:
            names.append(field.name.upper())
    return tuple(names)


@cache
def keys_of(section: str) -> Mapping[str, Key]:
    """Return the keys of a section by their name in an input file; empty for ESHIFT and TARGETS.

    Raises:
        ArchitectureError: the section belongs to another package, which cannot be imported.
    """
    cls = section_classes().get(section)
    if cls is None and section in architecture_names():
        cls = load_architecture(section)
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

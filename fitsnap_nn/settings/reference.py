"""docs/input.md: every section and key of an input file, made from the schema."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Any, get_args, get_origin

from fitsnap_nn.settings.fields import format_value
from fitsnap_nn.settings.keys import FOREIGN_SECTIONS, Key, keys_of, section_classes, section_names
from fitsnap_nn.settings.schema import LARGEST_SEED

INTRODUCTION = """# The input file

<!-- Made by `python -m fitsnap_nn.settings.generate` from fitsnap_nn/settings/schema.py: edit that. -->

Sections in brackets, `key = value` lines below them. Case counts in sections and keys, not in choices. A `#` after a
blank begins a comment. A line that is indented deeper than its key and has no `=` continues the value. Truth is any of
`1 yes true on` and `0 no false off`. A FitSNAP input for its PYTORCH solver means the same here; keys that only matter
to other solvers are accepted and said to be without effect.

On the command line `-k SECTION KEY VALUE` or `--set SECTION.KEY=VALUE` wins over the file. All mistakes are reported
at once, with their lines, before anything is computed: `python -m fitsnap_nn check Ta.in`.
"""

NOTES = {
    "BISPECTRUM": "`type` has no default: an input for SNAP without it is refused. Lists have one entry for each "
    "element.",
    "ESHIFT": "One key for each element: an energy in eV that is added to the labels for each of its atoms, before "
    "all else. 0 for elements that are not given.",
    "REFERENCE": "A key that begins with `pair_coeff` is one `pair_coeff` command, in the order of the file. With "
    "`pair_style = zero 10.0` and none of them, `pair_coeff * *` is understood.",
    "GROUPS": "Every other line is a row of the table, `Name = values`, one value for each column of `group_sections` "
    "but `name`.\n\n"
    "- The name is a folder or a file below `dataPath`; `*` and `?` stand for several groups. When `dataPath` is one "
    "XYZ file, the name is a `config_type` of its frames.\n"
    "- `training_size`, `testing_size`: how many configurations are trained on and held out. Up to 1 it is a fraction, "
    "above 1 a number of configurations; `int` in `group_types` makes 1 a number too. With the older single column "
    "`size`, what a fraction leaves is held out.\n"
    "- `eweight`, `fweight`, `vweight`: weights of the squared errors of energies (eV/atom), forces (eV/Å) and "
    "stresses (bar). A column that is missing is 1, 1 and 0.",
}


def reference_page() -> str:
    """The page, in Markdown."""
    parts = [INTRODUCTION]
    for section in section_names():
        parts.append(f"## [{section}]\n")
        cls = section_classes().get(section)
        if cls is not None and cls.__doc__:
            parts.append(f"{' '.join(cls.__doc__.replace('``', '`').split())}\n")
        if section in NOTES:
            parts.append(f"{NOTES[section]}\n")
        parts += _tables(section)
    parts.append("## Sections without effect\n")
    parts += [f"- `[{section}]`: {use}" for section, use in FOREIGN_SECTIONS.items()]
    return "\n".join(parts) + "\n"


def _tables(section: str) -> Iterator[str]:
    keys = keys_of(section).values()
    active = [key for key in keys if not key.no_effect]
    if active:
        yield "| key | value | default | unit | meaning |"
        yield "|---|---|---|---|---|"
        for key in active:
            yield f"| `{key.name}` | {_values(key)} | {_default(section, key)} | {key.unit} | {key.doc} |"
        yield ""
    idle: dict[str, list[str]] = {}
    for key in keys:
        if key.no_effect:
            idle.setdefault(key.no_effect, []).append(f"`{key.name}`")
    if idle:
        yield "Without effect:\n"
        yield from (f"- {', '.join(names)}: {reason}" for reason, names in idle.items())
        yield ""


def _default(section: str, key: Key) -> str:
    if (section, key.name) == ("BISPECTRUM", "type"):
        return "none"
    return f"`{format_value(key.default)}`" if key.default not in (None, "", ()) else ""


def _values(key: Key) -> str:
    """What may be written: the choices, or the type with its limits."""
    if key.choices:
        return ", ".join(f"`{choice}`" for choice in key.choices)
    return _kind(key.kind) + _limits(key)


def _kind(kind: Any) -> str:
    if isinstance(kind, UnionType):
        return _kind(get_args(kind)[0])
    if get_origin(kind) is tuple:
        return {str: "words", int: "whole numbers", float: "numbers"}[get_args(kind)[0]]
    return {bool: "0 or 1", int: "whole number", float: "number", str: "text"}[kind]


def _limits(key: Key) -> str:
    if key.maximum is not None and key.maximum != LARGEST_SEED:
        return f", {key.minimum or 0:g} to {key.maximum:g}"
    return f", {key.minimum:g} or more" if key.minimum is not None else ""

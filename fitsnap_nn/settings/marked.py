"""Input files with the keys marked that differ from their defaults, and what differs between inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from fitsnap_nn.settings.architectures import ArchitectureError
from fitsnap_nn.settings.fields import format_value, parse_value
from fitsnap_nn.settings.ini import read_ini
from fitsnap_nn.settings.keys import Key, keys_of
from fitsnap_nn.settings.problems import ValueProblem

Kind = Literal["changed", "default", "row", "no effect"]


class InputLine(NamedTuple):
    """One key of an input.

    Attributes:
        section, key, value: as in the input; words of the value are separated by one blank.
        kind: ``changed`` if the value differs from the default, ``default`` if it does not, ``row`` for keys without
            one (groups, targets, pair coefficients), and ``no effect``.
        default: text of the default; empty for a row.
        doc: description of the key.
    """

    section: str
    key: str
    value: str
    kind: Kind
    default: str = ""
    doc: str = ""


def marked_input(text: str) -> list[InputLine]:
    """Return the keys of an input in order.

    Args:
        text: text of the input, such as that of ``input.used.in``.
    """
    sections = read_ini(text, "input").sections
    return [
        _marked(section, key, " ".join(entry.value.split()))
        for section, entries in sections.items()
        for key, entry in entries.items()
    ]


def differing(texts: Sequence[str]) -> dict[str, list[str]]:
    """Return the values of the keys that differ between inputs, by ``[SECTION] key``.

    Args:
        texts: texts of the inputs.

    Returns:
        One value per input; that of an input without the key is its default, or ``-`` for keys without one.
    """
    inputs = [{(line.section, line.key): line for line in marked_input(text)} for text in texts]
    found = {}
    for section, key in dict.fromkeys(name for one in inputs for name in one):
        default = next(one[section, key].default for one in inputs if (section, key) in one) or "-"
        values = [one[section, key].value if (section, key) in one else default for one in inputs]
        if len({_normal(section, key, value) for value in values}) > 1:
            found[f"[{section}] {key}"] = values
    return found


def _marked(section: str, name: str, value: str) -> InputLine:
    key = _key(section, name)
    if key is None or key.is_prefix:
        return InputLine(section, name, value, "row", doc=key.doc if key else "")
    default = "None" if key.default is None else format_value(key.default)
    if key.no_effect:
        return InputLine(section, name, value, "no effect", default, key.no_effect)
    same = _normal(section, name, value) == default
    return InputLine(section, name, value, "default" if same else "changed", default, key.doc)


def _key(section: str, name: str) -> Key | None:
    try:
        keys: Mapping[str, Key] = keys_of(section)
    except ArchitectureError:  # of a package that is not installed here
        return None
    prefixes = (key for stem, key in keys.items() if key.is_prefix and name.startswith(stem[:-1]))
    return keys.get(name) or next(prefixes, None)


def _normal(section: str, name: str, value: str) -> str:
    """Return a value as `format_value` writes it, so that ``0.10`` and ``1e-1`` are the same."""
    key = _key(section, name)
    if key is None or key.is_prefix:
        return value
    try:
        return format_value(parse_value(value, key))
    except ValueProblem:  # of another version
        return value

"""Section PROPERTIES: labelled properties that are fitted besides energy, forces and stress.

Each line is ``name = per symmetry option=value ...``, for instance

    charge = per_atom scalar column=ref_charge unit=e weight=1.0 loss=mse

The two words and the options may be in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from fitsnap_nn.settings.fields import parse_number
from fitsnap_nn.settings.ini import Document, Entry
from fitsnap_nn.settings.losses import WITHOUT_DELTA, loss_name, parse_delta
from fitsnap_nn.settings.problems import ValueProblem, did_you_mean
from fitsnap_nn.settings.rows import PropertyRow

SECTION = "PROPERTIES"
EXAMPLE = "Use, for instance, charge = per_atom scalar column=ref_charge unit=e."
RESERVED = ("energy", "forces", "stress", "force")
PER: Mapping[str, str] = MappingProxyType({"per_atom": "atom", "per_configuration": "configuration"})
SYMMETRIES = ("scalar", "vector")


def _text(word: str) -> str:
    if not word:
        raise ValueProblem("has no value")
    return word


def _weight(word: str) -> float:
    weight = float(parse_number(word, float))
    if weight < 0:
        raise ValueProblem(f"{word} is negative")
    return weight


def _flag(word: str) -> bool:
    return bool(parse_number(word, bool))


OPTIONS: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "column": _text,
        "unit": _text,
        "weight": _weight,
        "loss": loss_name,
        "delta": parse_delta,
        "intensive": _flag,
    }
)


def read_properties(document: Document) -> tuple[PropertyRow, ...]:
    """Return the rows of the section; rows with problems are reported to the document and left out."""
    rows = (_read_row(document, name, entry) for name, entry in document.sections.get(SECTION, {}).items())
    return tuple(row for row in rows if row is not None)


def _read_row(document: Document, name: str, entry: Entry) -> PropertyRow | None:
    if name in RESERVED:
        what = "is always a property of the data: it cannot be defined again"
        document.report(SECTION, name, what, "Use [CALCULATOR] to fit it or not, or choose another name.")
    elif not name.isidentifier():
        hint = "Use letters, digits and underscores, with a letter first."
        document.report(SECTION, name, "is not a valid name", hint)
    words = [word for word in entry.value.split() if "=" not in word]
    pairs = [word.split("=", 1) for word in entry.value.split() if "=" in word]
    per = _one_of(document, name, words, tuple(PER))
    symmetry = _one_of(document, name, words, SYMMETRIES)
    for word in words:
        if word not in PER and word not in SYMMETRIES:
            hint = did_you_mean(word, [*PER, *SYMMETRIES]) or EXAMPLE
            document.report(SECTION, name, f"unknown word {word}", hint)
    values = _options(document, name, pairs)
    if not document.sound(SECTION, name):
        return None
    row = PropertyRow(name, PER[per], symmetry, values.pop("column", name), **values, where=entry.where)
    if row.intensive and row.per == "atom":
        document.report(SECTION, name, "intensive=1 applies to per_configuration only", "Remove intensive.")
    if row.delta is not None and row.loss in WITHOUT_DELTA:
        document.report(SECTION, name, f"delta has no effect: loss={row.loss} has none", "Remove delta.")
    return row


def _one_of(document: Document, name: str, words: list[str], choices: tuple[str, ...]) -> str:
    """Return the one word among the choices; none, or several, is reported."""
    found = [word for word in words if word in choices]
    if len(found) != 1 and all(word in (*PER, *SYMMETRIES) for word in words):
        what = f"{' and '.join(found)} exclude each other" if found else f"{' or '.join(choices)} is missing"
        document.report(SECTION, name, what, EXAMPLE)
    return found[0] if len(found) == 1 else ""


def _options(document: Document, name: str, pairs: list[list[str]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for option, word in pairs:
        if option not in OPTIONS:
            hint = did_you_mean(option, OPTIONS) or f"The options are {', '.join(OPTIONS)}."
            document.report(SECTION, name, f"unknown option {option}", hint)
        elif option in values:
            document.report(SECTION, name, f"option {option} is given twice", "Remove one.")
        else:
            try:
                values[option] = OPTIONS[option](word)
            except ValueProblem as problem:
                document.report(SECTION, name, f"{option}: {problem.what}", problem.hint)
    return values

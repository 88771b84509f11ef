"""Section TARGETS: labelled properties that are fitted besides energy, forces and stress.

Each line is ``name = per symmetry option=value ...``, for instance

    charge = per_atom scalar column=ref_charge unit=e weight=1.0 loss=mse

The two words and the options may be in any order. PROPERTIES is an earlier name of the section.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from fitsnap_nn.settings.fields import parse_number
from fitsnap_nn.settings.ini import COMMAND_LINE, Document, Entry
from fitsnap_nn.settings.losses import WITHOUT_DELTA, loss_name, parse_delta
from fitsnap_nn.settings.problems import ValueProblem, did_you_mean
from fitsnap_nn.settings.rows import SPHERICAL, SYMMETRIES, PropertyRow
from fitsnap_nn.settings.training import parse_scale

SECTION = "TARGETS"
EARLIER_NAME = "PROPERTIES"
EXAMPLE = "Use, for instance, charge = per_atom scalar column=ref_charge unit=e."
RESERVED = ("energy", "forces", "stress", "force")
OUTPUTS = ("energies", "features", "free_energy", "uncertainty")
PER: Mapping[str, str] = MappingProxyType({"per_atom": "atom", "per_configuration": "configuration"})
HEADS = ("mlp", "linear")
PARITIES: Mapping[str, bool] = MappingProxyType({"proper": False, "pseudo": True})
MAX_DEGREE = 8


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


def _degree(word: str) -> int:
    degree = int(parse_number(word, int))
    if not 0 <= degree <= MAX_DEGREE:
        raise ValueProblem(f"{word} is not a degree from 0 to {MAX_DEGREE}")
    return degree


def _choice(word: str, choices: Sequence[str]) -> str:
    if word.lower() not in choices:
        raise ValueProblem(f"'{word}' is none of {', '.join(choices)}", did_you_mean(word, choices))
    return word.lower()


# Option, field of `PropertyRow` and conversion.
OPTIONS: Mapping[str, tuple[str, Callable[[str], Any]]] = MappingProxyType(
    {
        "column": ("column", _text),
        "unit": ("unit", _text),
        "weight": ("weight", _weight),
        "loss": ("loss", loss_name),
        "delta": ("delta", parse_delta),
        "intensive": ("intensive", _flag),
        "lambda": ("degree", _degree),
        "parity": ("pseudo", lambda word: PARITIES[_choice(word, tuple(PARITIES))]),
        "head": ("head", lambda word: _choice(word, HEADS)),
        "per_structure": ("per_structure", _flag),
        "scale": ("scale", parse_scale),
    }
)


def merge_earlier_name(document: Document) -> None:
    """Move the lines of a section with the earlier name to TARGETS; a line in both is reported."""
    entries = document.sections.pop(EARLIER_NAME, None)
    header = document.headers.pop(EARLIER_NAME, "")
    if entries is None:
        return
    document.headers.setdefault(SECTION, header)
    rows = document.sections.setdefault(SECTION, {})
    for name, entry in entries.items():
        present = rows.get(name)
        if present and COMMAND_LINE not in (entry.where, present.where):
            what = f"also given in [{EARLIER_NAME}], an earlier name of this section, {entry.where}"
            document.report(SECTION, name, what, "Remove one.")
        if present is None or entry.where == COMMAND_LINE:
            rows[name] = entry


def read_targets(document: Document) -> tuple[PropertyRow, ...]:
    """Return the rows of the section; rows with problems are reported to the document and left out."""
    rows = (_read_row(document, name, entry) for name, entry in document.sections.get(SECTION, {}).items())
    return tuple(row for row in rows if row is not None)


def with_training_keys(
    rows: Sequence[PropertyRow], per_structure: Sequence[str], scales: Mapping[str, float]
) -> tuple[PropertyRow, ...]:
    """Return the rows with what ``per_structure_targets`` and ``fixed_scaling_weights`` of [PYTORCH] say of them."""
    return tuple(
        replace(
            row, per_structure=row.per_structure or row.name in per_structure, scale=scales.get(row.name, row.scale)
        )
        for row in rows
    )


def format_row(row: PropertyRow) -> str:
    """Return the words and options of a row; the inverse of reading it."""
    words = [f"per_{row.per}", row.symmetry]
    parities = {pseudo: word for word, pseudo in PARITIES.items()}
    for option, (name, _) in OPTIONS.items():
        value = getattr(row, name)
        if option == "parity":
            words.append(f"parity={parities[value]}")
        elif option == "lambda":
            words += [f"lambda={value}"] if row.symmetry == SPHERICAL else []
        elif value not in ("", None):
            words.append(f"{option}={int(value) if isinstance(value, bool) else value}")
    return " ".join(words)


def _read_row(document: Document, name: str, entry: Entry) -> PropertyRow | None:
    _check_name(document, name)
    words = [word for word in entry.value.split() if "=" not in word]
    pairs = [word.split("=", 1) for word in entry.value.split() if "=" in word]
    per = _one_of(document, name, words, tuple(PER))
    symmetry = _one_of(document, name, words, tuple(SYMMETRIES))
    for word in words:
        if word not in PER and word not in SYMMETRIES:
            hint = did_you_mean(word, [*PER, *SYMMETRIES]) or EXAMPLE
            document.report(SECTION, name, f"unknown word {word}", hint)
    values = _options(document, name, pairs)
    if not document.sound(SECTION, name):
        return None
    if (symmetry == SPHERICAL) != ("degree" in values):
        what = "spherical needs lambda=" if symmetry == SPHERICAL else "lambda= applies to spherical only"
        document.report(SECTION, name, what, "Use, for instance, quadrupole = per_atom spherical lambda=2.")
    row = PropertyRow(name, PER[per], symmetry, values.pop("column", name), **values, where=entry.where)
    for option in ("intensive", "per_structure"):
        if getattr(row, option) and row.per == "atom":
            document.report(SECTION, name, f"{option}=1 applies to per_configuration only", f"Remove {option}.")
    if row.intensive and row.per_structure:
        document.report(SECTION, name, "per_structure=1 has no effect with intensive=1", "Remove one of the two.")
    if row.delta is not None and row.loss in WITHOUT_DELTA:
        document.report(SECTION, name, f"delta has no effect: loss={row.loss} has none", "Remove delta.")
    return row


def _check_name(document: Document, name: str) -> None:
    if name in RESERVED:
        what = "is always a property of the data: it cannot be defined again"
        document.report(SECTION, name, what, "Use [CALCULATOR] to fit it or not, or choose another name.")
    elif name in OUTPUTS:
        document.report(SECTION, name, "is the name of another output of a potential", "Choose another name.")
    elif not name.isidentifier():
        hint = "Use letters, digits and underscores, with a letter first."
        document.report(SECTION, name, "is not a valid name", hint)


def _one_of(document: Document, name: str, words: list[str], choices: tuple[str, ...]) -> str:
    """Return the one word among the choices; none, or several, is reported."""
    found = [word for word in words if word in choices]
    if len(found) != 1 and all(word in (*PER, *SYMMETRIES) for word in words):
        listed = f"{', '.join(choices[:-1])} or {choices[-1]}"
        what = f"{' and '.join(found)} exclude each other" if found else f"{listed} is missing"
        document.report(SECTION, name, what, EXAMPLE)
    return found[0] if len(found) == 1 else ""


def _options(document: Document, name: str, pairs: list[list[str]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for option, word in pairs:
        field, convert = OPTIONS.get(option, ("", _text))
        if not field:
            hint = did_you_mean(option, OPTIONS) or f"The options are {', '.join(OPTIONS)}."
            document.report(SECTION, name, f"unknown option {option}", hint)
        elif field in values:
            document.report(SECTION, name, f"option {option} is given twice", "Remove one.")
        else:
            try:
                values[field] = convert(word)
            except ValueProblem as problem:
                document.report(SECTION, name, f"{option}: {problem.what}", problem.hint)
    return values

"""pair_style and pair_coeff commands for a model together with its reference potential."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fitsnap_nn.settings.schema import Reference

ZERO_OPTIONS = ("nocoeff", "full")


class ModelStyle(NamedTuple):
    """Pair style of a model.

    Attributes:
        name: ``mliap`` or ``snap``.
        arguments: arguments of the ``pair_style`` command.
        files: arguments of its ``pair_coeff`` command before the elements.
    """

    name: str
    arguments: str = ""
    files: str = ""


def pair_commands(
    reference: Reference, own: ModelStyle, elements: Sequence[str], place: Mapping[str, str]
) -> list[str]:
    """Return the commands for a model overlaid on a reference potential.

    ``hybrid`` assigns one style to each pair of types; ``hybrid/overlay`` sums styles. ``hybrid`` is therefore changed
    to ``hybrid/overlay``, which is equivalent unless two styles are given for one pair of types. ``zero`` contributes
    nothing but a longer neighbour list and is removed.

    Args:
        reference: reference potential.
        own: pair style of the model.
        elements: chemical symbols in the order of atom types.
        place: replacements of words of the reference, such as file names.

    Returns:
        Commands in the order of the input file.
    """
    style, *words = shlex.split(reference.pair_style)
    coefficients = [shlex.split(line) for line in reference.pair_coeff]
    if style.startswith("hybrid"):
        words = _without_zero(words, scaled=style == "hybrid/scaled")
        coefficients = [line for line in coefficients if line[2:3] != ["zero"]]
        style = "hybrid/overlay" if style == "hybrid" else style
    else:
        words = [] if style in ("zero", "none") else [style, *words]
        coefficients = [[*line[:2], style, *line[2:]] for line in coefficients]
        style = "hybrid/overlay"
    model = f"{own.name} {own.arguments}".strip()
    symbols = f"{own.files} {' '.join(elements)}".strip()

    def joined(arguments: Sequence[str]) -> str:
        return " ".join(place.get(word, word) for word in arguments)

    if not words:
        return [f"pair_style {model}", f"pair_coeff * * {symbols}"]

    # hybrid/scaled has a factor before each style. Styles that occur several times are numbered in pair_coeff.
    factor = "1.0 " if style == "hybrid/scaled" else ""
    occurrences = words.count(own.name)
    if occurrences == 1:
        coefficients = [[*line[:3], "1", *line[3:]] if line[2] == own.name else line for line in coefficients]
    number = f" {occurrences + 1}" if occurrences else ""
    return [
        f"pair_style {style} {joined(words)} {factor}{model}",
        *(f"pair_coeff {joined(line)}" for line in coefficients),
        f"pair_coeff * * {own.name}{number} {symbols}",
    ]


def reference_styles(reference: Reference) -> list[str]:
    """Return the names of the pair styles of a reference potential, without ``zero``."""
    style, *_ = shlex.split(reference.pair_style) or ["none"]
    if not style.startswith("hybrid"):
        return [] if style in ("zero", "none") else [style]
    named = [shlex.split(line)[2:3] for line in reference.pair_coeff]
    return list(dict.fromkeys(word for words in named for word in words if word not in ("zero", "none")))


def _without_zero(words: Sequence[str], scaled: bool) -> list[str]:
    """Return the arguments of a hybrid style without ``zero``, its cutoff, its options and, if scaled, its factor."""
    kept: list[str] = []
    rest = iter(words)
    pending = next(rest, None)
    while pending is not None:
        if pending == "zero":
            if scaled:
                kept.pop()
            next(rest, None)
            pending = next(rest, None)
            while pending in ZERO_OPTIONS:
                pending = next(rest, None)
        else:
            kept.append(pending)
            pending = next(rest, None)
    return kept

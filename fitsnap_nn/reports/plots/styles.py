"""Colours and markers, chosen so that they differ in grey and for the colour-blind too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

INK, GREY = "#222222", "#8c8c8c"

# Colours of M. Okabe and K. Ito (Color Universal Design, 2008) without yellow, which is too light for points on white,
# and with a dark grey for black. Their luminances differ, so that they can be told apart in grey.
COLOURS = ("#0072b2", "#e69f00", "#444444", "#56b4e9", "#d55e00", "#009e73", "#cc79a7")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MAX_GROUPS = len(COLOURS) * len(MARKERS) - 1
OTHERS = "#b0b0b0"


class GroupStyle(NamedTuple):
    """How the points of a group are drawn."""

    name: str
    colour: str
    marker: str


class SetStyle(NamedTuple):
    """How the errors and lines of a set are drawn.

    Attributes:
        colour: of lines and symbols.
        marker: of errors by group.
        line: line style of matplotlib.
        size: diameter of points, points.
        alpha: opacity of points.
        edge: colour of the edge of points.
    """

    colour: str
    marker: str
    line: Any
    size: float
    alpha: float
    edge: str


SET_STYLES = MappingProxyType(
    {
        "Train": SetStyle("#7a9fbf", "o", (0, (4, 1.5)), 2.6, 0.45, "none"),
        "Validation": SetStyle("#b02a3c", "D", "-", 4.6, 0.85, "none"),
        "Test": SetStyle("#1f5f3a", "^", (0, (1, 1)), 4.8, 0.95, "black"),
        "Unknown": SetStyle("#6a3d7c", "s", "-.", 3.5, 0.8, "none"),
    }
)


SET_NAMES = MappingProxyType({"Train": "training", "Validation": "validation", "Test": "test", "Unknown": "unknown"})


def group_styles(groups: Iterable[str]) -> dict[str, GroupStyle]:
    """Return the style of each group; a combination of colour and marker occurs once.

    Beyond `MAX_GROUPS` groups, those with the fewest configurations share one style.

    Args:
        groups: group of each configuration.
    """
    counts = Counter(groups)
    own = {name for name, _ in counts.most_common(MAX_GROUPS)}
    styles, number = {}, 0
    for name in counts:
        if name in own:
            shift = number // len(COLOURS)
            marker = MARKERS[(number + shift) % len(MARKERS)]
            styles[name] = GroupStyle(name, COLOURS[number % len(COLOURS)], marker)
            number += 1
        else:
            styles[name] = GroupStyle(f"{len(counts) - len(own)} smaller groups", OTHERS, ".")
    return styles


def distinct(styles: Iterable[GroupStyle]) -> Sequence[GroupStyle]:
    """Return the entries of a legend."""
    return list(dict.fromkeys(styles))

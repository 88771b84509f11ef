"""Errors of each group and set, with the RMS of the labels as yardstick; one column per property."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fitsnap_nn.reports.errors_table import ALL, ROUNDING_SPREAD, ErrorRow
from fitsnap_nn.reports.fit_record import FitRecord, groups_of
from fitsnap_nn.reports.plots.sheet import CHARACTER, HEADING, LEGEND_LINE, MARGIN, SMALL, TEXT, Sheet, shorten
from fitsnap_nn.reports.plots.styles import GREY, INK, SET_NAMES, SET_STYLES
from fitsnap_nn.reports.predicted import Predicted, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINE, PANEL, GAP = 0.2, 2.9, 0.25  # inches
LONGEST = 30  # characters of the name of a group
DECADES = 6  # at most; errors that vanish by symmetry are cut off
BAR = "#dddddd"


def draw_by_group(record: FitRecord) -> Sheet | None:
    """Return the picture; ``None`` without labels.

    Args:
        record: the fit.
    """
    shown = list(record.predicted.values.values())
    groups = groups_of(record.errors)
    if not shown or not groups:
        return None
    counts = Counter(record.predicted.groups)
    names = [_name(group, counts) for group in groups]
    labels = min(LONGEST + 8, max(map(len, names))) * CHARACTER + 0.15
    width = max(MARGIN * 2 + labels + (PANEL + GAP) * len(shown), 7.5)
    height = LINE * len(groups) + 0.1
    top = HEADING + LEGEND_LINE + 0.4
    sheet = Sheet(width, top + height + 0.6)
    sheet.heading("Errors by group (RMSE)", record, "configurations of each group in brackets")
    for number, values in enumerate(shown):
        left = MARGIN + labels + (PANEL + GAP) * number
        axes = sheet.axes(left, top, PANEL, height, ylim=(len(groups) - 0.45, -0.55))
        _draw_property(axes, values, record, groups)
        axes.set_yticks(range(len(groups)), names if number == 0 else [""] * len(groups), fontsize=TEXT)
        axes.tick_params(axis="y", length=0)
    _draw_legend(sheet, HEADING + 0.02, record)
    return sheet


def rms_of_labels(predicted: Predicted, values: Values, subset: str = "") -> Mapping[str, float]:
    """Return the root mean square of the labels by group and over all, in report units.

    Energies are those without element energies. For very large data it is estimated from a sample.

    Args:
        predicted: labels of all configurations.
        values: the property.
        subset: set whose labels are used; all by default.
    """
    chosen = np.array([not subset or one == subset for one in predicted.sets])[values.owner]
    if not chosen.any():
        return {}
    squares, weight = np.square(values.target[chosen]).mean(axis=1), values.weight[chosen]
    groups = np.array(predicted.groups)[values.owner[chosen]]

    def mean(of: np.typing.NDArray[np.bool_]) -> float:
        return float(np.sqrt(np.average(squares[of], weights=weight[of])))

    found = {group: mean(groups == group) for group in dict.fromkeys(groups.tolist())}
    return {ALL: mean(np.full(len(groups), True)), **found}


def _draw_property(axes: Axes, values: Values, record: FitRecord, groups: Sequence[str]) -> None:
    rows = [row for row in record.errors if row.property == values.title]
    factor, noise = values.display_factor, ROUNDING_SPREAD * values.display_factor
    rms = {group: factor * value for group, value in rms_of_labels(record.predicted, values).items()}
    errors = [factor * row.rmse for row in rows]
    low, high = decades([*errors, *(value for value in rms.values() if value > noise)])
    axes.set(xscale="log", xlim=(low, high))
    bars = [(number, rms[group]) for number, group in enumerate(groups) if rms.get(group, 0) > noise]
    axes.barh([one for one, _ in bars], [value for _, value in bars], 0.72, color=BAR, zorder=1)
    axes.plot([value for _, value in bars], [one for one, _ in bars], "|", color="#444444", ms=9, mew=1.4, zorder=2)
    for name, style in SET_STYLES.items():
        _draw_set(axes, [row for row in rows if row.subset == name], groups, factor, low, style.colour, style.marker)
    axes.axhline(0.5, color=GREY, lw=0.8)
    unit = f" ({values.display_unit})" if values.display_unit else ""
    axes.set_xlabel(f"RMSE{unit}", fontsize=TEXT, color=INK)
    note = f", {values.note}" if values.note else ""
    axes.set_title(f"{values.title}{note}", fontsize=TEXT + 1, color=INK, loc="left")
    axes.xaxis.set_minor_formatter("")


def _draw_set(
    axes: Axes, rows: Sequence[ErrorRow], groups: Sequence[str], factor: float, low: float, colour: str, marker: str
) -> None:
    """Draw the errors of a set; those below the axis as a triangle at its edge."""
    heights = np.array([groups.index(row.group) for row in rows])
    errors = np.array([factor * row.rmse for row in rows])
    filled = "none" if marker == "o" else colour  # hollow, so that symbols that overlap are both seen
    if (inside := errors >= low).any():
        axes.plot(
            errors[inside],
            heights[inside],
            marker,
            ms=8 if marker == "o" else 6,
            mfc=filled,
            mec=colour,
            mew=1.3,
            zorder=4,
            ls="none",
        )
    if not inside.all():
        axes.plot(
            np.full((~inside).sum(), 1.15 * low), heights[~inside], "<", ms=5, color=colour, zorder=4, clip_on=False
        )


def decades(values: Sequence[float]) -> tuple[float, float]:
    """Return powers of ten, or three times these, around positive values; at most six decades."""
    positive = [value for value in values if 0 < value < np.inf] or [1.0]
    ends = [10.0**power * factor for power in range(-30, 31) for factor in (1, 3)]
    highest = min(end for end in ends if end > 1.05 * max(positive)) if max(positive) < 1e30 else max(positive)
    lowest = max(max((end for end in ends if end < 0.95 * min(positive)), default=1e-30), highest / 10**DECADES)
    return lowest, highest


def _name(group: str, counts: Mapping[str, int]) -> str:
    if group == ALL:
        return f"all groups ({sum(counts.values())})"
    return f"{shorten(group, LONGEST)} ({counts[group]})"


def _draw_legend(sheet: Sheet, top: float, record: FitRecord) -> None:
    width = sheet.width - 2 * MARGIN
    axes = sheet.axes(MARGIN, top, width, LEGEND_LINE, xlim=(0, width), ylim=(0, 1))
    axes.set_axis_off()
    for number, name in enumerate(record.sets):
        style, x = SET_STYLES[name], 0.08 + 1.2 * number
        filled = "none" if style.marker == "o" else style.colour
        axes.plot([x], [0.5], style.marker, ms=6, mfc=filled, mec=style.colour, mew=1.3)
        axes.text(x + 0.14, 0.5, f"{SET_NAMES[name]} set", fontsize=SMALL + 0.5, va="center", color=INK)
    x = 0.08 + 1.2 * len(record.sets)
    axes.barh([0.5], [0.3], 0.7, left=[x], color=BAR)
    axes.plot([x + 0.3], [0.5], "|", color="#444444", ms=9, mew=1.4)
    text = "RMS of the labels of the group: the error of a model that has learned nothing"
    axes.text(x + 0.42, 0.5, text, fontsize=SMALL, va="center", color=INK)

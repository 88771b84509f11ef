"""Predictions against labels, with the residuals below, one column per property."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fitsnap_nn.errors import counted
from fitsnap_nn.reports.errors_table import ALL, digits
from fitsnap_nn.reports.fit_record import FitRecord
from fitsnap_nn.reports.plots.ranges import clipped, outside, robust_limits
from fitsnap_nn.reports.plots.sheet import HEADING, LEGEND_LINE, MARGIN, SMALL, TEXT, Sheet, legend_height, shorten
from fitsnap_nn.reports.plots.styles import GREY, INK, SET_NAMES, SET_STYLES, GroupStyle, distinct, group_styles
from fitsnap_nn.reports.predicted import Integers, Predicted, Values, sample
from fitsnap_nn.reports.results import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_POINTS = 12_000  # components per panel; more make a black area that takes seconds to draw
NAMED = 3  # configurations with the largest errors that are named
COLUMN, SQUARE, RESIDUALS = 3.9, 3.05, 1.3  # inches
LEFT, GAP = 0.78, 0.12
LIST = 0.16  # height of a line of the list below a panel


class Points(NamedTuple):
    """Components that are drawn.

    Attributes:
        label, model: in report units.
        residual: model minus label, in display units.
        owner, atom: configuration and atom of each.
    """

    label: Floats
    model: Floats
    residual: Floats
    owner: Integers
    atom: Integers


def draw_parity(record: FitRecord) -> Sheet | None:
    """Return the picture; ``None`` without labels.

    Args:
        record: the fit.
    """
    shown = list(record.predicted.values.values())
    if not shown:
        return None
    styles = group_styles(record.predicted.groups)
    legend = distinct(styles.values())
    width = max(MARGIN + LEFT + COLUMN * (len(shown) - 1) + SQUARE + 0.4, 7.5)
    lists = 0.6 + LIST * (NAMED + 3)
    panels = HEADING + 0.25 + SQUARE + GAP + RESIDUALS + lists
    sheet = Sheet(width, panels + LEGEND_LINE + 0.15 + legend_height(width, legend) + MARGIN)
    left_out = record.predicted.left_out
    remark = f" · {counted(left_out, 'configuration')} without weight left out" if left_out else ""
    sheet.heading("Parity: predictions against labels", record, f"{_set_names(record)}{remark}")
    for number, values in enumerate(shown):
        _draw_property(sheet, MARGIN + LEFT - 0.25 + COLUMN * number, values, record, styles)
    _draw_sets(sheet, panels, record)
    sheet.legend(panels + LEGEND_LINE + 0.1, legend)
    return sheet


def points_of(values: Values) -> Points:
    """Return the components to draw: all, or a fixed sample that contains the largest errors."""
    components = values.target.shape[1]
    residual = values.residual.ravel()
    chosen, _ = sample(np.abs(residual), MAX_POINTS)
    owner, atom = (np.repeat(one, components)[chosen] for one in (values.owner, values.atom))
    return Points(values.target.ravel()[chosen], values.model.ravel()[chosen], residual[chosen], owner, atom)


def scatter(
    axes: Axes, x: Floats, y: Floats, owner: Integers, predicted: Predicted, styles: Mapping[str, GroupStyle]
) -> None:
    """Draw points in the colours and with the markers of their groups, those of each set in the style of the set.

    The order within a set is random, but fixed, so that no group hides another.
    """
    groups, sets = np.array(predicted.groups)[owner], np.array(predicted.sets)[owner]
    order = np.random.default_rng(0).permutation(len(owner))
    for layer, (name, style) in enumerate(SET_STYLES.items()):
        of_set = order[sets[order] == name]
        for marker in dict.fromkeys(one.marker for one in styles.values()):
            members = [group for group, one in styles.items() if one.marker == marker]
            chosen = of_set[np.isin(groups[of_set], members)]
            if len(chosen):
                colours = [styles[group].colour for group in groups[chosen]]
                options: dict[str, Any] = {"edgecolors": style.edge, "linewidths": 0.7 if style.edge != "none" else 0}
                options |= {"marker": marker, "alpha": style.alpha, "zorder": 3 + layer}
                axes.scatter(x[chosen], y[chosen], style.size**2, colours, **options)


def _draw_property(
    sheet: Sheet, left: float, values: Values, record: FitRecord, styles: Mapping[str, GroupStyle]
) -> None:
    points, top = points_of(values), HEADING + 0.25
    both = robust_limits(np.concatenate([points.label, points.model]))
    upper = sheet.axes(left, top, SQUARE, SQUARE, xlim=both, ylim=both)
    upper.plot(both, both, color=GREY, lw=0.8, zorder=1)
    scatter(upper, clipped(points.label, both), clipped(points.model, both), points.owner, record.predicted, styles)
    beyond = outside(points.label, both) | outside(points.model, both)
    _mark_outliers(upper, points.label, points.model, beyond, both, both)
    note = f", {values.note}" if values.note else ""
    upper.set_title(f"{values.title}{note}", fontsize=TEXT + 1, color=INK, loc="left")
    upper.set_ylabel(_with_unit("model", values.unit), fontsize=TEXT, color=INK)
    upper.tick_params(labelbottom=False)
    upper.locator_params(nbins=5)
    _write_errors(upper, values, record)
    limits = robust_limits(np.concatenate([points.residual, -points.residual]))
    lower = sheet.axes(left, top + SQUARE + GAP, SQUARE, RESIDUALS, xlim=both, ylim=limits)
    lower.axhline(0, color=GREY, lw=0.8, zorder=1)
    x, y = clipped(points.label, both), clipped(points.residual, limits)
    scatter(lower, x, y, points.owner, record.predicted, styles)
    _mark_outliers(lower, points.label, points.residual, outside(points.residual, limits), both, limits)
    lower.set_xlabel(_with_unit("label", values.unit), fontsize=TEXT, color=INK)
    lower.set_ylabel(f"model − label\n({values.display_unit})".replace("\n()", ""), fontsize=TEXT, color=INK)
    lower.locator_params(nbins=5)
    largest = _largest(points)
    for rank, number in enumerate(largest, start=1):
        _number(lower, rank, x[number], y[number], both)
    below = top + SQUARE + GAP + RESIDUALS + 0.5
    hidden = int(beyond.sum()), int(outside(points.residual, limits).sum())
    sheet.text(left - 0.5, below, "\n".join(_list(values, points, largest, hidden, record)), linespacing=1.4)


def _number(axes: Axes, rank: int, x: float, y: float, limits: tuple[float, float]) -> None:
    """Write the number of a large error beside its point, towards the middle of the panel."""
    from matplotlib.patheffects import withStroke

    shift = -9 if x > sum(limits) / 2 else 4
    outline = [withStroke(linewidth=2.5, foreground="white")]
    options: dict[str, Any] = {
        "fontsize": TEXT,
        "weight": "bold",
        "va": "center",
        "zorder": 12,
        "path_effects": outline,
    }
    axes.annotate(str(rank), (x, y), (shift, 0), textcoords="offset points", **options)


def _mark_outliers(
    axes: Axes,
    x: Floats,
    y: Floats,
    beyond: np.typing.NDArray[np.bool_],
    x_limits: tuple[float, float],
    y_limits: tuple[float, float],
) -> None:
    """Draw an open triangle at the edge for each point outside the axes, pointing to where it is."""
    left = beyond.copy()
    for marker, chosen in (
        ("^", y > y_limits[1]), ("v", y < y_limits[0]), (">", x > x_limits[1]), ("<", x < x_limits[0]),
    ):  # fmt: skip
        here = left & chosen
        left &= ~here
        if here.any():
            at = clipped(x[here], x_limits), clipped(y[here], y_limits)
            axes.plot(*at, marker, ms=7, mfc="none", mec=INK, mew=0.8, ls="none", zorder=9)


def _write_errors(axes: Axes, values: Values, record: FitRecord) -> None:
    lines = []
    for row in record.errors:
        if row.group == ALL and row.property == values.title:
            mae, rmse = (digits(one * values.display_factor) for one in (row.mae, row.rmse))
            lines.append(f"{SET_NAMES[row.subset]}: RMSE {rmse}, MAE {mae} {values.display_unit}")
    options: dict[str, Any] = {"fontsize": SMALL, "va": "top", "linespacing": 1.35, "color": INK, "zorder": 10}
    box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5}
    axes.text(0.025, 0.98, "\n".join(lines), transform=axes.transAxes, bbox=box, **options)


def _largest(points: Points) -> list[int]:
    """Return the point with the largest error of each of the configurations with the largest errors."""
    order = np.argsort(-np.nan_to_num(np.abs(points.residual), nan=np.inf), kind="stable")
    found: dict[int, int] = {}
    for number in order[:5000]:
        found.setdefault(int(points.owner[number]), int(number))
        if len(found) == NAMED:
            break
    return list(found.values())


def _list(values: Values, points: Points, largest: list[int], hidden: tuple[int, int], record: FitRecord) -> list[str]:
    """Return the lines below a column: the largest errors by name, and what is not shown."""
    lines = [f"largest errors ({values.display_unit}):" if values.display_unit else "largest errors:"]
    for rank, number in enumerate(largest, start=1):
        atom = f", atom {points.atom[number]}" if values.per_atom else ""
        name = shorten(record.predicted.names[points.owner[number]], 44 - len(atom))
        lines.append(f"{rank}  {_signed(points.residual[number])}  {name}{atom}")
    remarks = [f"triangles: {hidden[0]} above and {hidden[1]} below are outside the axes"] if any(hidden) else []
    count, total = len(points.label), values.total * values.target.shape[1]
    if count < total:
        remarks.append(f"{count:,} of {total:,} shown, largest errors included")
    return [*lines, *remarks]


def _signed(value: float) -> str:
    return f"{value:+,.0f}" if abs(value) >= 100 else f"{value:+.3g}"


def _with_unit(text: str, unit: str) -> str:
    return f"{text} ({unit})" if unit else text


def _draw_sets(sheet: Sheet, top: float, record: FitRecord) -> None:
    """Draw the legend of the sets."""
    width = sheet.width - 2 * MARGIN
    axes = sheet.axes(MARGIN, top, width, LEGEND_LINE, xlim=(0, width), ylim=(0, 1))
    axes.set_axis_off()
    for number, name in enumerate(record.sets):
        style = SET_STYLES[name]
        edge = style.edge if style.edge != "none" else "none"
        x = 0.08 + 1.5 * number
        axes.plot([x], [0.5], "o", color="#555555", ms=style.size, alpha=style.alpha, mec=edge, mew=0.7)
        axes.text(x + 0.14, 0.5, f"{SET_NAMES[name]} set", fontsize=SMALL + 0.5, va="center", color=INK)


def _set_names(record: FitRecord) -> str:
    names = [SET_NAMES[name] for name in record.sets]
    listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return f"{listed} set{'s' if len(names) > 1 else ''}"

"""Histograms of the residuals, one panel per property."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fitsnap_nn.reports.fit_record import FitRecord
from fitsnap_nn.reports.plots.ranges import robust_limits
from fitsnap_nn.reports.plots.sheet import HEADING, MARGIN, SMALL, TEXT, Sheet
from fitsnap_nn.reports.plots.styles import GREY, INK, SET_NAMES, SET_STYLES
from fitsnap_nn.reports.predicted import Values
from fitsnap_nn.reports.results import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL, HEIGHT, LEFT, GAP = 3.0, 2.6, 0.75, 0.95  # inches
BINS = 41


def draw_residuals(record: FitRecord) -> Sheet | None:
    """Return the picture; ``None`` without labels.

    Args:
        record: the fit.
    """
    shown = list(record.predicted.values.values())
    if not shown:
        return None
    width = max(LEFT + (PANEL + GAP) * len(shown) - GAP + MARGIN, 7.5)
    sheet = Sheet(width, HEADING + 0.3 + HEIGHT + 1.3)
    sheet.heading("Residuals: model − label", record, "share of the components of each set")
    for number, values in enumerate(shown):
        left = LEFT + (PANEL + GAP) * number
        axes = sheet.axes(left, HEADING + 0.3, PANEL, HEIGHT)
        lines = _draw_property(axes, values, record)
        sheet.text(left, HEADING + 0.3 + HEIGHT + 0.48, "\n".join(lines), linespacing=1.35)
        if number == 0:
            axes.set_ylabel("share per bin", fontsize=TEXT, color=INK)
            if lines:
                axes.legend(fontsize=SMALL, frameon=False, loc="upper left", handlelength=2.6, borderaxespad=0.1)
    return sheet


def _draw_property(axes: Axes, values: Values, record: FitRecord) -> list[str]:
    """Draw the histograms; return a line with the bias and the width of each set."""
    residual = values.residual
    finite = residual[np.isfinite(residual)]
    low, high = robust_limits(np.concatenate([finite, -finite]))
    edges = np.linspace(low, high, BINS + 1)
    sets = np.array(record.predicted.sets)[values.owner]
    lines, beyond = [], 0.0
    for name in record.sets:
        of_set, weight = residual[sets == name].ravel(), np.repeat(values.weight[sets == name], residual.shape[1])
        of_set, weight = of_set[np.isfinite(of_set)], weight[np.isfinite(of_set)]
        if not len(of_set):
            continue
        style = SET_STYLES[name]
        counts, _ = np.histogram(np.clip(of_set, low, high), edges, weights=weight)
        beyond += float(weight[np.abs(of_set) > high].sum())
        options: dict[str, Any] = {
            "color": style.colour,
            "ls": style.line,
            "lw": 1.7,
            "label": f"{SET_NAMES[name]} set",
        }
        axes.stairs(counts / weight.sum(), edges, fill=name == "Train", alpha=0.35 if name == "Train" else 1, **options)
        if name == "Train":
            axes.stairs(counts / weight.sum(), edges, color=style.colour, lw=1)
        mean, middle = np.average(of_set, weights=weight), weighted_median(np.abs(of_set), weight)
        lines.append(f"{SET_NAMES[name]}: mean {mean:+.3g}, half within ±{middle:.3g} {values.display_unit}")
    axes.axvline(0, color=GREY, lw=0.8, zorder=1)
    axes.set(yscale="log" if lines else "linear", xlim=(low, high))
    note = f", {values.note}" if values.note and values.name == "stress" else ""
    axes.set_title(f"{values.title}{note}", fontsize=TEXT + 1, color=INK, loc="left")
    axes.set_xlabel(f"model − label ({values.display_unit})".replace(" ()", ""), fontsize=TEXT, color=INK)
    axes.locator_params(axis="x", nbins=5)
    lines += [f"outermost bins: {beyond:.0f} residuals beyond the axis"] if beyond else []
    return [*lines, f"estimated from {len(values.owner):,} of {values.total:,} atoms"] if values.is_sample else lines


def weighted_median(values: Floats, weight: Floats) -> float:
    """Return the value below which half of the weight is.

    Args:
        values, weight: (N,) values, and how often each occurs.
    """
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(total, 0.5 * total[-1])])

"""Learning curves of several fits: validation errors against the epoch, one panel per property."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fitsnap_nn.reports.epochs import EpochRow
from fitsnap_nn.reports.fit_record import FitRecord
from fitsnap_nn.reports.plots.sheet import MARGIN, SMALL, TEXT, TITLE, Sheet, shorten
from fitsnap_nn.reports.plots.styles import COLOURS, INK

PANEL, HEIGHT, LEFT, GAP, TOP = 3.1, 2.6, 0.75, 0.85, 0.75  # inches
LINES = ("-", (0, (4, 1.5)), (0, (1, 1)), "-.")
LONGEST = 46  # characters of the name of a fit


def draw_compared(fits: Sequence[tuple[str, FitRecord, Sequence[EpochRow]]]) -> Sheet | None:
    """Return the picture; ``None`` if no fit has validation errors.

    Args:
        fits: name, description and epochs of each fit.

    Raises:
        ImportError: matplotlib is not installed.
    """
    panels: dict[tuple[str, str], list[tuple[int, str, list[int], list[float]]]] = {}
    for number, (label, record, epochs) in enumerate(fits):
        for column, (title, unit) in enumerate(record.properties):
            rows = [(row.epoch, row.rmse[column]) for row in epochs if column < len(row.rmse)]
            if any(value > 0 for _, value in rows):
                line = (number, label, [epoch for epoch, _ in rows], [value for _, value in rows])
                panels.setdefault((title, unit), []).append(line)
    if not panels:
        return None
    width = max(LEFT + (PANEL + GAP) * len(panels) - GAP + MARGIN, 7.5)
    sheet = Sheet(width, TOP + HEIGHT + 0.65 + 0.19 * len(fits) + 0.1)
    sheet.text(MARGIN, 0.12, "Validation RMSE", TITLE, weight="bold")
    for number, ((title, unit), lines) in enumerate(panels.items()):
        axes = sheet.axes(LEFT + (PANEL + GAP) * number, TOP, PANEL, HEIGHT)
        for fit, _, epochs_of_fit, values in lines:
            marker = "o" if len(values) <= 25 else ""
            style = LINES[(fit + fit // len(COLOURS)) % len(LINES)]
            axes.plot(epochs_of_fit, values, color=COLOURS[fit % len(COLOURS)], ls=style, lw=1.5, marker=marker, ms=3.5)
        axes.set_yscale("log")
        axes.locator_params(axis="x", integer=True)
        axes.set_title(f"{title} ({unit})".replace(" ()", ""), fontsize=TEXT + 1, color=INK, loc="left")
        axes.set_xlabel("epoch", fontsize=TEXT, color=INK)
    top = TOP + HEIGHT + 0.6
    legend = sheet.axes(MARGIN, top, 6.0, 0.19 * len(fits), xlim=(0, 6), ylim=(len(fits), 0))
    legend.set_axis_off()
    for number, (label, _, _) in enumerate(fits):
        style = LINES[(number + number // len(COLOURS)) % len(LINES)]
        legend.plot([0.1, 0.6], np.full(2, number + 0.5), color=COLOURS[number % len(COLOURS)], ls=style, lw=1.7)
        legend.text(0.7, number + 0.5, shorten(label, LONGEST), fontsize=SMALL + 0.5, va="center", color=INK)
    return sheet

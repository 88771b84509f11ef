"""Error of the force on each atom against the magnitude of its label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fitsnap_nn.data.properties import FORCES
from fitsnap_nn.reports.fit_record import FitRecord
from fitsnap_nn.reports.plots.parity import scatter
from fitsnap_nn.reports.plots.sheet import HEADING, MARGIN, SMALL, TEXT, Sheet, legend_height
from fitsnap_nn.reports.plots.styles import GREY, INK, SET_NAMES, SET_STYLES, distinct, group_styles
from fitsnap_nn.reports.predicted import sample
from fitsnap_nn.reports.results import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_POINTS = 12_000
WIDTH, HEIGHT = 7.5, 4.2  # inches
LEFT = 0.8
BINS = 12
MIN_COUNT = 5  # atoms in a bin of a line
DECADES = 5  # at most, on both axes
SHARES = (1.0, 0.1, 0.01)


def draw_force_errors(record: FitRecord) -> Sheet | None:
    """Return the picture; ``None`` without labels of forces.

    Args:
        record: the fit.
    """
    values = record.predicted.values.get(FORCES.name)
    if values is None:
        return None
    size = np.linalg.norm(values.target, axis=1)
    error = np.linalg.norm(values.model - values.target, axis=1)
    if not (np.isfinite(error) & (error > 0)).any() or not (size > 0).any():
        return None
    styles = group_styles(record.predicted.groups)
    legend = distinct(styles.values())
    below = HEADING + HEIGHT + 0.6
    sheet = Sheet(WIDTH, below + 0.2 + legend_height(WIDTH, legend) + MARGIN)
    chosen, _ = sample(error, MAX_POINTS)
    shown = f"{len(chosen):,} of {values.total:,} atoms, largest errors included" if len(chosen) < values.total else ""
    sheet.heading("Error of the forces against their magnitude", record, shown or f"all {values.total:,} atoms")
    axes = sheet.axes(LEFT, HEADING + 0.05, WIDTH - LEFT - 1.6, HEIGHT, xscale="log", yscale="log")
    x_limits, y_limits = _limits(size), _limits(error)
    axes.set(xlim=x_limits, ylim=y_limits)
    x, y = (np.clip(one, low * 1.03, high) for one, (low, high) in ((size, x_limits), (error, y_limits)))
    scatter(axes, x[chosen], y[chosen], values.owner[chosen], record.predicted, styles)
    _draw_shares(axes, x_limits, y_limits)
    sets = np.array(record.predicted.sets)[values.owner]
    for name in record.sets:
        of_set = (sets == name) & np.isfinite(error)
        centres, rmse = binned(size[of_set], error[of_set], values.weight[of_set], x_limits)
        if len(centres):
            style = SET_STYLES[name]
            axes.plot(centres, rmse, color="white", lw=4, zorder=11)
            axes.plot(centres, rmse, color=style.colour, ls=style.line, lw=2, zorder=12, label=SET_NAMES[name])
    axes.set_xlabel(f"magnitude of the label of the force ({values.unit})", fontsize=TEXT, color=INK)
    axes.set_ylabel(f"|model − label| ({values.unit})", fontsize=TEXT, color=INK)
    if axes.get_legend_handles_labels()[0]:
        place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (1.0, 0.0)}
        axes.legend(title="RMS of the error", fontsize=SMALL, title_fontsize=SMALL, frameon=False, **place)
    note = "Atoms with values below the axes, such as forces that are 0 by symmetry, are drawn at the edge."
    sheet.text(MARGIN, below - 0.08, note)
    sheet.legend(below + 0.15, legend)
    return sheet


def binned(size: Floats, error: Floats, weight: Floats, limits: tuple[float, float]) -> tuple[Floats, Floats]:
    """Return centres of bins, and the root mean square of the errors in them; bins with few atoms are left out.

    Atoms below the range, such as those whose force vanishes by symmetry, are in no bin.

    Args:
        size, error: (N,) magnitude of the label and of the error.
        weight: (N,) number of atoms that each stands for.
        limits: range of the bins, which are equal on a logarithmic scale.
    """
    size, error, weight = (one[size >= limits[0]] for one in (size, error, weight))
    edges = np.geomspace(*limits, BINS + 1)
    number = np.digitize(np.clip(size, limits[0], limits[1] * (1 - 1e-12)), edges) - 1
    count = np.bincount(number, minlength=BINS)
    total, squares = (np.bincount(number, one, minlength=BINS) for one in (weight, weight * np.square(error)))
    used = count >= MIN_COUNT
    return np.sqrt(edges[:-1] * edges[1:])[used], np.sqrt(squares[used] / total[used])


def _limits(values: Floats) -> tuple[float, float]:
    positive = values[np.isfinite(values) & (values > 0)]
    high = 1.3 * float(positive.max())
    low = float(np.quantile(positive, 0.002)) / 1.3
    return max(low, high / 10**DECADES), high


def _draw_shares(axes: Axes, x_limits: tuple[float, float], y_limits: tuple[float, float]) -> None:
    """Draw lines of constant relative error, with their names at the right edge or above."""
    for share in SHARES:
        ends = np.array(x_limits)
        axes.plot(ends, share * ends, color=GREY, lw=0.8, ls=(0, (5, 3)), zorder=2)
        x = min(x_limits[1], y_limits[1] / share)
        if y_limits[0] < share * x:
            options: dict[str, Any] = {"fontsize": SMALL, "color": "#555555", "clip_on": False, "zorder": 13}
            above = share * x >= 0.999 * y_limits[1]
            options |= {"ha": "center", "va": "bottom"} if above else {"ha": "left", "va": "center"}
            axes.text(x if above else 1.03 * x, share * x, f"{100 * share:g} %", **options)

"""Plots of a fit. matplotlib is optional: without it each function returns a message instead of a plot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from fitsnap_nn.data.properties import Property
from fitsnap_nn.files import atomic_write
from fitsnap_nn.reports.epochs import EpochRow
from fitsnap_nn.reports.errors_table import ALL, ErrorRow, errors_table
from fitsnap_nn.reports.results import Result, by_subset, pairs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NO_MATPLOTLIB = "no {name}: matplotlib is not installed (pip install matplotlib)"
NO_DATA = "no {name}: there are no data to plot"
COLOURS = MappingProxyType({"Train": "#7fa3c7", "Validation": "#d1495b", "Test": "#3c8d5a", "Unknown": "#8e5a93"})
LINES = ("#4c6a92", "#e08e45", "#5a9367", "#8e5a93", "#93655a")  # errors by property, cyclic
GREY = "#9a9a9a"


def plot_parity(path: Path, results: Sequence[Result], properties: Sequence[Property]) -> str:
    """Plot predictions against labels and, below, the MAE of each group; one column per property.

    Args:
        path: PNG file.
        results: predictions and labels.
        properties: properties of the fit.

    Returns:
        The reason why there is no plot; empty if it was written.
    """
    rows = errors_table(results, properties)
    plotted = [quantity for quantity in properties if any(row.property == quantity.title for row in rows)]
    groups = list(dict.fromkeys(row.group for row in rows))

    def draw(figure: Figure) -> None:
        bars = 0.9 + 0.19 * len(groups)
        figure.set_size_inches(0.6 + 3.8 * len(plotted), 3.8 + bars)
        axes = figure.subplots(2, len(plotted), squeeze=False, height_ratios=(3.8, bars))
        for column, quantity in enumerate(plotted):
            property_rows = [row for row in rows if row.property == quantity.title]
            _draw_parity(axes[0, column], quantity, results, property_rows)
            _draw_groups(axes[1, column], quantity, property_rows, groups, named=column == 0)

    return _save(path, draw, empty=not plotted)


def plot_learning_curve(path: Path, epochs: Sequence[EpochRow], properties: Sequence[Property]) -> str:
    """Plot losses, and the MAE of the validation set, against the epoch.

    Args:
        path: PNG file.
        epochs: results of the epochs.
        properties: properties of the fit.

    Returns:
        The reason why there is no plot; empty if it was written.
    """
    losses = {
        "train": ([row.train_loss for row in epochs], COLOURS["Train"]),
        "validation": ([row.validation_loss for row in epochs], COLOURS["Validation"]),
    }
    errors = {
        f"{one.title.lower()}, {one.report_unit.label}": (
            [row.mae[number] for row in epochs if row.mae],
            LINES[number % len(LINES)],
        )
        for number, one in enumerate(properties)
    }
    panels = [
        (title, with_data)
        for title, lines in (("loss", losses), ("validation MAE", errors))
        if (with_data := {name: line for name, line in lines.items() if np.greater(line[0], 0).any()})
    ]
    number = [row.epoch for row in epochs]
    best = max((row.epoch for row in epochs if row.best), default=None)

    def draw(figure: Figure) -> None:
        figure.set_size_inches(4.3 * len(panels), 3.6)
        for axes, (title, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _style_axes(axes, "epoch", title)
            for name, (values, colour) in lines.items():
                axes.plot(number, values, color=colour, label=name, lw=1.4, marker="o" if len(number) < 20 else "")
            if best is not None:
                axes.axvline(best, color=GREY, lw=0.8, ls=":", label=f"best: epoch {best}")
            axes.set_yscale("log")
            axes.legend(frameon=False)

    return _save(path, draw, empty=not panels)


def _save(path: Path, draw: Callable[[Figure], None], empty: bool) -> str:
    if empty:
        return NO_DATA.format(name=path.name)
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return NO_MATPLOTLIB.format(name=path.name)
    figure = Figure(layout="constrained")
    draw(figure)
    with atomic_write(path) as file:
        FigureCanvasAgg(figure).print_figure(file, dpi=150, format="png")
    return ""


def _draw_parity(axes: Axes, quantity: Property, results: Sequence[Result], rows: Sequence[ErrorRow]) -> None:
    unit = quantity.report_unit.label
    _style_axes(axes, f"label ({unit})", f"model ({unit})")
    axes.set_title(quantity.title.lower())
    mae = {row.subset: row.mae for row in rows if row.group == ALL}
    for subset, members in by_subset(results).items():
        model, target, labels = pairs(quantity, members)
        if labels:
            label = f"{subset.value.lower()}: MAE {mae[subset.value]:.3g} {unit}"
            axes.plot(target, model, ".", ms=4, mew=0, alpha=0.7, color=COLOURS[subset.value], label=label)
    ends = np.array([min(axes.get_xlim()[0], axes.get_ylim()[0]), max(axes.get_xlim()[1], axes.get_ylim()[1])])
    axes.plot(ends, ends, color=GREY, lw=0.8, zorder=0)
    axes.set(xlim=ends, ylim=ends, box_aspect=1)
    axes.locator_params(nbins=5)
    axes.legend(frameon=False, loc="upper left", markerscale=2, handletextpad=0.1)


def _draw_groups(axes: Axes, quantity: Property, rows: Sequence[ErrorRow], groups: Sequence[str], named: bool) -> None:
    _style_axes(axes, f"MAE ({quantity.report_unit.label})", "")
    axes.set(xscale="log", xlim=_decades([row.mae for row in rows]))
    axes.xaxis.set_minor_formatter("")
    for subset, colour in COLOURS.items():
        selected = [row for row in rows if row.subset == subset]
        heights = [groups.index(row.group) for row in selected]
        axes.plot([row.mae for row in selected], heights, "o", ms=5, mew=0, color=colour)
    axes.set_yticks(range(len(groups)), groups if named else [""] * len(groups))
    axes.set_ylim(len(groups) - 0.4, -0.6)


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """Return powers of ten around the values, at most six decades: errors that vanish by symmetry are cut off."""
    positive = [value for value in values if 0 < value < np.inf] or [1.0]
    highest = np.floor(np.log10(max(positive))) + 1
    lowest = max(np.floor(np.log10(min(positive))), highest - 6)
    return 10.0**lowest, 10.0**highest


def _style_axes(axes: Axes, x: str, y: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#ececec", lw=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.tick_params(labelsize=9, color=GREY)

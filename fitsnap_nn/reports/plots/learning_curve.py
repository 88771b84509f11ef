"""Losses, errors of the validation set and learning rate against the epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fitsnap_nn.errors import counted
from fitsnap_nn.reports.epochs import EpochRow
from fitsnap_nn.reports.fit_record import FitRecord
from fitsnap_nn.reports.plots.sheet import HEADING, SMALL, TEXT, Sheet
from fitsnap_nn.reports.plots.styles import COLOURS, GREY, INK, SET_STYLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, LEFT, RIGHT = 7.5, 0.85, 1.75  # inches
PANEL, LOW_PANEL, GAP = 1.75, 0.9, 0.16
FEW = 25  # epochs up to which each has a marker
LINES = ("-", (0, (4, 1.5)), (0, (1, 1)), "-.")
Line = tuple[Sequence[float], str, Any]  # values, colour, line style
Events = Sequence[tuple[float, str, Any]]  # epoch, name, line style


def draw_learning_curve(record: FitRecord, epochs: Sequence[EpochRow]) -> Sheet | None:
    """Return the picture; ``None`` without epochs, or if no loss is a positive number.

    Args:
        record: the fit.
        epochs: results of the epochs, those before a restart included.
    """
    panels = {
        title: with_data
        for title, lines in _lines(record, epochs).items()
        if (with_data := {name: line for name, line in lines.items() if np.greater(line[0], 0).any()})
    }
    if not panels:
        return None
    heights = [LOW_PANEL if title == "learning rate" else PANEL for title in panels]
    sheet = Sheet(WIDTH, HEADING + 0.35 + sum(heights) + GAP * len(panels) + 0.5)
    best = next((row.epoch for row in reversed(epochs) if row.best), None)
    shown = counted(epochs[-1].epoch, "epoch") + (f", weights of epoch {best} kept" if best else "")
    sheet.heading("Learning curve", record, shown)
    events = _events(record, epochs, best)
    top = HEADING + 0.35
    for number, ((title, lines), height) in enumerate(zip(panels.items(), heights, strict=True)):
        axes = sheet.axes(LEFT, top, WIDTH - LEFT - RIGHT, height)
        _draw_panel(axes, title, lines, [row.epoch for row in epochs], events)
        if number == 0:
            _name_events(axes, events)
        last = number == len(panels) - 1
        axes.tick_params(labelbottom=last)
        if last:
            axes.set_xlabel("epoch", fontsize=TEXT, color=INK)
        top += height + GAP
    return sheet


def _lines(record: FitRecord, epochs: Sequence[EpochRow]) -> dict[str, dict[str, Line]]:
    """Return the lines of each panel by name."""
    losses: dict[str, Line] = {
        name: ([getattr(row, attribute) for row in epochs], SET_STYLES[key].colour, SET_STYLES[key].line)
        for name, attribute, key in (
            ("training", "train_loss", "Train"), ("validation", "validation_loss", "Validation"),
        )
    }  # fmt: skip
    errors: dict[str, Line] = {}
    for number, (title, unit) in enumerate(record.properties):
        values = [row.rmse[number] if number < len(row.rmse) else np.nan for row in epochs]
        name = f"{title.lower()}, {unit}".rstrip(", ")
        errors[name] = (values, COLOURS[number % len(COLOURS)], LINES[number % len(LINES)])
    rates: dict[str, Line] = {"learning rate": ([row.learning_rate for row in epochs], INK, "-")}
    return {"loss": losses, "validation RMSE": errors, "learning rate": rates}


def _events(record: FitRecord, epochs: Sequence[EpochRow], best: int | None) -> list[tuple[float, str, object]]:
    """Return epoch, name and line style of what is marked by a vertical line."""
    found: list[tuple[float, str, object]] = [(best, f"best: {best}", "-")] if best else []
    found += [(epoch + 0.5, f"resumed after {epoch}", (0, (1, 1.5))) for epoch in record.epochs.get("resumed", ())]
    if (stage := record.epochs.get("stage_two")) is not None:
        found.append((stage + 0.5, "stage two", (0, (5, 2))))
    return [one for one in found if one[0] <= epochs[-1].epoch + 1]


def _draw_panel(
    axes: Axes,
    title: str,
    lines: Mapping[str, Line],
    numbers: Sequence[int],
    events: Events,
) -> None:
    few = len(numbers) <= FEW
    for name, (values, colour, style) in lines.items():
        options: dict[str, Any] = {"color": colour, "ls": style, "lw": 1.5, "label": name}
        axes.plot(numbers, values, marker="o" if few else "", ms=3.5, **options)
    for epoch, _, style in events:
        axes.axvline(epoch, color=GREY, lw=1.1, ls=style, zorder=1)
    positive = [value for values, *_ in lines.values() for value in values if value > 0]
    if max(positive) > 1.001 * min(positive) or len(positive) == 1:
        axes.set_yscale("log")
    axes.set_ylabel(title, fontsize=TEXT, color=INK)
    axes.locator_params(axis="x", integer=True)
    if few and len(numbers) > 1:
        axes.set_xlim(numbers[0] - 0.5, numbers[-1] + 0.5)
    if title != "learning rate":
        place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.02)}
        axes.legend(fontsize=SMALL, frameon=False, handlelength=2.6, borderaxespad=0, **place)


def _name_events(axes: Axes, events: Events) -> None:
    """Write the names of the events above the first panel, those close to each other on different lines."""
    place = axes.get_xaxis_transform()
    low, high = axes.get_xlim()
    ends = [-np.inf, -np.inf]
    for epoch, name, _ in sorted(events, key=lambda one: one[0]):
        width = 0.013 * len(name) * (high - low)
        line = 0 if epoch - width / 2 >= ends[0] else 1
        if epoch - width / 2 < ends[line]:
            continue  # many resumes: the lines are there, the log has their epochs
        ends[line] = epoch + width / 2
        axes.text(epoch, 1.02 + 0.09 * line, name, fontsize=SMALL, ha="center", transform=place, color="#444444")

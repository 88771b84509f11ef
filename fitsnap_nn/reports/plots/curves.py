"""Pictures of the checks for molecular dynamics, and of the uncertainty, from their files in the output folder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fitsnap_nn.reports.fit_record import FitRecord
from fitsnap_nn.reports.plots.sheet import CHARACTER, HEADING, MARGIN, SMALL, TEXT, Sheet, shorten
from fitsnap_nn.reports.plots.styles import COLOURS, GREY, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL, HEIGHT, LEFT, GAP, BELOW = 3.4, 2.3, 0.8, 0.95, 0.75  # inches
COLUMNS = 2
LINES = ("-", (0, (4, 1.5)), (0, (1, 1)), "-.")
MAX_CURVES = 8  # in a legend
VERDICTS = {"pass": "passed", "fail": "FAILED", "not run": "not run"}


def draw_md_checks(record: FitRecord, content: Mapping[str, Any]) -> Sheet | None:
    """Return the picture of all checks with curves; ``None`` if there are none.

    Args:
        record: the fit.
        content: content of ``md_checks.json``.
    """
    checks = [one for one in content.get("checks", ()) if one.get("curves")]
    if not checks:
        return None
    rows = -(-len(checks) // COLUMNS)
    sheet = Sheet(LEFT + (PANEL + GAP) * COLUMNS - GAP + MARGIN, HEADING + 0.3 + (HEIGHT + BELOW) * rows)
    sheet.heading(
        "Checks for molecular dynamics", record, f"{len(checks)} of {len(content['checks'])} checks have curves"
    )
    for number, check in enumerate(checks):
        left = LEFT + (PANEL + GAP) * (number % COLUMNS)
        axes = sheet.axes(left, HEADING + 0.3 + (HEIGHT + BELOW) * (number // COLUMNS), PANEL, HEIGHT)
        _draw_check(axes, check)
    return sheet


def _draw_check(axes: Axes, check: Mapping[str, Any]) -> None:
    for number, curve in enumerate(check["curves"]):
        x, y = _numbers(curve["x"]), _numbers(curve["y"])
        marker = "o" if len(x) <= 25 else ""
        style = LINES[(number // len(COLOURS) + number) % len(LINES)]
        colour = COLOURS[number % len(COLOURS)]
        label = curve["label"] if number < MAX_CURVES else None
        axes.plot(x, y, color=colour, ls=style, lw=1.4, marker=marker, ms=3, label=label)
    if check.get("log") and any((_numbers(curve["y"]) > 0).any() for curve in check["curves"]):
        axes.set_yscale("log")
    verdict = VERDICTS.get(check["verdict"], check["verdict"])
    title = f"{shorten(check['title'], 34)}: {verdict}"
    colour = "#b02a3c" if check["verdict"] == "fail" else INK
    axes.set_title(title, fontsize=TEXT + 1, color=colour, loc="left")
    axes.set_xlabel(check.get("x_label", ""), fontsize=TEXT, color=INK)
    axes.set_ylabel(check.get("y_label", ""), fontsize=TEXT, color=INK)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=SMALL, frameon=False, handlelength=2.4)


def draw_uncertainty(record: FitRecord, content: Mapping[str, Any]) -> Sheet | None:
    """Return calibration and rank correlations; ``None`` without either.

    Args:
        record: the fit.
        content: content of ``uncertainty.json``.
    """
    calibration = content.get("calibration") or {}
    sigma, rmse = _numbers(calibration.get("sigma", ())), _numbers(calibration.get("rmse", ()))
    correlations: dict[str, Any] = content.get("rank_correlation") or {}
    if not len(sigma) and not correlations:
        return None
    height = max(2.6, 0.19 * len(correlations) + 0.2)
    names = min(30, max(map(len, correlations), default=0)) * CHARACTER + 0.2
    sheet = Sheet(LEFT + PANEL + names + 0.4 + PANEL + MARGIN, HEADING + 0.3 + height + 0.75)
    quantity, unit = content.get("quantity", ""), content.get("unit", "")
    shown = f"{content.get('method', '')}, {quantity} · {str(content.get('set', '')).lower()} set"
    sheet.heading("Uncertainty against true error", record, shown)
    if len(sigma):
        axes = sheet.axes(LEFT, HEADING + 0.3, PANEL, 2.6)
        _draw_calibration(axes, sigma, rmse, _numbers(calibration.get("count", ())), content)
        axes.set_xlabel(f"predicted uncertainty σ ({unit})", fontsize=TEXT, color=INK)
        axes.set_ylabel(f"RMS of the true error ({unit})", fontsize=TEXT, color=INK)
    if correlations:
        axes = sheet.axes(LEFT + PANEL + names + 0.4, HEADING + 0.3, PANEL - 0.3, height)
        _draw_correlations(axes, correlations)
    return sheet


def _draw_calibration(
    axes: Axes, sigma: np.typing.NDArray[np.float64], rmse: np.typing.NDArray[np.float64],
    count: np.typing.NDArray[np.float64], content: Mapping[str, Any],
) -> None:  # fmt: skip
    threshold = content.get("threshold")
    both = np.concatenate([sigma, rmse, _numbers([threshold])])
    positive = both[np.isfinite(both) & (both > 0)]
    if len(positive):
        ends = np.array([positive.min() / 1.5, positive.max() * 1.5])
        axes.plot(ends, ends, color=GREY, lw=0.8, ls=(0, (5, 3)), label="σ = error")
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    axes.plot(sigma, rmse, "o-", color=COLOURS[0], lw=1.3, ms=4, label="bins")
    for x, y, number in zip(sigma, rmse, count, strict=False):
        if np.isfinite(number):
            options: dict[str, Any] = {"fontsize": SMALL - 1.5, "ha": "center", "color": "#555555"}
            axes.annotate(f"{int(number):,}", (x, y), (0, 5), textcoords="offset points", **options)
    if threshold is not None:
        axes.axvline(threshold, color=COLOURS[4], lw=1.3, ls=(0, (1, 1)), label=f"threshold {threshold:.3g}")
    axes.legend(fontsize=SMALL, frameon=False)
    axes.set_title("Calibration (number of values per bin)", fontsize=TEXT + 1, color=INK, loc="left")


def _draw_correlations(axes: Axes, correlations: Mapping[str, Any]) -> None:
    names = list(correlations)
    values = _numbers(list(correlations.values()))
    axes.barh(range(len(names)), np.nan_to_num(values), 0.7, color=[COLOURS[0]] + [COLOURS[3]] * (len(names) - 1))
    for number, value in enumerate(values):
        text = f"{value:.2f}" if np.isfinite(value) else "-"
        axes.text(max(0.0, np.nan_to_num(value)) + 0.02, number, text, fontsize=SMALL, va="center", color=INK)
    axes.set_yticks(range(len(names)), [shorten(name, 30) for name in names], fontsize=TEXT)
    axes.set(xlim=(min(0.0, float(np.nanmin([*values, 0]))) * 1.1, 1.1), ylim=(len(names) - 0.4, -0.6))
    axes.set_title("Rank correlation of σ and error", fontsize=TEXT + 1, color=INK, loc="left")


def _numbers(values: Sequence[Any]) -> np.typing.NDArray[np.float64]:
    """Return numbers as an array; JSON has null for NaN."""
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)

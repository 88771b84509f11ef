"""A figure with axes placed in inches, a heading, and a legend of the groups; matplotlib is imported by it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fitsnap_nn.files import atomic_write
from fitsnap_nn.reports.fit_record import FitRecord
from fitsnap_nn.reports.plots.styles import GREY, INK, GroupStyle

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 120
MARGIN = 0.25  # inches
HEADING = 0.75  # height of the heading, inches
LEGEND_LINE = 0.19  # height of a line of the legend, inches
CHARACTER = 0.072  # mean width of a character of 8 points, inches
SMALL, TEXT, TITLE = 7.5, 8.5, 12.0  # font sizes, points
LONGEST_NAME = 28  # characters of a group in a legend


class Sheet:
    """A picture: axes and texts are placed in inches from its upper left corner.

    Args:
        width, height: size below the heading included, inches.
    """

    def __init__(self, width: float, height: float) -> None:
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self._figure = Figure((width, height), facecolor="white")

    def axes(self, left: float, top: float, width: float, height: float, **options: Any) -> Axes:
        """Return axes with their upper left corner at (left, top)."""
        place = (
            left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height
        )  # fmt: skip
        axes = self._figure.add_axes(place, **options)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(GREY)
        axes.grid(color="#e6e6e6", lw=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(which="both", labelsize=TEXT, color=GREY, labelcolor=INK)
        return axes

    def text(self, left: float, top: float, text: str, size: float = SMALL, **options: Any) -> None:
        """Write text with its upper left corner at (left, top)."""
        place = left / self.width, 1 - top / self.height
        options = {"color": INK, "va": "top", **options}
        self._figure.text(*place, text, fontsize=size, **options)

    def heading(self, title: str, record: FitRecord, shown: str) -> None:
        """Write title, name and model of the fit, what is shown, and the date of the fit."""
        self.text(MARGIN, 0.12, title, TITLE, weight="bold")
        fit = f"{record.name} · {record.model}"
        lines = [shorten(fit, int(self.width / CHARACTER)), f"{shown} · {record.kind} of {record.day}"]
        self.text(MARGIN, 0.36, "\n".join(lines), TEXT, color="#555555", linespacing=1.3)

    def legend(self, top: float, styles: Sequence[GroupStyle]) -> None:
        """Draw the symbols of groups with their names in columns, from ``top`` on."""
        column = column_width(styles)
        count = max(1, int((self.width - 2 * MARGIN) / column))
        lines = -(-len(styles) // count)
        axes = self.axes(MARGIN, top, count * column, lines * LEGEND_LINE)
        axes.set_axis_off()
        axes.set(xlim=(0, count), ylim=(lines, 0))
        for number, style in enumerate(styles):
            x, y = number // lines, number % lines + 0.5
            axes.plot([x + 0.08 / column], [y], style.marker, color=style.colour, ms=5.5, mec="none", clip_on=False)
            name = shorten(style.name, LONGEST_NAME)
            axes.text(x + 0.22 / column, y, name, fontsize=SMALL + 0.5, va="center", color=INK)

    def save(self, path: Path) -> None:
        """Write the picture as PNG.

        Raises:
            OSError: the file cannot be written.
        """
        with atomic_write(path) as file:
            file.write(self.png())

    def png(self) -> bytes:
        """Return the picture as the content of a PNG file."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        file = io.BytesIO()
        FigureCanvasAgg(self._figure).print_figure(file, dpi=DPI, format="png", pil_kwargs={"compress_level": 4})
        return file.getvalue()


def column_width(styles: Sequence[GroupStyle]) -> float:
    """Return the width of a column of the legend, inches."""
    longest = max((min(len(style.name), LONGEST_NAME) for style in styles), default=0)
    return 0.35 + CHARACTER * longest


def legend_height(width: float, styles: Sequence[GroupStyle]) -> float:
    """Return the height of the legend in a picture of a width, inches."""
    count = max(1, int((width - 2 * MARGIN) / column_width(styles)))
    return LEGEND_LINE * -(-len(styles) // count)


def shorten(text: str, length: int) -> str:
    """Return a text with its middle replaced by an ellipsis if it is longer than ``length`` characters."""
    if len(text) <= length:
        return text
    half = (length - 1) // 2
    return f"{text[: length - 1 - half]}…{text[len(text) - half :]}"

"""Progress bars on a terminal."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.table import Column

from fitsnap_nn.reports.activity import Task

WIDEST_NAME = 30  # characters


def can_draw(stream: TextIO | None) -> bool:
    """Return whether bars can be drawn: on a terminal that can move its cursor."""
    return stream is not None and stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


class Bars:
    """A bar for each current task, below the lines that are printed.

    They have no thread of their own: nothing is drawn except in `draw`. Rich follows NO_COLOR, the width of the
    terminal, and draws ASCII where the encoding is not UTF-8.

    Args:
        stream: the terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False, markup=False, emoji=False, force_terminal=True)
        self._progress: Progress | None = None

    def print(self, text: str) -> None:
        """Print lines above the bars."""
        self._console.print(text, soft_wrap=True)

    @property
    def shown(self) -> bool:
        """Whether there are bars now."""
        return self._progress is not None

    def draw(self, tasks: Sequence[Task]) -> None:
        """Draw the bars of tasks in place of those before."""
        if self._progress is None:
            self._progress = Progress(*_columns(), console=self._console, auto_refresh=False, transient=True)
            self._progress.start()
            self._console.show_cursor(True)  # rich hides it, and it would stay hidden if this process is killed
        progress = self._progress
        known = list(progress.task_ids)
        for extra in known[len(tasks) :]:
            progress.remove_task(extra)
        for number, task in enumerate(tasks):
            if number >= len(known):
                known.append(progress.add_task("", total=None, counts="", time=""))
            progress.update(
                known[number],
                description=task.name,
                completed=task.done,
                total=task.total or None,
                counts=task.counts(),
                time=task.time(),
            )
        progress.refresh()

    def clear(self) -> None:
        """Remove the bars."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def _columns() -> list[ProgressColumn]:
    def text(field: str, least: int = 0) -> TextColumn:
        return TextColumn(f"{{task.{field}}}", markup=False, table_column=Column(no_wrap=True, min_width=least))

    name = Column(no_wrap=True, overflow="crop", max_width=WIDEST_NAME)  # an ellipsis is not ASCII
    described = TextColumn("{task.description}", markup=False, table_column=name)
    return [described, BarColumn(bar_width=20), text("fields[counts]"), text("fields[time]", 12)]

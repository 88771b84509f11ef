"""What a fit says: on the screen and, line for line, in ``run.log``."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TextIO

# Programs that use this package can capture what a fit prints.
LOGGER = logging.getLogger("fitsnap_nn")
PROGRESS_STEPS = 10  # lines of a long task where lines cannot be rewritten
PROGRESS_SECONDS = 1.0  # least time between two of them


class Console(AbstractContextManager["Console"]):
    """Prints lines to a stream and to a log file; without either it is silent, which is what ranks but one get.

    Args:
        stream: the screen, ``sys.stdout`` usually.
        log: file that gets all lines too; flushed line by line.
        append: keep what the file holds, for a fit that goes on.
        clock: seconds, for progress.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        log: Path | None = None,
        append: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._log = log.open("a" if append else "w", encoding="utf-8") if log else None
        self._clock = clock

    def line(self, text: str = "") -> None:
        """Print a line, or several."""
        if self._stream is not None or self._log is not None:
            LOGGER.info(text)
        for output in (self._stream, self._log):
            if output is not None:
                print(text, file=output, flush=True)

    def section(self, title: str) -> None:
        """Print a title, set off from what came before."""
        self.line(f"\n{title}\n{'-' * len(title)}")

    def progress(self, task: str) -> Callable[[int, int], None]:
        """A function of (done, total) that reports how far a long task is.

        On a terminal one line is rewritten; elsewhere a line is printed every tenth of the work, at most one a
        second. The end is always a line, with the time that was taken.
        """
        started = self._clock()
        rewrites = self._stream is not None and self._stream.isatty()
        said_at, said_step = started, 0

        def report(done: int, total: int) -> None:
            nonlocal said_at, said_step
            now = self._clock()
            if done >= total:
                self._rewrite("", rewrites)
                self.line(f"{task}: {total}/{total} in {_duration(now - started)}")
                return
            left = _duration((now - started) * (total - done) / done) if done else "?"
            text = f"{task}: {done}/{total} ({100 * done // total} %), {left} left"
            self._rewrite(text, rewrites)
            step = PROGRESS_STEPS * done // total
            if not rewrites and step > said_step and now - said_at >= PROGRESS_SECONDS:
                said_at, said_step = now, step
                self.line(text)

        return report

    def __exit__(self, *error: object) -> None:
        """Close the log file."""
        if self._log is not None:
            self._log.close()

    def _rewrite(self, text: str, rewrites: bool) -> None:
        if rewrites and self._stream is not None:
            print(f"\r\033[K{text}", end="", file=self._stream, flush=True)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"

"""Console output of a fit, duplicated in ``run.log``."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TextIO

from fitsnap_nn import interrupts
from fitsnap_nn.files import named_errors
from fitsnap_nn.terminal import make_printable

# Lets programs that use this package capture the output of a fit.
LOGGER = logging.getLogger("fitsnap_nn")
PROGRESS_STEPS = 10  # maximum number of progress lines per task without a terminal
PROGRESS_SECONDS = 1.0  # minimum time between two of them, s


class Console(AbstractContextManager["Console"]):
    """Prints lines to a stream and a log file; silent without any argument, as on all ranks but rank 0.

    Args:
        stream: output stream, usually ``sys.stdout``.
        log: log file; flushed after each line.
        append: append to an existing log file, for a resumed fit.
        keep: keep the lines for a log file that `start_log` opens later.
        clock: returns the time in s, for progress lines.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        log: Path | None = None,
        append: bool = False,
        keep: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        make_printable(stream)
        self._stream = stream
        self._log: TextIO | None = None
        self._path = Path()
        self._early: list[str] | None = [] if keep else None
        self._clock = clock
        if log:
            self.start_log(log, append)

    def start_log(self, log: Path, append: bool = False) -> None:
        """Open the log file, and write the lines so far to it.

        Args:
            log: log file; an existing one is replaced.
            append: append to an existing file.

        Raises:
            OSError: the file cannot be written.
        """
        if not append:
            log.unlink(missing_ok=True)  # a link is not followed
        # File names that are not UTF-8 are text with surrogates, which UTF-8 does not encode.
        self._log, self._path = log.open("a", encoding="utf-8", errors="backslashreplace"), log
        kept, self._early = self._early or [], None
        for text in kept:
            self._write_log(text)

    def line(self, text: str = "") -> None:
        """Print one or more lines.

        Args:
            text: the lines, without the last newline.
        """
        if self._stream is not None or self._log is not None or self._early is not None:
            LOGGER.info(text)
        if self._stream is not None:
            print(text, file=self._stream, flush=True)
        self._write_log(text)

    def _write_log(self, text: str) -> None:
        if self._early is not None:
            self._early.append(text)
        elif self._log is not None:
            with named_errors(self._path):
                print(text, file=self._log, flush=True)

    def section(self, title: str) -> None:
        """Print a blank line and an underlined title.

        Args:
            title: the title.
        """
        self.line(f"\n{title}\n{'-' * len(title)}")

    def progress(self, task: str) -> Callable[[int, int], None]:
        """Return a function of (done, total) that reports the progress of a long task.

        On a terminal one line is updated in place. Otherwise a line is printed for every tenth of the work, at most
        one per second. A last line with the elapsed time is always printed.

        Args:
            task: name of the task.
        """
        started = self._clock()
        in_place = self._stream is not None and self._stream.isatty()
        printed_at, printed_step = started, 0

        def report(done: int, total: int) -> None:
            nonlocal printed_at, printed_step
            now = self._clock()
            if done >= total:
                self._update_line("", in_place)
                self.line(f"{task}: {total}/{total} in {duration(now - started)}")
                return
            left = duration((now - started) * (total - done) / done) if done else "?"
            text = f"{task}: {done}/{total} ({100 * done // total} %), {left} left"
            self._update_line(text, in_place)
            step = PROGRESS_STEPS * done // total
            if not in_place and step > printed_step and now - printed_at >= PROGRESS_SECONDS:
                printed_at, printed_step = now, step
                self.line(text)

        return report

    def __exit__(self, kind: type[BaseException] | None = None, *error: object) -> None:
        """Close the log file; its last line says where an interrupted program was."""
        if kind is not None and issubclass(kind, KeyboardInterrupt) and (self._stream or self._log):
            self._update_line("", self._stream is not None and self._stream.isatty())
            if line := interrupts.take_line():
                self.line(line)
        if self._log is not None:
            with named_errors(self._path):
                self._log.close()

    def _update_line(self, text: str, in_place: bool) -> None:
        if in_place and self._stream is not None:
            # ANSI: carriage return, then erase to the end of the line.
            print(f"\r\033[K{text}", end="", file=self._stream, flush=True)


def duration(seconds: float) -> str:
    """Return a time in s with fitting units."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"

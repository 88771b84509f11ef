"""Console output of a fit, duplicated in ``run.log``, with its progress."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from fitsnap_nn import interrupts
from fitsnap_nn.files import named_errors
from fitsnap_nn.reports.activity import Task, line_about
from fitsnap_nn.terminal import make_printable
from fitsnap_nn.usage import duration

if TYPE_CHECKING:
    from fitsnap_nn.reports.bars import Bars

# Lets programs that use this package capture the output of a fit.
LOGGER = logging.getLogger("fitsnap_nn")
WARNING = "warning:"  # a line that begins with it is shown by --quiet too
BEAT = 0.4  # s between two looks at the tasks. Drawing the bars takes 2 to 4 ms, less than 1 % of the time of a core.


class Console(AbstractContextManager["Console"]):
    """Prints lines to a stream and a log file; silent without any argument, as on all ranks but rank 0.

    The current tasks are bars on a terminal. Elsewhere, and in the log, a line says what the program is doing after
    two seconds of silence, and from then on at growing intervals. A thread draws and prints this, so that tasks only
    have to count.

    Args:
        stream: output stream, usually ``sys.stdout``.
        log: log file; flushed after each line.
        append: append to an existing log file, for a resumed fit.
        keep: keep the lines for a log file that `start_log` opens later.
        brief: show warnings and final lines only; the log has all lines.
        clock: returns the time in s.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        log: Path | None = None,
        append: bool = False,
        keep: bool = False,
        brief: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        make_printable(stream)
        self._stream = stream
        self._log: TextIO | None = None
        self._path = Path()
        self._early: list[str] | None = [] if keep else None
        self._brief = brief
        self._clock = clock
        self._last_output = clock()
        self._tasks: list[Task] = []
        self._bars = None if brief else _bars(stream)
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        if log:
            self.start_log(log, append)

    @property
    def _speaks(self) -> bool:
        return self._stream is not None or self._log is not None or self._early is not None

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
        with self._lock:
            # File names that are not UTF-8 are text with surrogates, which UTF-8 does not encode.
            self._log, self._path = log.open("a", encoding="utf-8", errors="backslashreplace"), log
            kept, self._early = self._early or [], None
            for text in kept:
                self._write_log(text)

    def line(self, text: str = "", *, final: bool = False) -> None:
        """Print one or more lines.

        Args:
            text: the lines, without the last newline.
            final: whether this is a result, which is shown in brief mode too.
        """
        shown = text
        if self._brief and not final:
            shown = "\n".join(one for one in text.splitlines() if one.lstrip().startswith(WARNING))
        with self._lock:
            self._last_output = self._clock()
            if self._speaks:
                LOGGER.info(text)
            if self._stream is not None and (shown or not self._brief or final):
                self._show(shown)
            self._write_log(text)

    def detail(self, text: str) -> None:
        """Write lines to the log only, and to the logger."""
        with self._lock:
            if self._speaks:
                LOGGER.info(text)
            self._write_log(text)

    def _show(self, text: str) -> None:
        if self._bars is not None and self._bars.shown:
            self._bars.print(text)
        else:
            print(text, file=self._stream, flush=True)

    def _write_log(self, text: str) -> None:
        if self._early is not None:
            self._early.append(text)
        elif self._log is not None:
            with named_errors(self._path):
                print(text, file=self._log, flush=True)

    @contextmanager
    def task(self, name: str, total: int = 0, done: float = 0.0) -> Iterator[Task]:
        """Show a task while the block runs; it is part of the task of an enclosing block.

        Args:
            name: what is done, such as ``drawing plots``.
            total: number of its parts; 0 if it is not known.
            done: number of parts that were done before.
        """
        task = self._begin(Task(name, total, done, clock=self._clock))
        try:
            yield task
        finally:
            self._end(task)

    def progress(self, name: str) -> Callable[[int, int], None]:
        """Return a function of (done, total) that reports the progress of a task, which begins now.

        A last line with the time is always printed.

        Args:
            name: name of the task.
        """
        task = self._begin(Task(name, clock=self._clock))

        def report(done: int, total: int) -> None:
            task.update(done, total)
            if done >= total:
                self._end(task)
                self.line(f"{name}: {total}/{total} in {duration(self._clock() - task.started)}")

        return report

    def beat(self) -> None:
        """Draw the bars, and print a line about the tasks if one is due."""
        with self._lock:
            now = self._clock()
            if self._bars is not None and self._tasks:
                self._bars.draw(self._tasks)
            if text := line_about(self._tasks, self._last_output, now):
                if self._bars is None:
                    self.line(text)
                else:
                    self.detail(text)
                    self._last_output = now

    def _begin(self, task: Task) -> Task:
        if self._speaks:
            with self._lock:
                self._tasks.append(task)
            if self._thread is None and self._clock is time.monotonic:
                self._thread = threading.Thread(target=self._keep_beating, daemon=True)
                self._thread.start()
        return task

    def _end(self, task: Task) -> None:
        with self._lock:
            if task in self._tasks:
                del self._tasks[self._tasks.index(task) :]
            if self._bars is not None and not self._tasks:
                self._bars.clear()

    def _keep_beating(self) -> None:
        while not self._ended.wait(BEAT):
            try:
                self.beat()
            except (OSError, ValueError):  # a full disk or a closed stream, which the next line reports
                return

    def __exit__(self, kind: type[BaseException] | None = None, *error: object) -> None:
        """Close the log file; its last line says where an interrupted program was."""
        self._ended.set()
        with self._lock:
            self._tasks.clear()
            if self._bars is not None:
                self._bars.clear()
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt) and (self._stream or self._log)
        if interrupted and (line := interrupts.take_line()):
            self.line(line, final=True)
        if self._log is not None:
            with named_errors(self._path):
                self._log.close()


def _bars(stream: TextIO | None) -> Bars | None:
    """Return bars for a terminal; ``None`` for files, pipes and terminals that cannot draw them."""
    if stream is None or not stream.isatty():
        return None
    from fitsnap_nn.reports.bars import Bars, can_draw  # rich is loaded only where it is needed

    return Bars(stream) if can_draw(stream) else None

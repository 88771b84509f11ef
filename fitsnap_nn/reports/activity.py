"""Current task of a program, its progress, and when to print a line about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fitsnap_nn.usage import duration

FIRST = 2.0  # s of silence before the first line about a task
INTERVAL = 10.0  # s of silence before the next
# Share of the time of a task that passes between two lines about it: they get rarer, and a day has some 150.
SHARE = 0.05


class Task:
    """A task of the program; updating it costs next to nothing.

    Args:
        name: what is done, such as ``model inputs``.
        total: number of its parts; 0 if it is not known.
        done: number of parts that were done before.
        clock: returns the time in s.

    Attributes:
        name, total: see above.
        done: parts that are done.
        started: time of the start.
        spoken: whether there has been a line about it.
    """

    def __init__(self, name: str, total: int = 0, done: float = 0.0, *, clock: Callable[[], float]) -> None:
        self.name = name
        self.total = total
        self.done = self._first = done
        self.started = self._updated = clock()
        self.spoken = False
        self._clock = clock

    def update(self, done: float, total: int | None = None) -> None:
        """Set how many parts are done, and how many there are."""
        self.done, self._updated = done, self._clock()
        if total is not None:
            self.total = total

    def restart(self, name: str, total: int = 0) -> None:
        """Go on with another task of the same kind, which is not announced again."""
        self.name, self.total, self.done, self._first = name, total, 0.0, 0.0
        self.started = self._updated = self._clock()

    def time(self) -> str:
        """Return the time left, or the time so far if the end is not known."""
        passed = self._clock() - self.started
        if not self.total:
            return duration(passed)
        gained, since = self.done - self._first, passed + self.started - self._updated
        if gained <= 0:
            return "? left"
        # Within a long part the time that it was expected to take runs down; beyond, nothing is known about it.
        left = (passed - since) * (self.total - self.done) / gained - since
        return f"{duration(left)} left" if left >= 0 else "? left"

    def counts(self) -> str:
        """Return ``12/100``; empty if the end is not known."""
        return f"{int(self.done)}/{self.total}" if self.total else ""

    def __str__(self) -> str:
        if not self.total:
            return f"{self.name} ..." if self._clock() - self.started < INTERVAL else f"{self.name}: {self.time()}"
        return f"{self.name}: {self.counts()} ({int(100 * self.done // self.total)} %), {self.time()}"


def line_about(tasks: Sequence[Task], last_output: float, now: float) -> str:
    """Return the line about the current tasks if one is due, otherwise an empty string.

    Args:
        tasks: a task, a part of it, and so on.
        last_output: time of the last line of any kind, s.
        now: time, s.
    """
    if not tasks:
        return ""
    silence = max(INTERVAL, SHARE * (now - tasks[0].started)) if tasks[-1].spoken else FIRST
    if now - last_output < silence:
        return ""
    tasks[-1].spoken = True
    return " · ".join(map(str, tasks))

"""Interruption of training by Ctrl-C or by the batch system, between two batches."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from fitsnap_nn.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deferred_signals(is_first: bool) -> Iterator[Callable[[], None]]:
    """Defer the first SIGINT or SIGTERM in the block; a second one has its usual effect at once.

    A launcher passes the signal on to all ranks. Only the first rank acts on it, and then ends all: if each rank
    stopped by itself, the first could wait for the others in a collective operation and never report.

    Args:
        is_first: whether this is the first rank.

    Yields:
        Function that raises `Interrupted` on the first rank if a signal has arrived.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None  # only the main thread can handle signals
        return
    arrived: list[int] = []
    previous = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        arrived.append(number)
        restore()

    def stop_if_asked() -> None:
        if arrived and is_first:
            raise Interrupted(arrived[0])

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield stop_if_asked
    finally:
        restore()

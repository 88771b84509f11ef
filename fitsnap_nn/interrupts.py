"""Ctrl-C and SIGTERM: one line that says how to go on and the right exit code, whatever the program is doing.

The main thread gets `Interrupted` and closes its files. It cannot as long as it is inside of a library, such as LAMMPS
or MPI, and some libraries swallow the exception. A second thread therefore ends the process after a time, or at once
at a second signal.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import RawIOBase
from types import FrameType

from fitsnap_nn.errors import Interrupted
from fitsnap_nn.launch import is_first_rank, rank_number

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE = 4.0  # s for the main thread of the first rank, or of the only process, to end by itself
SAVING = 24.0  # s for it while it trains: it finishes the step and saves. SLURM kills 30 s after SIGTERM by default
NOTICE = 1.5  # s after which it is said that this takes time
OTHER_RANKS = 4.0  # s more for other ranks, which the first one ends
SAME_SIGNAL = 0.3  # s: a terminal and a launcher can both send the same Ctrl-C


class _State:
    """State of the signal handling; there is one, because signals belong to the process."""

    def __init__(self) -> None:
        self.number = 0  # of the first signal that has arrived; 0: none
        self.handling = False  # whether the handlers of `handled` are installed
        self.joining = False
        self.grace = GRACE
        self.speaks = is_first_rank()
        self.acts = True  # whether a signal interrupts the main thread: not on ranks that the first one ends
        self.said = False
        self.describe: Callable[[], str] = lambda: "interrupted"
        self.end: Callable[[int], None] = os._exit
        self.lock = threading.Lock()


_state = _State()


def describe(text: Callable[[], str]) -> None:
    """Set what the line says about an interruption from now on.

    Args:
        text: returns one line: where the program was interrupted, what is saved, how to go on. It may be called in
            another thread.
    """
    _state.describe = text
    if not _state.handling:
        _state.said = False


def take_line() -> str:
    """Return the line about an interruption the first time; an empty string after that, and on other ranks."""
    with _state.lock:
        if _state.said or not _state.speaks:
            return ""
        _state.said = True
    return _state.describe()


def arrived() -> int:
    """Return the number of the signal that interrupts this program; 0 if there is none."""
    return _state.number


def joined(is_first: bool, end: Callable[[int], None]) -> None:
    """State that this process is a rank of a job: only the first acts on a signal, and ends all.

    Args:
        is_first: whether this is the first rank.
        end: ends all ranks with an exit code.
    """
    _state.acts, _state.end = is_first, end


@contextmanager
def joining() -> Iterator[None]:
    """Let a signal end this process at once in the block, which waits for other ranks inside of a library."""
    _state.joining = True
    try:
        yield
    finally:
        _state.joining = False


@contextmanager
def handled() -> Iterator[None]:
    """Handle SIGINT and SIGTERM in the block, for a program that owns its process; nothing in a nested block.

    An interruption that leaves the block ends the program with the line and the exit code.

    Raises:
        Interrupted: in the main thread, on the first rank.
    """
    global _state
    if _state.handling or threading.current_thread() is not threading.main_thread():
        yield
        return
    _state = _State()
    _state.handling = True
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    previous = {number: signal.signal(number, _raise) for number in SIGNALS}
    # Python calls a handler when the main thread runs Python code again, but writes to this pipe immediately.
    old_pipe = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    old_hook, sys.unraisablehook = sys.unraisablehook, _quiet_hook(sys.unraisablehook)
    watcher = threading.Thread(target=_watch, args=(reading,), daemon=True)
    watcher.start()
    try:
        yield
    except Interrupted as interruption:
        _print_line()
        raise SystemExit(interruption.exit_code) from None
    finally:
        sys.unraisablehook = old_hook
        signal.set_wakeup_fd(old_pipe)
        for number, handler in previous.items():
            signal.signal(number, handler)
        os.close(writing)  # ends the thread
        _state.handling = False


def _raise(number: int, frame: FrameType | None) -> None:
    """Interrupt the main thread. Ranks other than the first wait: if each ended by itself, none could report."""
    _state.number = _state.number or number
    if _state.acts:
        raise Interrupted(number)


def _quiet_hook(hook: Callable[[sys.UnraisableHookArgs], object]) -> Callable[[sys.UnraisableHookArgs], None]:
    """Return a hook that does not print an interruption that arrived where exceptions are ignored."""

    def quiet(raised: sys.UnraisableHookArgs) -> None:
        if not isinstance(raised.exc_value, Interrupted):
            hook(raised)

    return quiet


def _watch(reading: int) -> None:
    """End the process at a signal that the main thread does not act on."""
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        number = 0
        while number not in SIGNALS:
            received = pipe.read(1)
            if not received:
                return
            number = received[0]
        _state.number = _state.number or number
        if not _state.joining and _main_thread_ends(pipe):
            return
    _print_line()
    if not _state.acts:  # the first rank has not received it, or cannot end this one
        sys.stderr.write(f"interrupted: rank {rank_number()} has received {signal.Signals(number).name}\n")
    _state.end(128 + number)


def _print_line() -> None:
    if line := take_line():
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def _main_thread_ends(pipe: RawIOBase) -> bool:
    """Return whether the main thread ends by itself, within the time that it has; a second signal ends the wait."""
    started = time.monotonic()
    deadline = started + _state.grace + (0 if _state.acts else OTHER_RANKS)
    notice = started + NOTICE if _state.grace == SAVING and _state.speaks else deadline
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([pipe], [], [], min(left, max(0.0, notice - time.monotonic())))[0]:
            if notice == deadline:
                return False
            notice = deadline
            sys.stderr.write("the current step is finished and saved; a second signal ends the program at once\n")
            continue
        received = pipe.read(1)
        if not received:
            return True
        if received[0] in SIGNALS and time.monotonic() - started > SAME_SIGNAL:
            if not _state.acts:
                time.sleep(1.0)  # the first rank reports, and ends this one
            return False
    return False


@contextmanager
def deferred_signals(is_first: bool) -> Iterator[Callable[[], int]]:
    """Defer the first SIGINT or SIGTERM in the block; a second one has its usual effect at once.

    A launcher passes the signal on to all ranks. Only the first rank acts on it, and then ends all: if each rank
    stopped by itself, the first could wait for the others in a collective operation and never report.

    Args:
        is_first: whether this is the first rank.

    Yields:
        Function that returns the number of the signal that has arrived, on the first rank; otherwise 0.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0  # only the main thread can handle signals
        return
    noted: list[int] = []
    previous = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        restore()

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        _state.grace = SAVING
        yield lambda: noted[0] if noted and is_first else 0
    finally:
        _state.grace = GRACE
        restore()

"""Something that goes wrong on one rank, or takes long, without the cost of a fit.

mpirun -np 2 python rank_faults.py WHAT     on the last rank, or on all: one of the functions below
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

from fitsnap_nn import interrupts
from fitsnap_nn.errors import DataError
from fitsnap_nn.job import Job, job, outcome


def raises(process: Job) -> None:
    """One rank raises, while the others are in a library, where Python cannot interrupt them."""
    if process.rank == process.size - 1:
        raise DataError("one of the files is damaged")
    inside()


def raises_everywhere(process: Job) -> None:
    """All ranks raise the same."""
    raise DataError("all of the files are damaged")


def full(process: Job) -> None:
    """The first rank finds the disk full, while the others wait for it."""
    if process.is_first:
        raise OSError(28, "No space left on device", "fit/m.pt")
    process.world.barrier()


def killed(process: Job) -> None:
    """One rank is killed, as for lack of memory."""
    if process.rank == process.size - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    process.world.barrier()


def sleeps(process: Job) -> None:
    """Wait in Python."""
    ready()
    time.sleep(60)


def inside(process: Job | None = None) -> None:
    """Wait in a library."""
    ready()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:  # a signal ends sleep() early
        ctypes.CDLL(None).sleep(60)


def stubborn(process: Job) -> None:
    """Go on after an interruption, as libraries do that swallow exceptions."""
    ready()
    for _ in range(600):
        with contextlib.suppress(BaseException):
            time.sleep(0.1)


def ready() -> None:
    """Tell the test that the signal can be sent."""
    Path("ready").touch()


def main() -> int:
    """Do it as the command line would."""
    with interrupts.handled():
        try:
            with job() as process:
                interrupts.describe(lambda: "interrupted in epoch 3 of 9. To go on: --resume")
                globals()[sys.argv[1]](process)
        except (Exception, KeyboardInterrupt) as error:
            code, text = outcome(error)
            sys.stderr.write(text)
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())

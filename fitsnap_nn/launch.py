"""How this process was started: alone, or as one of the ranks of an MPI, torchrun or SLURM job.

The one place that knows the environment variables of launchers. It loads no MPI library, so that code which must not
load one can ask.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

# The number of this process in its job, by launcher: Hydra and SLURM's PMI, PMIx, Open MPI, srun, torchrun. Processes
# of torchrun use its own alone: srun often starts one torchrun per machine, and they inherit the variables of srun.
TORCHRUN_RANK = ("RANK",)
RANK_VARIABLES = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID", *TORCHRUN_RANK)
# Set only in processes that an MPI launcher started. SLURM_NTASKS and SLURM_PROCID are not among them: sbatch sets
# them for serial programs too, while SLURM_STEP_ID is set by srun.
MPI_VARIABLES = ("PMI_SIZE", "PMIX_RANK", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_ID")
# The number of ranks, by launcher. SLURM_NTASKS is not among them, for the same reason.
SIZE_VARIABLES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
# The same among the ranks on this machine; for srun see `_tasks_of_step`.
TORCHRUN_LOCAL_RANK, TORCHRUN_LOCAL_SIZE = ("LOCAL_RANK",), ("LOCAL_WORLD_SIZE",)
LOCAL_RANK_VARIABLES = ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID", *TORCHRUN_LOCAL_RANK)
LOCAL_SIZE_VARIABLES = ("MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE", *TORCHRUN_LOCAL_SIZE)
# Set by programs that start ranks themselves, where srun may have started the program.
MPIRUN_VARIABLES = ("MPI_LOCALNRANKS", "OMPI_COMM_WORLD_SIZE")
MPIRUN = "mpirun"
SRUN = "srun"
PMI_OF_SRUN = "--mpi=pmi2"  # the one plugin of SLURM that the MPICH of the wheel speaks with
TORCHRUN = "torchrun"
TORCHRUN_VARIABLE = "TORCHELASTIC_RUN_ID"
# A child process that inherits these would join its parent's job.
JOB_VARIABLES = re.compile(r"(PMI\d?|PMIX|HYD[A-Z]+|MPI|MPIEXEC|OMPI|ORTE|PRTE|SLURM)_")

# MPI_COMM_WORLD in the ABI of MPICH, which Intel MPI and others share; Open MPI exports an object instead.
MPICH_COMM_WORLD = 0x44000000
FORWARDING = 0.5  # s


def rank_number() -> int:
    """Return the number of this process in its job, as its launcher says; 0 for a process alone."""
    return _number(TORCHRUN_RANK if started_by_torchrun() else RANK_VARIABLES, 0)


def local_rank() -> int:
    """Return the number of this process among the ranks on this machine, as its launcher says; 0 if it says nothing."""
    return _number(TORCHRUN_LOCAL_RANK if started_by_torchrun() else LOCAL_RANK_VARIABLES, 0)


def local_size() -> int:
    """Return the number of ranks on this machine, as the launcher says; 1 if it says nothing."""
    if started_by_srun():
        return _tasks_of_step()
    return _number(TORCHRUN_LOCAL_SIZE if started_by_torchrun() else LOCAL_SIZE_VARIABLES, 1)


def _tasks_of_step() -> int:
    """Return the number of tasks of srun on this machine, from a list such as ``4(x2),1`` of three machines."""
    words = re.findall(r"(\d+)(?:\(x(\d+)\))?", os.environ.get("SLURM_STEP_TASKS_PER_NODE", ""))
    counts = [int(count) for count, times in words for _ in range(int(times or 1))]
    node = _number(("SLURM_NODEID",), 0)
    return counts[node] if node < len(counts) else 1


def _number(names: Sequence[str], otherwise: int) -> int:
    return next((int(os.environ[name]) for name in names if os.environ.get(name, "").isdigit()), otherwise)


def is_first_rank() -> bool:
    """Return whether this process prints: the first of a job, or the only one."""
    return rank_number() == 0


def started_by_mpi() -> bool:
    """Return whether an MPI launcher started this process."""
    return any(name in os.environ for name in MPI_VARIABLES)


def started_by_srun() -> bool:
    """Return whether this process is a task of srun, not a rank of an mpirun or torchrun that srun started."""
    return "SLURM_STEP_ID" in os.environ and not (
        started_by_torchrun() or any(name in os.environ for name in MPIRUN_VARIABLES)
    )


def speaks_pmix_only() -> bool:
    """Return whether srun offers this process PMIx and no older PMI."""
    return started_by_srun() and "PMIX_RANK" in os.environ and "PMI_RANK" not in os.environ


def started_by_torchrun() -> bool:
    """Return whether torchrun started this process."""
    return TORCHRUN_VARIABLE in os.environ


def announced_size() -> int:
    """Return the number of ranks that an MPI launcher says that it has started; 1 if it says nothing."""
    return _number(SIZE_VARIABLES, 1)


def on_one_machine() -> bool:
    """Return whether all ranks are certainly on this machine: a process alone, or all of Hydra's mpirun or of srun."""
    if started_by_srun():
        return os.environ.get("SLURM_STEP_NUM_NODES") == "1"
    local = os.environ.get("MPI_LOCALNRANKS")
    return not started_by_mpi() or (local is not None and local == os.environ.get("PMI_SIZE"))


class Neighbours(NamedTuple):
    """Ranks on this machine.

    Attributes:
        complete: whether all of them still run.
        first: whether this is the first of those that do.
    """

    complete: bool = True
    first: bool = True


def neighbours() -> Neighbours:
    """Return what the process table of Linux tells about ranks that Hydra, the mpirun of MPICH, has started.

    Hydra does not end a job of which a process ends before it has called MPI_Init; the others wait in it for ever.
    """
    started = os.environ.get("MPI_LOCALNRANKS", "")
    process = os.getpid()
    try:
        while started.isdigit() and process > 1:
            # /proc/PID/stat: PID (name) state parent ...; the name may contain blanks and parentheses.
            parent = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
            if Path(f"/proc/{parent}/comm").read_text().startswith("hydra_pmi"):
                children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
                if str(process) not in children:
                    break  # a child that ends while the file is read can hide others: the next look will tell
                return Neighbours(len(children) >= int(started), children[:1] == [str(process)])
            process = parent
    except OSError:  # no such file: another system, or the process has ended meanwhile
        pass
    return Neighbours()


def without_job(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for a child process that is not part of this job."""
    return {name: value for name, value in environment.items() if not JOB_VARIABLES.match(name)}


def repeated_command(ranks: int, without: str = "", option: str = "") -> str:
    """Return the command line of this program, without one option and with another; outside of our commands, words.

    Args:
        ranks: number of ranks.
        without: option to remove.
        option: option to add; may be empty.
    """
    program = PurePath(sys.argv[0])
    started = {"__main__.py": ["python", "-m", program.parent.name], "fitsnap_nn": ["fitsnap_nn"]}.get(program.name)
    if started is None or "fitsnap_nn" not in started:
        return f"the same command with {option}" if option else "the same command"
    launcher: list[str] = []
    if ranks > 1 and started_by_mpi() and not started_by_torchrun():
        launcher = [SRUN, PMI_OF_SRUN, "-n", str(ranks)] if started_by_srun() else [MPIRUN, "-np", str(ranks)]
    arguments = [word for word in sys.argv[1:] if word not in (without, option)]
    return shlex.join([*launcher, *started, *arguments, *filter(None, [option])])


def world_size() -> int:
    """Return the number of ranks of the MPI job that this process belongs to, as its MPI library says; 1 without MPI.

    The library is the one that the process has loaded, whatever it is: that of a program that started Python, such as
    LAMMPS, or of mpi4py. Environment variables are no substitute: sbatch sets SLURM_NTASKS for serial programs too.
    """
    import ctypes  # here, because this module is imported whenever LAMMPS starts

    library = ctypes.CDLL(None)
    if not hasattr(library, "MPI_Comm_size"):
        return _world_size_of_mpi4py()
    initialized, size = ctypes.c_int(0), ctypes.c_int(1)
    library.MPI_Initialized(ctypes.byref(initialized))
    if not initialized.value:
        return _world_size_of_mpi4py()
    if hasattr(library, "ompi_mpi_comm_world"):
        world: Any = ctypes.byref(ctypes.c_char.in_dll(library, "ompi_mpi_comm_world"))
    else:
        world = ctypes.c_int(MPICH_COMM_WORLD)
    library.MPI_Comm_size(world, ctypes.byref(size))
    return size.value


def _world_size_of_mpi4py() -> int:
    """Return the number of ranks that mpi4py knows, whose library other code of the process does not see."""
    mpi = sys.modules.get("mpi4py.MPI")
    return int(mpi.COMM_WORLD.Get_size()) if mpi is not None and mpi.Is_initialized() else 1


def abort(world: Any, code: int) -> None:
    """End all ranks of an MPI communicator; what this one has printed must have been flushed.

    Args:
        world: ``MPI.COMM_WORLD`` of mpi4py.
        code: the exit status of the job.
    """
    # At MPI_Abort, mpirun drops output of a rank that it has not read yet: give it time to forward it.
    time.sleep(FORWARDING)
    # MPI_Abort of MPICH prints a line that tells a user nothing.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    world.Abort(code)

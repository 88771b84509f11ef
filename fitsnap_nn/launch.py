"""Which process of an MPI job this is, for those who must not load MPI to know, and how it ends all of them."""

from __future__ import annotations

import os
import time
from typing import Any

# Where the launchers of MPI jobs say it.
RANK_VARIABLES = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID", "RANK")

FORWARDING = 0.5  # s


def is_first_rank() -> bool:
    """Whether this process is to speak: the first of an MPI job, or the only one."""
    ranks = [os.environ[name] for name in RANK_VARIABLES if name in os.environ]
    return not ranks or ranks[0] == "0"


def abort(world: Any, code: int) -> None:
    """End all ranks of an MPI communicator; what this one has printed must have been flushed.

    Args:
        world: ``MPI.COMM_WORLD`` of mpi4py.
        code: the exit status of the job.
    """
    # At MPI_Abort mpirun drops what it has not yet read of a rank's output: it is given time to pass it on.
    time.sleep(FORWARDING)
    world.Abort(code)

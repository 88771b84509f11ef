"""Which process of an MPI job this is, for those who must not load MPI to know."""

from __future__ import annotations

import os

# Where the launchers of MPI jobs say it.
RANK_VARIABLES = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID", "RANK")

# s that mpirun is given to pass on what a rank has printed: at MPI_Abort it drops what it has not yet read.
FORWARDING = 0.5


def is_first_rank() -> bool:
    """Whether this process is to speak: the first of an MPI job, or the only one."""
    ranks = [os.environ[name] for name in RANK_VARIABLES if name in os.environ]
    return not ranks or ranks[0] == "0"

"""The only place that knows about ranks: who takes part, what each does, how sums are made, how all end together."""

from __future__ import annotations

import os
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from fitsnap_nn.errors import FitsnapError
from fitsnap_nn.launch import abort
from fitsnap_nn.plugin.mpi import load_mpi

T = TypeVar("T")

MPI_VARIABLES = ("PMI_SIZE", "PMIX_RANK", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_ID")
MPIRUN = "mpirun"
COLLECTIVE_TIMEOUT = timedelta(hours=24)


class Ranks:
    """The processes of this run, and which of them this is; ``launcher`` started them."""

    def __init__(self, rank: int = 0, size: int = 1, launcher: str = "") -> None:
        self.rank = rank
        self.size = size
        self.launcher = launcher

    @property
    def is_first(self) -> bool:
        """Whether this rank prints and writes."""
        return self.rank == 0

    def sum_(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over ranks, in place; every rank gets the same bits."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def barrier(self) -> None:
        """Wait until every rank is here."""
        if self.size > 1:
            dist.barrier()

    def broadcast(self, value: T) -> T:
        """The value of the first rank."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def share(self, value: T) -> list[T]:
        """The values of all ranks, in their order, on every rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def gather(self, value: T) -> list[T]:
        """The values of all ranks on the first one; an empty list on the others."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size if self.is_first else []
        dist.gather_object(value, values if self.is_first else None)
        return values

    def mine(self, costs: Sequence[float]) -> list[int]:
        """Which of the items with these costs are this rank's, the same split on every rank."""
        return partition_by_cost(costs, self.size)[self.rank]


def pack(costs: Sequence[float], limit: float, ranks: Ranks) -> Iterator[list[int]]:
    """This rank's share of the items with these costs, in groups that cost no more than ``limit`` together."""
    group: list[int] = []
    sum_of_costs = 0.0
    for item in ranks.mine(costs):
        if group and sum_of_costs + costs[item] > limit:
            yield group
            group, sum_of_costs = [], 0.0
        group.append(item)
        sum_of_costs += costs[item]
    if group:
        yield group


def partition_by_cost(costs: Sequence[float], bins: int) -> list[list[int]]:
    """Partition items greedily: largest cost first, to the least loaded bin."""
    assigned: list[list[int]] = [[] for _ in range(bins)]
    if bins == 1:
        return [list(range(len(costs)))]
    sums = [0.0] * bins
    for item in sorted(range(len(costs)), key=lambda item: (-costs[item], item)):
        least_loaded = min(range(bins), key=sums.__getitem__)
        assigned[least_loaded].append(item)
        sums[least_loaded] += costs[item]
    return [sorted(members) for members in assigned]


@contextmanager
def session() -> Iterator[Ranks]:
    """Join the ranks that ``mpirun``, ``torchrun`` or SLURM started, or be alone.

    An exception inside on any rank prints its message once and ends every rank with the exception's exit code.
    """
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    ranks = _join_ranks()
    try:
        yield ranks
        ranks.barrier()
    except BaseException as error:
        if ranks.size == 1:
            raise
        _end_all(ranks, error)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _join_ranks() -> Ranks:
    if "TORCHELASTIC_RUN_ID" in os.environ:
        rank, size, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"))
        return _join_group(rank, size, local, "torchrun", "env://")
    if any(variable in os.environ for variable in MPI_VARIABLES):
        return _join_mpi()
    return Ranks()


def _join_mpi() -> Ranks:
    load_mpi()
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    rank, size = world.Get_rank(), world.Get_size()
    if size == 1:
        return Ranks()
    local = world.Split_type(MPI.COMM_TYPE_SHARED).Get_size()
    one_node = local == size
    address = None
    if rank == 0:
        host = "127.0.0.1" if one_node else socket.gethostname()
        with socket.socket() as probe:
            probe.bind(("", 0))
            address = f"tcp://{host}:{probe.getsockname()[1]}"
    if one_node:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    return _join_group(rank, size, local, MPIRUN, world.bcast(address))


def _join_group(rank: int, size: int, local: int, launcher: str, address: str) -> Ranks:
    # NCCL wants a GPU for each of the ranks of a machine; gloo does with any.
    backend = "cpu:gloo,cuda:nccl" if 0 < local <= torch.cuda.device_count() else "gloo"
    if size > 1:
        dist.init_process_group(backend, init_method=address, rank=rank, world_size=size, timeout=COLLECTIVE_TIMEOUT)
    return Ranks(rank, size, launcher)


def _end_all(ranks: Ranks, error: BaseException) -> NoReturn:
    # The first rank speaks for an error that all of them have; the others wait for it to have ended them.
    if not ranks.is_first:
        time.sleep(1.0)
    code = error.exit_code if isinstance(error, FitsnapError) else 1
    words = f"error: {error}\n" if isinstance(error, FitsnapError) else "".join(traceback.format_exception(error))
    if not ranks.is_first:
        words += f"(on rank {ranks.rank} of {ranks.size})\n"
    sys.stderr.write(words)  # in one piece, other ranks may speak at the same time
    sys.stdout.flush()
    sys.stderr.flush()
    if ranks.launcher == MPIRUN:
        from mpi4py import MPI

        abort(MPI.COMM_WORLD, code)
    os._exit(code)

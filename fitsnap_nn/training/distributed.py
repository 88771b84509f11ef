"""The ranks of a fit: joining them, sharing work, sums, and ending all of them together."""

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
from torch._C._distributed_c10d import TCPStore

from fitsnap_nn.errors import FitsnapError
from fitsnap_nn.launch import abort, started_by_mpi, started_by_torchrun
from fitsnap_nn.plugin.mpi import load_mpi

T = TypeVar("T")

MPIRUN = "mpirun"
COLLECTIVE_TIMEOUT = timedelta(hours=24)


class Ranks:
    """The processes of this run.

    Attributes:
        rank: number of this process.
        size: number of processes.
        launcher: program that started them; empty for a process alone.
        local_rank: number of this process among those of its machine.
    """

    def __init__(self, rank: int = 0, size: int = 1, launcher: str = "", local_rank: int = 0) -> None:
        self.rank = rank
        self.size = size
        self.launcher = launcher
        self.local_rank = local_rank

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
    if started_by_torchrun():
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        rank, size, local_rank, local_size = (int(os.environ[name]) for name in names)
        if size > 1:
            dist.init_process_group(_backend(local_size), init_method="env://", timeout=COLLECTIVE_TIMEOUT)
        return Ranks(rank, size, "torchrun", local_rank)
    return _join_mpi() if started_by_mpi() else Ranks()


def _join_mpi() -> Ranks:
    load_mpi()
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    rank, size = world.Get_rank(), world.Get_size()
    if size == 1:
        return Ranks()
    node = world.Split_type(MPI.COMM_TYPE_SHARED)
    one_node = node.Get_size() == size
    if one_node:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    # The store of the first rank chooses its port itself, so that no other program can take it in between.
    store: TCPStore | None = None
    address = None
    if rank == 0:
        host = "127.0.0.1" if one_node else socket.gethostname()
        store = TCPStore(host, 0, None, True, COLLECTIVE_TIMEOUT, wait_for_workers=False)
        address = (host, store.port)
    host, port = world.bcast(address)
    if store is None:
        store = TCPStore(host, port, None, False, COLLECTIVE_TIMEOUT, wait_for_workers=False)
    backend = _backend(node.Get_size())
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=COLLECTIVE_TIMEOUT)
    return Ranks(rank, size, MPIRUN, node.Get_rank())


def _backend(local_size: int) -> str:
    """Return nccl for GPUs, which needs one for each rank of a machine, and gloo otherwise."""
    return "cpu:gloo,cuda:nccl" if 0 < local_size <= torch.cuda.device_count() else "gloo"


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

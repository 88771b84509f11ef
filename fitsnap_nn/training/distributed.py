"""Ranks of a fit: start-up, work partition, collective operations and common termination."""

from __future__ import annotations

import os
import signal
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

from fitsnap_nn.errors import FitsnapError, Interrupted
from fitsnap_nn.launch import abort, started_by_mpi, started_by_torchrun
from fitsnap_nn.plugin.mpi import load_mpi

T = TypeVar("T")

MPIRUN = "mpirun"
COLLECTIVE_TIMEOUT = timedelta(hours=24)


class Ranks:
    """The processes of this run and their collective operations.

    Attributes:
        rank: rank of this process.
        size: number of ranks.
        launcher: program that started the ranks; empty for a single process.
        local_rank: rank of this process on its node.
    """

    def __init__(self, rank: int = 0, size: int = 1, launcher: str = "", local_rank: int = 0) -> None:
        self.rank = rank
        self.size = size
        self.launcher = launcher
        self.local_rank = local_rank

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which prints and writes files."""
        return self.rank == 0

    def sum_(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over ranks in place.

        Args:
            tensor: the same shape and type on every rank.

        Returns:
            The same tensor, now bitwise identical on all ranks.
        """
        # The order of the sum depends on the number of ranks: results agree to rounding, 1e-10 relative in float64.
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def barrier(self) -> None:
        """Wait until all ranks have reached this call."""
        if self.size > 1:
            dist.barrier()

    def broadcast(self, value: T) -> T:
        """Return the value of rank 0 on every rank.

        Args:
            value: picklable; used on rank 0 only.
        """
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def share(self, value: T) -> list[T]:
        """Return the values of all ranks, in the order of ranks, on every rank (all-gather).

        Args:
            value: picklable.
        """
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks, in the order of ranks, on rank 0; an empty list on other ranks.

        Args:
            value: picklable.
        """
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size if self.is_first else []
        dist.gather_object(value, values if self.is_first else None)
        return values

    def mine(self, costs: Sequence[float]) -> list[int]:
        """Return the items that are assigned to this rank.

        Args:
            costs: cost of each item, the same on every rank, so that all ranks compute the same partition.

        Returns:
            Indices of items, ascending.
        """
        return partition_by_cost(costs, self.size)[self.rank]


def rank_batches(costs: Sequence[float], limit: float, ranks: Ranks) -> Iterator[list[int]]:
    """Split the items of this rank into batches of limited total cost.

    Args:
        costs: cost of each item.
        limit: maximum total cost of a batch; an item that exceeds it is a batch of its own.
        ranks: the ranks of this run.

    Yields:
        Indices of the items of a batch, ascending.
    """
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
    """Partition items greedily: largest cost first, to the least loaded bin.

    This is the LPT rule; its largest bin exceeds the optimum by at most a third (R. L. Graham, SIAM J. Appl. Math. 17,
    416 (1969)).

    Args:
        costs: cost of each item.
        bins: number of bins.

    Returns:
        Indices of the items of each bin, ascending.
    """
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
    """Set up the ranks started by ``mpirun``, ``torchrun`` or SLURM, or a single process.

    An exception on any rank inside the block is printed and terminates all ranks with the exit code of the exception.

    Yields:
        The ranks of this run.
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
        # gloo resolves the host name to choose an interface, which can fail without DNS; loopback suffices here.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    # Port 0: the store of rank 0 binds a free port itself. A port that is probed and released can be taken meanwhile.
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
    """Return the backend of torch.distributed.

    nccl does not support two ranks on one GPU, so that it is used only if each rank of the node has its own.
    gloo copies GPU tensors through host memory.
    """
    return "cpu:gloo,cuda:nccl" if 0 < local_size <= torch.cuda.device_count() else "gloo"


def _end_all(ranks: Ranks, error: BaseException) -> NoReturn:
    # An error that occurs on all ranks is reported by rank 0 only: it ends the others during their wait.
    if not ranks.is_first:
        time.sleep(1.0)
    if isinstance(error, KeyboardInterrupt):
        code = error.exit_code if isinstance(error, Interrupted) else 128 + signal.SIGINT
        report = "interrupted\n"
    else:
        code = error.exit_code if isinstance(error, FitsnapError) else 1
        report = f"error: {error}\n" if isinstance(error, FitsnapError) else "".join(traceback.format_exception(error))
    if not ranks.is_first:
        report += f"(on rank {ranks.rank} of {ranks.size})\n"
    sys.stderr.write(report)  # a single write, so that output of several ranks is not interleaved
    sys.stdout.flush()
    sys.stderr.flush()
    if ranks.launcher == MPIRUN:
        from mpi4py import MPI

        abort(MPI.COMM_WORLD, code)
    os._exit(code)

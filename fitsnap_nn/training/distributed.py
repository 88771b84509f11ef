"""Ranks of a fit: start-up, work partition, collective operations and common termination."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import TCPStore

from fitsnap_nn import devices
from fitsnap_nn.errors import DataError, FitsnapError, counted
from fitsnap_nn.job import Job, job
from fitsnap_nn.launch import TORCHRUN

T = TypeVar("T")

BACKEND = "gloo"  # for Python objects, and tensors on the CPU
COLLECTIVE_TIMEOUT = timedelta(hours=24)
ENDING = 3.0  # s: time for the rank with an error, or for the launcher, to end this one
INTERFACE_VARIABLE = "GLOO_SOCKET_IFNAME"  # network interface that gloo listens on


class Ranks:
    """The processes of this run and their collective operations.

    Attributes:
        rank: rank of this process.
        size: number of ranks.
        launcher: program that started the ranks; empty for a single process.
        local_rank: rank of this process on its node.
        opened: what other machines can connect to; empty if nothing.
    """

    def __init__(self, rank: int = 0, size: int = 1, launcher: str = "", local_rank: int = 0, opened: str = "") -> None:
        self.rank = rank
        self.size = size
        self.launcher = launcher
        self.local_rank = local_rank
        self.opened = opened
        self._gpu_group: Any = None

    def use(self, device: torch.device) -> str:
        """Make a device the current one, and agree with the other ranks on how tensors on GPUs are summed.

        NCCL does not support two ranks on one GPU, so that it is used only if each rank has its own. Gloo copies the
        tensors through host memory.

        Args:
            device: that of this rank.

        Returns:
            Phrase for the log about the GPUs of the ranks; empty without GPUs, or for a single rank.
        """
        if device.type == "cuda":
            torch.cuda.set_device(device)
        gpus = list(filter(None, self.share(devices.identity(device))))
        if self.size == 1 or not gpus:
            return ""
        distinct, through_host = len(set(gpus)), "sums by gloo, through host memory"
        if len(gpus) < self.size:
            return f"{len(gpus)} of {self.size} ranks on GPUs, the others on CPUs; {through_host}"
        if distinct < self.size:
            return f"{self.size} ranks share {counted(distinct, 'GPU')}; {through_host}"
        if not dist.is_nccl_available():
            return f"{self.size} ranks on as many GPUs; {through_host}, because this torch has no NCCL"
        self._gpu_group = dist.new_group(backend="nccl", timeout=COLLECTIVE_TIMEOUT)
        return f"{self.size} ranks on as many GPUs; sums by NCCL"

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
            with _collective():
                dist.all_reduce(tensor, group=self._gpu_group if tensor.is_cuda else None)
        return tensor

    def barrier(self) -> None:
        """Wait until all ranks have reached this call."""
        if self.size > 1:
            with _collective():
                dist.barrier()

    def broadcast(self, value: T) -> T:
        """Return the value of rank 0 on every rank.

        Args:
            value: picklable; used on rank 0 only.
        """
        if self.size == 1:
            return value
        box = [value]
        with _collective():
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
        with _collective():
            dist.all_gather_object(values, value)
        return values

    def require_same(self, value: object, what: str) -> None:
        """Check that a value is the same on all ranks, which read it from files of their own machines.

        Args:
            value: picklable.
            what: names it.

        Raises:
            DataError: on all ranks, if it differs.
        """
        values = self.share(value)
        if differing := [rank for rank, one in enumerate(values) if one != values[0]]:
            raise DataError(f"{what}: rank {differing[0]} differs from rank 0. Give all machines the same files.")

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks, in the order of ranks, on rank 0; an empty list on other ranks.

        Args:
            value: picklable.
        """
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size if self.is_first else []
        with _collective():
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


@contextmanager
def _collective() -> Iterator[None]:
    """Translate the error of a lost connection, which has a cause on another rank."""
    try:
        yield
    except RuntimeError as error:
        time.sleep(ENDING)
        raise FitsnapError(
            "the connection to another rank is lost. Look for its message, or for that of the launcher: the process "
            f"may have been killed, for instance for lack of memory. ({str(error).splitlines()[0]})"
        ) from error


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
    """Connect the ranks started by ``mpirun``, ``torchrun`` or SLURM, or set up a single process.

    An exception on any rank inside the block ends all ranks, see `fitsnap_nn.job`.

    Yields:
        The ranks of this run.
    """
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    with job() as process:
        if process.size == 1:
            yield Ranks()
            return
        opened = _connect(process)
        ranks = Ranks(process.rank, process.size, process.launcher, process.local_rank, opened)
        yield ranks
        ranks.barrier()
        dist.destroy_process_group()


def _connect(process: Job) -> str:
    """Set up torch.distributed; return what it opens to the network, empty if only this machine can connect."""
    one_machine = process.local_size == process.size
    if one_machine:
        # gloo listens on the interface of the host name; looking that up can also fail without DNS.
        os.environ.setdefault(INTERFACE_VARIABLE, "lo")
    if process.launcher == TORCHRUN:
        dist.init_process_group(BACKEND, init_method="env://", timeout=COLLECTIVE_TIMEOUT)
        return "" if one_machine else f"the store of torchrun on {os.environ['MASTER_ADDR']}"
    store: TCPStore | None = None
    address: tuple[str, int] | None = None
    if process.rank == 0:
        host = "127.0.0.1" if one_machine else socket.gethostname()
        # The store itself would listen on all interfaces. Port 0: a free one, which nobody can take meanwhile.
        listening = socket.create_server(("127.0.0.1" if one_machine else "", 0), backlog=process.size)
        address = (host, listening.getsockname()[1])
        descriptor = listening.detach()
        store = TCPStore(*address, None, True, COLLECTIVE_TIMEOUT, False, master_listen_fd=descriptor)
    host, port = process.world.bcast(address)
    if store is None:
        store = TCPStore(host, port, None, False, COLLECTIVE_TIMEOUT, wait_for_workers=False)
    dist.init_process_group(
        BACKEND, store=store, rank=process.rank, world_size=process.size, timeout=COLLECTIVE_TIMEOUT
    )
    return "" if one_machine else f"port {port} of all interfaces of {host}"

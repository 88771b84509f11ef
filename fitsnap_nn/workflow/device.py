"""The device of a run, as the input chooses it, and what the run has used."""

from __future__ import annotations

import torch

from fitsnap_nn import devices
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.settings import Settings
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.usage import Stopwatch, describe_usage


def choose_device(settings: Settings, ranks: Ranks) -> torch.device:
    """Return the device of this rank.

    Raises:
        InputError: the input requests a GPU, and torch finds none.
    """
    wanted = settings.pytorch.device
    return devices.choose(wanted, ranks.local_rank, where=settings.source, name="[PYTORCH] device")


def use_device(device: torch.device, ranks: Ranks, console: Console) -> torch.device:
    """Let the ranks compute on their devices, and print what is not the CPU.

    Args:
        device: that of this rank.

    Returns:
        The same device.
    """
    shared = ranks.use(device)
    if device.type != "cpu" or shared:
        console.line(f"device: {devices.describe(device)}{f' · {shared}' if shared else ''}")
    return device


def report_usage(watch: Stopwatch, ranks: Ranks, console: Console) -> None:
    """Print time and memory of all ranks; every rank calls it when its work is done.

    Args:
        watch: start of the run.
    """
    gpu = torch.cuda.max_memory_reserved() if torch.cuda.is_available() else 0
    if found := ranks.gather(watch.usage(gpu)):
        console.line(describe_usage(watch.wall(), found), final=True)

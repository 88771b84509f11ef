"""The device of a run, as the input chooses it."""

from __future__ import annotations

import torch

from fitsnap_nn import devices
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.settings import Settings
from fitsnap_nn.training.distributed import Ranks


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

"""The device that a model runs on: the one place where it is chosen.

Models never ask for it: they compute where their weights and their batch are.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fitsnap_nn.errors import InputError, Problem, counted, shorten

VARIABLE = "FITSNAP_NN_DEVICE"  # environment variable that replaces the choice `auto`
FORMS = "auto, cpu, cuda or cuda:NUMBER"


def choose(wanted: str = "auto", local_rank: int = 0, *, where: str = "argument", name: str = "device") -> torch.device:
    """Return the CPU, or the GPU of this rank: the ranks of a node take its GPUs in turn.

    Args:
        wanted: ``cpu``; ``cuda``, a GPU; ``cuda:1``, this GPU for all ranks; or ``auto``: what the environment variable
            ``FITSNAP_NN_DEVICE`` says, without it a GPU if there is one, otherwise the CPU.
        local_rank: number of this rank on its node, from 0.
        where, name: file and key that ``wanted`` comes from, for messages.

    Raises:
        InputError: a GPU is requested and torch finds none, or the name is unknown.
    """
    if wanted == "auto" and os.environ.get(VARIABLE):
        wanted, where, name = os.environ[VARIABLE].strip(), "environment", VARIABLE
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", wanted):
        raise InputError([Problem(where, f"{name} = {shorten(wanted)} is not a device.", f"Use {FORMS}.")])
    if wanted == "cpu":
        return torch.device("cpu")
    count = _count()
    if wanted == "auto" and not count:
        return torch.device("cpu")
    if not count:
        raise InputError(
            [Problem(where, f"{name} = {wanted}, but {why_no_gpu()}.", "With auto or cpu it runs on the CPU.")]
        )
    _, _, number = wanted.partition(":")
    if number and int(number) >= count:
        what = f"{name} = {wanted}, but torch finds {counted(count, 'GPU')}, numbered from 0."
        raise InputError([Problem(where, what, "Use cuda, or a lower number.")])
    return torch.device("cuda", int(number) if number else local_rank % count)


@contextmanager
def tf32(enabled: bool) -> Iterator[None]:
    """Let GPUs compute products of float32 matrices in TF32 within the block, or not."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = enabled
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def why_no_gpu() -> str:
    """Return the reason why torch finds no GPU; empty if it finds one."""
    if _count():
        return ""
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is built without support for GPUs"
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        return f"torch {torch.__version__} finds no GPU: {reason}"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    hidden = "" if visible is None else f" (CUDA_VISIBLE_DEVICES={shorten(visible)})"
    return f"torch {torch.__version__} finds no GPU{hidden}"


def describe(device: torch.device) -> str:
    """Return a device with the name and memory of its hardware: ``cuda:0 (NVIDIA H100 80GB HBM3, 79 GiB)``."""
    if device.type != "cuda":
        return str(device)
    properties = torch.cuda.get_device_properties(device)
    return f"{device} ({properties.name}, {properties.total_memory / 2**30:.0f} GiB)"


def report() -> str:
    """Return the GPUs that torch finds, or the reason why there is none, and the environment variable; for people."""
    gpus = [describe(torch.device("cuda", number)) for number in range(_count())]
    variable = os.environ.get(VARIABLE)
    chosen = f" ({VARIABLE}={shorten(variable)})" if variable else ""
    return f"{', '.join(gpus) or f'no: {why_no_gpu()}'}{chosen}"


def identity(device: torch.device) -> str:
    """Return what is equal for two processes of a node if and only if they use the same GPU; empty for the CPU."""
    # Numbers do not identify a GPU: each rank may see a GPU of its own as number 0.
    return "" if device.type != "cuda" else str(torch.cuda.get_device_properties(device).uuid)


def free_memory(device: torch.device) -> int | None:
    """Return the memory of a GPU that is free or kept by torch for new tensors, bytes; ``None`` for the CPU."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _count() -> int:
    """Return the number of GPUs; torch's warning about a driver that it cannot use belongs to `why_no_gpu`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.cuda.device_count() if torch.cuda.is_available() else 0

"""What the pickles that LAMMPS opens carry: bytes that ``torch.load(weights_only=True)`` reads."""

from __future__ import annotations

import io
import os
from typing import Any

import torch


def packed(content: dict[str, Any]) -> bytes:
    """Tensors, numbers and texts, in dictionaries, lists and tuples, as bytes."""
    payload = io.BytesIO()
    torch.save(content, payload)
    return payload.getvalue()


def unpacked(payload: bytes) -> dict[str, Any]:
    """The same again, on the CPU; no code in the payload is run."""
    content: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    return content


def keep_to_one_thread() -> None:
    """Torch takes one thread, since ranks share a machine, unless ``OMP_NUM_THREADS`` says otherwise."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)

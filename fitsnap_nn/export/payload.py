"""Payload of the pickles that LAMMPS opens: bytes that ``torch.load(weights_only=True)`` reads."""

from __future__ import annotations

import io
import os
from typing import Any

import torch


def serialize(content: dict[str, Any]) -> bytes:
    """Serialise a payload.

    Args:
        content: tensors, numbers and strings in dictionaries, lists and tuples.
    """
    payload = io.BytesIO()
    torch.save(content, payload)
    return payload.getvalue()


def deserialize(payload: bytes) -> dict[str, Any]:
    """Return the content of a payload, on the CPU, without running code in it.

    Args:
        payload: result of `serialize`.
    """
    content: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    return content


def limit_threads() -> None:
    """Restrict torch to one thread, since ranks share a node, unless ``OMP_NUM_THREADS`` is set."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)

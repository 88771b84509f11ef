"""Number of threads of a model in LAMMPS."""

from __future__ import annotations

import os

import torch


def limit_threads() -> None:
    """Restrict torch to one thread, since ranks share a node, unless ``OMP_NUM_THREADS`` is set."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)

"""Bispectrum descriptors of atoms, from Python.

import numpy as np
from ase.build import bulk
from fitsnap_nn.data.atoms import from_atoms
from fitsnap_nn.descriptors import SnapKernel, by_atoms, by_strain, find_environments
from fitsnap_nn.settings.schema import Bispectrum

settings = Bispectrum(type=("Ta",), twojmax=(8,), rcutfac=4.67637)
kernel = SnapKernel(settings)
environments = find_environments([from_atoms(bulk("Ta", cubic=True))], settings)  # of any number of configurations
components = kernel.components(environments)  # (N, n) B
gradients = kernel.gradients(environments)  # (P, 3, n) dB by the vectors to the neighbours
pair_i, pair_j, by_positions = by_atoms(environments, gradients)
strain_gradients = by_strain(environments, gradients)  # (N, 6, n)
beta = np.ones_like(components)  # dE/dB
pair_forces = kernel.forces(environments, beta)  # (P, 3) dE by the vectors to the neighbours
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fitsnap_nn.descriptors.environments import Environments, by_atoms, by_strain, find_environments
    from fitsnap_nn.descriptors.kernel import SnapKernel
    from fitsnap_nn.descriptors.neighbours import Neighbours, find_neighbours

HOMES = MappingProxyType(
    {
        "Environments": "environments",
        "by_atoms": "environments",
        "by_strain": "environments",
        "find_environments": "environments",
        "SnapKernel": "kernel",
        "Neighbours": "neighbours",
        "find_neighbours": "neighbours",
    }
)
__all__ = [
    "Environments",
    "Neighbours",
    "SnapKernel",
    "by_atoms",
    "by_strain",
    "find_environments",
    "find_neighbours",
]


def __getattr__(name: str) -> Any:
    # Each is imported when it is asked for: a model that LAMMPS loads needs none of them.
    if name in HOMES:
        return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

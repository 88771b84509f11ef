"""Bispectrum descriptors of atoms, from Python.

import numpy as np
from ase.build import bulk
from fitsnap_nn.data.atoms import configuration_from_atoms
from fitsnap_nn.inputs.snap import SnapKernel, gradients_wrt_positions, gradients_wrt_strain, find_environments
from fitsnap_nn.settings.schema import Bispectrum

settings = Bispectrum(type=("Ta",), twojmax=(8,), rcutfac=4.67637)
kernel = SnapKernel(settings)
configurations = [configuration_from_atoms(bulk("Ta", cubic=True))]  # any number of them
environments = find_environments(configurations, settings)
components = kernel.components(environments)  # (N, n) B
gradients = kernel.gradients(environments)  # (P, 3, n) dB by the vectors to the neighbours
pair_i, pair_j, by_positions = gradients_wrt_positions(environments, gradients)
strain_gradients = gradients_wrt_strain(environments, gradients)  # (N, 6, n)
beta = np.ones_like(components)  # dE/dB
pair_forces = kernel.forces(environments, beta)  # (P, 3) dE by the vectors to the neighbours
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fitsnap_nn.data.neighbours import Neighbours, find_neighbours
    from fitsnap_nn.inputs.snap.environments import (
        Environments,
        find_environments,
        gradients_wrt_positions,
        gradients_wrt_strain,
    )
    from fitsnap_nn.inputs.snap.kernel import SnapKernel

HOMES = MappingProxyType(
    {
        "Environments": "environments",
        "gradients_wrt_positions": "environments",
        "gradients_wrt_strain": "environments",
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
    "find_environments",
    "find_neighbours",
    "gradients_wrt_positions",
    "gradients_wrt_strain",
]


def __getattr__(name: str) -> Any:
    # Each is imported when it is asked for: a model that LAMMPS loads needs none of them.
    if name in HOMES:
        return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""SNAP bispectrum components of atoms and their derivatives, as a Python library.

import numpy as np
from ase.build import bulk
from fitsnap_nn.data.atoms import configuration_from_atoms
from fitsnap_nn.inputs.snap import SnapKernel, gradients_wrt_positions, gradients_wrt_strain, find_environments
from fitsnap_nn.settings.schema import Bispectrum

settings = Bispectrum(type=("Ta",), twojmax=(8,), rcutfac=4.67637)
kernel = SnapKernel(settings)
configurations = [configuration_from_atoms(bulk("Ta", cubic=True))]  # one or more configurations
environments = find_environments(configurations, settings)
components = kernel.components(environments)  # (N, n) B_i
gradients = kernel.gradients(environments)  # (P, 3, n) dB_i/dr_ij
pair_i, pair_j, position_gradients = gradients_wrt_positions(environments, gradients)  # dB_i/dR_j
strain_gradients = gradients_wrt_strain(environments, gradients)  # (N, 6, n) dB_i/d(strain)
beta = np.ones_like(components)  # (N, n) dE/dB_i
pair_forces = kernel.forces(environments, beta)  # (P, 3) dE/dr_ij
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

# Module of each public name.
PUBLIC_NAMES = MappingProxyType(
    {
        "Environments": f"{__name__}.environments",
        "gradients_wrt_positions": f"{__name__}.environments",
        "gradients_wrt_strain": f"{__name__}.environments",
        "find_environments": f"{__name__}.environments",
        "SnapKernel": f"{__name__}.kernel",
        "Neighbours": "fitsnap_nn.data.neighbours",
        "find_neighbours": "fitsnap_nn.data.neighbours",
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
    # Imported on first use: a model that LAMMPS loads imports this package but needs none of these names.
    if name in PUBLIC_NAMES:
        return getattr(import_module(PUBLIC_NAMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

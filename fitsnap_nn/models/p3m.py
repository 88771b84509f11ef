"""Particle-particle particle-mesh Ewald sums of torch-pme, made accurate for skewed cells.

M. Deserno and C. Holm, J. Chem. Phys. 109, 7678 (1998).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torchpme import CoulombPotential, P3MCalculator
from torchpme.lib.kspace_filter import P3MKSpaceFilter


class SkewedFilter(P3MKSpaceFilter):  # type: ignore[misc]
    """Fourier transform of the potential, divided by that of the distribution of charges to the mesh.

    torch-pme 0.5 multiplies the Cartesian components of wave vectors by the spacings of the mesh, which is right for
    orthogonal cells only: the potentials in fcc primitive cells have relative errors of 1e-3. Here the components are
    those along the lattice vectors.
    """

    def _compute_influence(self, kvectors: Tensor) -> Tensor:
        distribution: Tensor = self._charge_assignment(kvectors @ (self.cell / self.ns_mesh[:, None]).T)
        return distribution.reciprocal()


@lru_cache(maxsize=8)
def calculator(
    smearing: float, resolution: float, nodes: int, dtype: torch.dtype, device: torch.device
) -> P3MCalculator:
    """Return the P3M calculator of a fully periodic cell; it is not part of a model, which would store its constants.

    Args:
        smearing: standard deviation of the charges, Å.
        resolution: upper limit of twice the spacing of the mesh, Å.
        nodes: points of the mesh per direction to which a charge is distributed.
        dtype, device: of positions and charges.
    """
    potential = CoulombPotential(smearing=smearing)
    found = P3MCalculator(potential, resolution, interpolation_nodes=nodes, full_neighbor_list=True)
    found.kspace_filter = SkewedFilter(
        cell=torch.eye(3, dtype=torch.float64),
        ns_mesh=torch.ones(3, dtype=torch.int64),
        interpolation_nodes=nodes,
        kernel=potential,
        fft_norm="backward",
        ifft_norm="forward",
    )
    return found.to(dtype=dtype, device=device)

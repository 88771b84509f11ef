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

    In torch-pme 0.5 the latter is right for orthogonal cells only: potentials in fcc primitive cells have relative
    errors of 1e-3. In units of the mesh a wave vector is a fraction, whatever the cell. Derivatives of torch-pme's
    squared wave numbers and of its ``sinc`` are not finite at 0 in second order, which training on stresses needs.
    """

    def update(self, cell: Tensor | None = None, ns_mesh: Tensor | None = None) -> None:
        self._prep_kvectors(cell, ns_mesh)
        self._k_sq = self._kvectors.square().sum(dim=3)
        self._kfilter = self._compute_influence(self._kvectors) * self.kernel.kernel_from_k_sq(self._k_sq)

    def _compute_influence(self, kvectors: Tensor) -> Tensor:
        like = {"dtype": kvectors.dtype, "device": kvectors.device}
        first, second, third = self.ns_mesh.tolist()
        x, y = (torch.sinc(torch.fft.fftfreq(size, **like)) for size in (first, second))
        z = torch.sinc(torch.fft.rfftfreq(third, **like))
        product: Tensor = x[:, None, None] * y[:, None] * z
        return product.pow(-2 * self.interpolation_nodes)


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

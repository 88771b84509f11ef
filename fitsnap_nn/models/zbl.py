"""ZBL: screened Coulomb repulsion of two nuclei at short distance.

J. F. Ziegler, J. P. Biersack and U. Littmark, The Stopping and Range of Ions in Matter, vol. 1 (1985).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from ase.data import atomic_numbers, covalent_radii
from torch import Tensor, nn

from fitsnap_nn.inputs.constants import Float64Constants
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.graph.padded import PaddedGraph
from fitsnap_nn.models.pairs import sum_by

COULOMB = 14.399645478425668  # e²/(4 pi epsilon_0), eV Å
SCREENING = ((0.02817, 0.20162), (0.28022, 0.40290), (0.50986, 0.94229), (0.18175, 3.19980))


class Zbl(nn.Module):
    """ZBL repulsion between atoms closer than the sum r_c of their covalent radii; float64, parameter-free.

    E_ij = Z_i Z_j e²/(4 pi epsilon_0) phi(r/a)/r + A r³/3 + B r⁴/4 + C with phi(x) = sum_k c_k exp(-d_k x) and
    a = 0.4685 Å/(Z_i^0.23 + Z_j^0.23). A, B and C are chosen such that E_ij, E_ij' and E_ij'' vanish at r_c.

    Args:
        elements: chemical symbols, in the order of ``Graph.species``.
        cutoff: cutoff radius of the graph, Å; upper limit of r_c.
    """

    def __init__(self, elements: Sequence[str], cutoff: float = math.inf) -> None:
        super().__init__()
        numbers = [atomic_numbers[element] for element in elements]
        charges = torch.tensor(numbers, dtype=torch.float64)
        radii = torch.tensor([covalent_radii[number] for number in numbers], dtype=torch.float64)
        ends = (radii[:, None] + radii).clamp_max(cutoff)
        strengths = COULOMB * charges[:, None] * charges
        lengths = 0.46850 / (charges.pow(0.23)[:, None] + charges.pow(0.23))
        value, slope, curvature = _derivatives(ends, strengths, lengths)
        cubic = (ends * curvature - 3.0 * slope) / ends**2
        quartic = (2.0 * slope - ends * curvature) / ends**3
        constant = -value + ends * slope / 2.0 - ends**2 * curvature / 12.0
        terms = torch.stack([ends, strengths, lengths, cubic / 3.0, quartic / 4.0, constant])
        self.constants = Float64Constants(terms=terms.flatten(1))  # (6, pairs of elements)
        self._count = len(numbers)

    def energies(self, graph: Graph) -> Tensor:
        """Return per-atom energies: half of each pair energy is assigned to each of its atoms.

        Args:
            graph: N atoms; the result is differentiable with respect to its vectors.

        Returns:
            (N,) eV, float64.
        """
        pair_types = graph.species[graph.edge_i] * self._count + graph.species[graph.edge_j]
        distances = torch.linalg.vector_norm(graph.vectors.double(), dim=1)
        terms = self.constants["terms"]
        is_within = distances < terms[0].index_select(0, pair_types)
        if isinstance(graph, PaddedGraph):
            own = terms.index_select(1, pair_types)
            # Beyond r_c the energy at r_c, whose derivatives vanish, in place of one that is not needed.
            energies = _energies(torch.where(is_within, distances, own[0]), own)
            return graph.sum_by_centre(torch.where(is_within, 0.5 * energies, 0.0))
        within = torch.where(is_within)[0]
        energies = _energies(distances[within], terms[:, pair_types[within]])
        return sum_by(graph.edge_i[within], 0.5 * energies, len(graph.species))


def _energies(r: Tensor, terms: Tensor) -> Tensor:
    """Return the pair energies (E,) at distances (E,), for the terms (6, E) of each pair of elements."""
    _, strength, length, cubic, quartic, constant = terms
    energies: Tensor = _screened(r, strength, length) + (cubic + quartic * r) * r**3 + constant
    return energies


def _screened(r: Tensor, strength: Tensor, length: Tensor) -> Tensor:
    screening = sum(c * torch.exp(-d / length * r) for c, d in SCREENING)
    return strength / r * screening


def _derivatives(r: Tensor, strength: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Screened Coulomb energy and its first and second derivatives with respect to r."""
    with torch.enable_grad():
        r = r.clone().requires_grad_(True)
        value = _screened(r, strength, length)
        (slope,) = torch.autograd.grad(value.sum(), r, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), r)
    return value.detach(), slope.detach(), curvature

"""The repulsion of two nuclei at short distance, behind their electrons.

J. F. Ziegler, J. P. Biersack and U. Littmark, The Stopping and Range of Ions in Matter, vol. 1 (1985).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from ase.data import atomic_numbers, covalent_radii
from torch import Tensor, nn

from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.models.pairs import sum_by

COULOMB = 14.399645478425668  # e²/(4 pi epsilon_0), eV Å
SCREENING = ((0.02817, 0.20162), (0.28022, 0.40290), (0.50986, 0.94229), (0.18175, 3.19980))


class Zbl(nn.Module):
    """Universal screened repulsion between atoms closer than the sum r_c of their covalent radii; float64, no weights.

    E_ij = Z_i Z_j e²/(4 pi epsilon_0) phi(r/a)/r + A r³/3 + B r⁴/4 + C with phi(x) = sum_k c_k exp(-d_k x) and
    a = 0.4685 Å/(Z_i^0.23 + Z_j^0.23). A, B and C are such that E_ij, E_ij' and E_ij'' are 0 at r_c.

    Args:
        elements: chemical symbols, in the order of ``Graph.species``.
        cutoff: of the graph, Å; no r_c is larger.
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
        # Not a buffer: these stay float64 when a model goes to float32. (6, number of pairs of elements).
        self._tables = torch.stack([ends, strengths, lengths, cubic / 3.0, quartic / 4.0, constant]).flatten(1)
        self._count = len(numbers)

    def energies(self, graph: Graph) -> Tensor:
        """(N,) eV, float64, half of the energy of each pair for each of its atoms; differentiable by the vectors."""
        kinds = graph.species[graph.edge_i] * self._count + graph.species[graph.edge_j]
        distances = torch.linalg.vector_norm(graph.vectors.double(), dim=1)
        tables = self._tables.to(distances.device)
        inside = torch.where(distances < tables[0, kinds])[0]
        r = distances[inside]
        _, strength, length, cubic, quartic, constant = tables[:, kinds[inside]]
        energies = _screened(r, strength, length) + (cubic + quartic * r) * r**3 + constant
        return sum_by(graph.edge_i[inside], 0.5 * energies, len(graph.species))


def _screened(r: Tensor, strength: Tensor, length: Tensor) -> Tensor:
    screening = sum(c * torch.exp(-d / length * r) for c, d in SCREENING)
    return strength / r * screening


def _derivatives(r: Tensor, strength: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The screened Coulomb energy, and its first and second derivatives by r."""
    with torch.enable_grad():
        r = r.clone().requires_grad_(True)
        value = _screened(r, strength, length)
        (slope,) = torch.autograd.grad(value.sum(), r, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), r)
    return value.detach(), slope.detach(), curvature

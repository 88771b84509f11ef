"""SNAP descriptors of atoms as a differentiable function of the neighbour graph, for any device of torch.

Fits read the descriptors from the cache, where the compiled kernel writes them, which is 40 times faster on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn

from fitsnap_nn.inputs.constants import Float64Constants
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.graph.densities import sums_of_products
from fitsnap_nn.inputs.selection import Selection
from fitsnap_nn.inputs.snap.bispectrum import pair_cutoffs
from fitsnap_nn.inputs.snap.products import with_products
from fitsnap_nn.inputs.snap.rotations import matrix_elements
from fitsnap_nn.inputs.snap.triples import TripleIntegrals
from fitsnap_nn.settings.descriptors import angular_momenta
from fitsnap_nn.settings.schema import Bispectrum

MIN_DISTANCE = 1e-10  # Å; coincident atoms have no direction
LARGEST_TWOJMAX = 16  # needs 0.4 GB for the points of the integrals


class SnapDescriptors(nn.Module):
    """B_(j1 j2 j) = (j + 1) times the mean over all rotations p of f_j1(p) f_j2(p) f_j(p), without bnormflag's factor.

    f_j(p) = sum_k s_k sin((j + 1) w_k) / sin(w_k), where w_k is the angle between p and the point q_k of the 3-sphere
    that SNAP assigns to neighbour k, and s_k its weight; the atom itself is at the pole. Products of Clebsch-Gordan
    coefficients are such means, so that these are the components of ``compute sna/atom``, in its order.

    Args:
        bispectrum: section [BISPECTRUM].

    Raises:
        ValueError: ``twojmax`` is too large.
    """

    def __init__(self, bispectrum: Bispectrum) -> None:
        super().__init__()
        self.bispectrum = bispectrum
        self.count = len(bispectrum.type)
        self.twojmax = max(bispectrum.twojmax)
        if self.twojmax > LARGEST_TWOJMAX:
            raise ValueError(f"twojmax = {self.twojmax}: SNAP descriptors in torch have at most {LARGEST_TWOJMAX}")
        self.channels = channels = self.count if bispectrum.chemflag else 1
        components = [
            (c1, j1, c2, j2, c3, j)
            for c1, c2, c3 in product(range(channels), repeat=3)
            for j1, j2, j in angular_momenta(self.twojmax)
        ]
        functions = [
            sorted((j1 * channels + c1, j2 * channels + c2, j * channels + c3)) for c1, j1, c2, j2, c3, j in components
        ]
        triples = sorted({(a, b, c) for a, b, c in functions})
        self.integrals = TripleIntegrals(self.twojmax, channels, triples)
        place = {triple: number for number, triple in enumerate(triples)}
        self.selection = Selection(torch.tensor([place[a, b, c] for a, b, c in functions]), len(triples))
        factors = [1.0 if bispectrum.bnormflag else one[5] + 1.0 for one in components]
        self.constants = Float64Constants(
            **self._of_pairs(),
            factors=torch.tensor(factors, dtype=torch.float64),
            isolated=self._of_isolated_atoms(components, factors),
            pole=self._at_pole(),
        )

    def _of_pairs(self) -> dict[str, Tensor]:
        """Return cutoffs, weights of the neighbour, and centres and half-widths of inner switching, (elements²,)."""
        options = self.bispectrum
        inner = (options.sinner, options.dinner) if options.switchinnerflag else ((0.0,) * self.count,) * 2
        centre, half_width = (torch.tensor(one, dtype=torch.float64) for one in inner)
        weights = torch.tensor(options.wj, dtype=torch.float64).expand(self.count, self.count)
        found = {
            "cutoff": torch.from_numpy(pair_cutoffs(options)),
            "weight": weights,
            "inner": 0.5 * (centre[:, None] + centre),
            "half_width": 0.5 * (half_width[:, None] + half_width),
        }
        return {name: one.flatten().contiguous() for name, one in found.items()}

    def _of_isolated_atoms(self, components: Sequence[tuple[int, ...]], factors: Sequence[float]) -> Tensor:
        """Return what bzeroflag subtracts, (elements, D)."""
        found = torch.zeros(self.count, len(components), dtype=torch.float64)
        if self.bispectrum.bzeroflag:
            for element in range(self.count):
                own = element if self.bispectrum.chemflag else 0
                for number, (c1, _, c2, _, c3, _) in enumerate(components):
                    if self.bispectrum.wselfallflag or c1 == c2 == c3 == own:
                        found[element, number] = factors[number]
        return found

    def _at_pole(self) -> Tensor:
        """Return the contribution of each element's atom to its own densities, (elements, C, R)."""
        one, none = torch.ones(1, dtype=torch.float64), torch.zeros(3, 1, dtype=torch.float64)
        pole = torch.view_as_real(matrix_elements(one, none, self.twojmax)[:, 0]).flatten()
        if self.bispectrum.wselfallflag or not self.bispectrum.chemflag:
            return pole.expand(self.count, self.channels, -1).clone()
        return torch.eye(self.count, dtype=torch.float64)[:, :, None] * pole

    def forward(self, graph: Graph) -> Tensor:
        """Return the descriptors (N, D), differentiable with respect to the vectors of the graph.

        Args:
            graph: N atoms, float64.
        """
        integrals = self.selection(self.integrals(self._densities(graph))).t()
        components: Tensor = integrals * self.constants["factors"]
        components = components - self.constants["isolated"].index_select(0, graph.species)
        return with_products(components) if self.bispectrum.quadraticflag else components

    def _densities(self, graph: Graph) -> Tensor:
        """Return the sums of matrix elements over the neighbours of each channel, and the atom itself, (N, C, R)."""
        of_centre, of_neighbour = (graph.species.index_select(0, one) for one in (graph.edge_i, graph.edge_j))
        weights, elements = self._of_edges(graph.vectors, of_centre * self.count + of_neighbour)
        found = sums_of_products(graph, weights, elements, self.channels)
        return found + self.constants["pole"].index_select(0, graph.species)

    def _of_edges(self, vectors: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights (E, 1) and matrix elements (E, R) of vectors (E, 3) between elements of the given pairs."""
        options = self.bispectrum
        cutoff, weight, inner, half_width = (
            self.constants[name].index_select(0, index) for name in ("cutoff", "weight", "inner", "half_width")
        )
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        within = (lengths < cutoff) & (lengths > MIN_DISTANCE)
        phase = math.pi * (lengths - options.rmin0) / (cutoff - options.rmin0)
        if options.switchflag:
            weight = weight * torch.where(lengths > options.rmin0, 0.5 * (torch.cos(phase) + 1.0), 1.0)
        if options.switchinnerflag:
            # A half-width of 0, a step, has finite derivatives too.
            position = ((lengths - inner) / half_width.clamp_min(MIN_DISTANCE)).clamp(-1.0, 1.0)
            weight = weight * 0.5 * (1.0 + torch.sin(0.5 * math.pi * position))
        angle = options.rfac0 * phase
        directions = vectors.t() / lengths.clamp_min(MIN_DISTANCE)
        # z0 = r / tan(angle) has the sign of its tangent, so that below rmin0 the point is opposite to this one.
        sign = torch.where(torch.sin(angle) < 0.0, -1.0, 1.0)
        elements = matrix_elements(sign * torch.cos(angle), sign * torch.sin(angle) * directions, self.twojmax)
        weights = torch.where(within, weight, 0.0)
        return weights[:, None], torch.view_as_real(elements.t()).flatten(1)

"""ACE descriptors of atoms: for molecular dynamics differentiable, for fits with the derivatives of each descriptor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from fitsnap_nn.inputs.ace.coupling import Coupling, couple
from fitsnap_nn.inputs.ace.products import SumsOfProducts
from fitsnap_nn.inputs.ace.radial import Bonds, radial_functions, values_and_slopes
from fitsnap_nn.inputs.constants import Float64Constants
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.graph.densities import sums_of_products
from fitsnap_nn.inputs.harmonics import SphericalHarmonics, values_and_gradients
from fitsnap_nn.inputs.selection import Selection
from fitsnap_nn.settings.ace_functions import AceFunction

NORM = math.sqrt(4.0 * math.pi)  # of pace's spherical harmonics, whose Y_00 is 1


class BondParameters(NamedTuple):
    """Parameters of the radial functions for each pair of elements of central atom and neighbour, row by row, Å."""

    cutoff: Sequence[float]
    decay: Sequence[float]
    inner: Sequence[float]
    inner_width: Sequence[float]


class AceDescriptors(nn.Module):
    """B_f = sum_m C_f,m prod_t A_(v_t m_t), A_(v m) = sum_j g_n(r_j) Y_lm(r_j/|r_j|) over the neighbours of an element.

    The values are those of LAMMPS' ``compute pace`` with the .yace file of FitSNAP.

    Args:
        functions: D functions of a central atom, the same for all elements.
        bonds: parameters of each pair of elements.
        wigner: see `couple`.
        separate: prepare `with_derivatives`.
    """

    def __init__(
        self, functions: Sequence[AceFunction], bonds: BondParameters, *, wigner: bool, separate: bool = False
    ) -> None:
        super().__init__()
        self.count = math.isqrt(len(bonds.cutoff))  # of elements
        self.bonds = Float64Constants(**{n: torch.tensor(v, dtype=torch.float64) for n, v in bonds._asdict().items()})
        self.radial_count = max(max(one.n) for one in functions)
        degree = max(max(one.l) for one in functions)
        self.harmonics = SphericalHarmonics(degree)
        self.trees = Trees(couple(functions, wigner=wigner, shared=True), self.radial_count, degree)
        self.separate = None
        if separate:
            coupling = couple(functions, wigner=wigner, shared=False)
            self.separate = Trees(coupling, self.radial_count, degree)
            row_of_column = torch.zeros(self.trees.width, dtype=torch.int64)
            row_of_column[self.trees.columns] = torch.arange(len(self.trees.columns))
            # Flattened (function, row of `trees`) of each row of the separate densities.
            self.owners = _owners(coupling, functions) * len(self.trees.columns) + row_of_column[self.separate.columns]

    def forward(self, graph: Graph) -> Tensor:
        """Return the descriptors (N, D), differentiable with respect to the vectors of the graph."""
        functions: Tensor = self.trees(self._densities(graph))
        return functions.t()

    def _bonds(self, species_i: Tensor, species_j: Tensor, dtype: torch.dtype) -> Bonds:
        """Return the parameters of each edge, or of all if there is one element."""
        rows = [self.bonds[name].to(dtype) for name in BondParameters._fields]
        if self.count > 1:
            index = species_i * self.count + species_j
            rows = [row.index_select(0, index) for row in rows]
        return Bonds(*rows)

    def _densities(self, graph: Graph) -> Tensor:
        """Return the densities (N, elements * n * (l_max + 1)²) of all elements, n and lm."""
        vectors = graph.vectors
        neighbours = graph.species.index_select(0, graph.edge_j)
        bonds = self._bonds(graph.species.index_select(0, graph.edge_i), neighbours, vectors.dtype)
        radial = radial_functions(torch.linalg.vector_norm(vectors, dim=1), bonds, self.radial_count).t()
        return sums_of_products(graph, radial, NORM * self.harmonics(vectors), self.count).flatten(1)

    @torch.no_grad()
    def with_derivatives(self, graph: Graph) -> tuple[Tensor, Tensor]:
        """Return the descriptors (N, D), and their derivatives (E, 3, D) by the vectors of the edges of each atom, 1/Å.

        Args:
            graph: N atoms, float64; edges are sorted by centre.
        """
        assert self.separate is not None, "constructed without `separate`"
        functions, rows = len(self.trees.functions), len(self.trees.columns)
        leaves, values = self.separate.leaves(self._densities(graph))
        # Each function has leaves of its own, so that the derivative of the sum of all contains those of each.
        slopes = torch.zeros(functions * rows, len(graph.species), dtype=values.dtype)
        by_density = slopes.index_copy_(0, self.owners, leaves).view(functions, rows, -1)
        edges = self._density_derivatives(graph)
        found = torch.zeros(graph.n_edges, 3, functions, dtype=values.dtype)
        ends = np.searchsorted(graph.edge_i.numpy(), np.arange(len(graph.species) + 1))
        for atom, (start, stop) in enumerate(pairwise(ends)):
            torch.matmul(edges[start:stop], by_density[:, :, atom].t(), out=found[start:stop])
        return values.t(), found

    def _density_derivatives(self, graph: Graph) -> Tensor:
        """Return what each edge adds to the derivatives of the densities in use, (E, 3, rows of `trees`)."""
        vectors = graph.vectors
        neighbours = graph.species.index_select(0, graph.edge_j)
        bonds = self._bonds(graph.species.index_select(0, graph.edge_i), neighbours, vectors.dtype)
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        values, slopes = values_and_slopes(lengths, bonds, self.radial_count)
        angular, gradients = values_and_gradients(vectors, self.harmonics.constants["slopes"])
        directions = (vectors / lengths[:, None])[:, :, None]
        element, n, component = self.trees.place
        radial = values.t()[:, n] * (neighbours[:, None] == element)
        outward = slopes.t()[:, n] * (neighbours[:, None] == element) * angular[:, component]
        found: Tensor = NORM * (directions * outward[:, None] + radial[:, None] * gradients[:, :, component])
        return found


def _owners(coupling: Coupling, functions: Sequence[AceFunction]) -> Tensor:
    """Return the function of each row of the densities, which follow each other in the order of the functions."""
    distinct = [len(set(zip(one.elements, one.n, one.l, strict=True))) for one in functions]
    of_density = np.repeat(np.arange(len(functions)), distinct)
    sizes = [2 * density.degree + 1 for density in coupling.densities]
    return torch.from_numpy(np.repeat(of_density, sizes))


class Trees(nn.Module):
    """Computation of a `Coupling` from the densities of all elements, n and lm.

    Attributes:
        columns: (R,) column of each row of the densities in use.
        place: element, n - 1 and lm of each, (R,).
        width: number of columns.
        functions: (D,) see `Coupling`.

    Args:
        coupling: the computation.
        radial_count: number of n.
        degree: maximum l.
    """

    def __init__(self, coupling: Coupling, radial_count: int, degree: int) -> None:
        super().__init__()
        components = (degree + 1) ** 2
        rows = [
            (one.element, one.n - 1, one.degree**2 + component)
            for one in coupling.densities
            for component in range(2 * one.degree + 1)
        ]
        place = torch.tensor(rows, dtype=torch.int64).t()
        self.width = (1 + max(one.element for one in coupling.densities)) * radial_count * components
        columns = (place[0] * radial_count + place[1]) * components + place[2]
        constants = {"place": place, "columns": columns, "functions": torch.from_numpy(coupling.functions)}
        self.constants = Float64Constants(**constants, factors=torch.from_numpy(coupling.factors))
        total = len(rows) + sum(level.size for level in coupling.levels)
        self.selections = nn.ModuleList([Selection(columns, self.width), Selection(self.functions, total)])
        starts = len(rows) + np.cumsum([0, *(level.size for level in coupling.levels)])
        self.levels = nn.ModuleList(
            SumsOfProducts(level, int(start)) for level, start in zip(coupling.levels, starts, strict=False)
        )

    @property
    def place(self) -> Tensor:
        return self.constants["place"]

    @property
    def columns(self) -> Tensor:
        return self.constants["columns"]

    @property
    def functions(self) -> Tensor:
        return self.constants["functions"]

    def forward(self, densities: Tensor) -> Tensor:
        """Return the functions (D, N) of densities (N, columns)."""
        return self._products(self.selections[0](densities.t()))

    @torch.enable_grad()
    def leaves(self, densities: Tensor) -> tuple[Tensor, Tensor]:
        """Return the derivatives (R, N) of the sum of all functions by the densities in use, and the functions."""
        rows = densities.t().index_select(0, self.columns).detach().requires_grad_(True)
        values = self._products(rows)
        (slopes,) = torch.autograd.grad(values.sum(), rows)
        return slopes, values.detach()

    def _products(self, rows: Tensor) -> Tensor:
        for level in self.levels:
            rows = torch.cat([rows, level(rows)])
        functions: Tensor = self.selections[1](rows)
        return functions * self.constants["factors"].to(rows.dtype)[:, None]

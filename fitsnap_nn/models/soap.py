"""Smooth overlap of atomic positions (SOAP): rotationally invariant power spectrum of atomic environments.

A. P. Bartók, R. Kondor and G. Csányi, Phys. Rev. B 87, 184115 (2013), with the radial functions of F. Bigi et al.,
J. Chem. Phys. 157, 234101 (2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from spex.radial import LaplacianEigenstates
from sphericart.torch import SphericalHarmonics
from torch import Tensor, nn

from fitsnap_nn.inputs import harmonics
from fitsnap_nn.inputs.constants import Float64Constants
from fitsnap_nn.inputs.graph.blocks import neighbour_blocks
from fitsnap_nn.inputs.graph.padded import PaddedGraph
from fitsnap_nn.models.pairs import cosine_cutoff


class RadialTables(NamedTuple):
    """Radial functions as cubic splines, c_0 + c_1 t + c_2 t² + c_3 t³ between two grid points.

    Attributes:
        sizes: number of radial functions for each l.
        spacing: () Å, grid spacing; t is the distance to the preceding point in units of the spacing.
        cubics: (4, points, sum of the sizes) c, float64; at the last point, the cutoff, only t = 0 occurs.
        slopes: (3, points, sum of the sizes) coefficients of the derivatives with respect to the distance, 1/Å.
    """

    sizes: tuple[int, ...]
    spacing: Tensor
    cubics: Tensor
    slopes: Tensor


@cache
def radial_tables(max_angular: int, max_radial: int, cutoff: float) -> RadialTables:
    """Return splines of the spherical Bessel functions N j_l(z_nl r/r_c), which vanish at the cutoff.

    Grid and values are those of torch-spex. The mean error of the splines is below 1e-8.

    Args:
        max_angular: maximum l.
        max_radial: max_radial + 1 functions for l = 0, fewer for larger l: the Laplacian eigenvalue is bounded.
        cutoff: r_c, Å.
    """
    basis = LaplacianEigenstates(cutoff=cutoff, max_angular=max_angular, max_radial=max_radial, trim=True)
    # Not torch-spex's own tables: they have torch's default type, usually float32, which is too coarse for float64.
    grid = np.linspace(0.0, cutoff, len(basis.spliner.spline_values) - 1)
    tables = (torch.from_numpy(function(grid)) for function in basis.get_spliner_inputs(cutoff, normalize=True))
    values, slopes = (torch.cat([table, torch.zeros_like(table[:1])]) for table in tables)
    slopes = slopes * grid[1]
    rise, last_slopes = values.diff(dim=0), slopes[1:]
    values, slopes = values[:-1], slopes[:-1]
    cubics = torch.stack([values, slopes, 3.0 * rise - 2.0 * slopes - last_slopes, slopes + last_slopes - 2.0 * rise])
    slope_table = cubics[1:] * torch.arange(1, 4)[:, None, None] / grid[1]
    return RadialTables(tuple(map(int, basis.n_per_l)), torch.tensor(grid[1], dtype=torch.float64), cubics, slope_table)


class _Splines(torch.autograd.Function):
    """Splines (E, K) at distances (E,).

    The derivative is evaluated from its own table, one polynomial instead of autograd's pass through every operation.
    """

    @staticmethod
    def forward(ctx: Any, distances: Tensor, spacing: Tensor, cubics: Tensor, slopes: Tensor) -> Tensor:
        ctx.save_for_backward(distances, spacing, slopes)
        return _piecewise(distances, spacing, cubics)

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor, None, None, None]:
        return (_piecewise(*ctx.saved_tensors) * bar).sum(dim=1), None, None, None


def _piecewise(distances: Tensor, spacing: Tensor, coefficients: Tensor) -> Tensor:
    """Return piecewise polynomials (E, K) with coefficients (degree + 1, points, K)."""
    scaled = distances / spacing
    points = scaled.floor()
    t, points = (scaled - points)[:, None], points.long()
    *lower, total = [table.index_select(0, points) for table in coefficients.unbind()]
    for coefficient in reversed(lower):
        total = coefficient.addcmul_(t, total)
    return total


def spherical_harmonics(vectors: Tensor, max_angular: int) -> Tensor:
    """Return real orthonormal spherical harmonics of directions.

    Args:
        vectors: (E, 3) of any length.
        max_angular: maximum l.

    Returns:
        (E, (max_angular + 1)²), ordered by l, then m from -l to l.
    """
    values: Tensor = _Harmonics.apply(vectors, SphericalHarmonics(max_angular))  # type: ignore[no-untyped-call]
    return values


class _Harmonics(torch.autograd.Function):
    """Backward pass as element-wise products and sums, several times faster than sphericart's own or torch.bmm."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, harmonics: SphericalHarmonics) -> Tensor:
        ctx.harmonics = harmonics
        ctx.save_for_backward(vectors)
        values: Tensor = harmonics.compute(vectors)
        return values

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor, None]:
        _, slopes = ctx.harmonics.compute_with_gradients(*ctx.saved_tensors)
        return (slopes * bar[:, None]).sum(dim=2), None


class SphericalExpansion(nn.Module):
    """A^l_(an)m = sum_j R_nl(r_j) f(r_j) Y_lm(r_j/|r_j|), summed over the neighbours of element a of each atom.

    Attributes:
        sizes: number of radial functions for each l.
    """

    def __init__(self, max_angular: int, max_radial: int, cutoff: float, width: float) -> None:
        super().__init__()
        self.cutoff, self.width = cutoff, width
        self.max_angular = max_angular
        tables = radial_tables(max_angular, max_radial, cutoff)
        self.sizes = tables.sizes
        self.tables = Float64Constants(spacing=tables.spacing, cubics=tables.cubics, slopes=tables.slopes)
        self.harmonics = harmonics.SphericalHarmonics(max_angular)

    def forward(self, vectors: Tensor, atoms: Tensor, count: int, species: Tensor, species_count: int) -> list[Tensor]:
        """Return the expansion coefficients.

        Args:
            vectors: (E, 3) Å.
            atoms: (E,) centre atom of each vector, below ``count``.
            count: number of centre atoms.
            species: (E,) element of the neighbour, below ``species_count``.
            species_count: number of elements.

        Returns:
            For each l (count, species_count * n, 2l + 1).
        """
        radial = self._radial(torch.linalg.vector_norm(vectors, dim=1))
        angular = self._angular(vectors)
        blocks = neighbour_blocks(atoms, count)
        by_degree = torch.split(blocks.pad(angular, blocks.position, 1), [2 * n + 1 for n in range(len(self.sizes))], 2)
        # Radial functions go to the columns of the neighbour's element; the zeros elsewhere restrict the sum to it.
        positions = blocks.position * species_count + species
        sums = []
        for functions, values in zip(torch.split(radial, list(self.sizes), dim=1), by_degree, strict=True):
            products = torch.bmm(blocks.pad(functions, positions, species_count).transpose(1, 2), values)
            sums.append(blocks.sum_by_atom(products))
        return sums

    def of_table(self, graph: PaddedGraph, one_hot: Tensor) -> list[Tensor]:
        """Return the expansion coefficients of all atoms of a padded graph.

        Args:
            graph: N atoms.
            one_hot: (N, elements) one-hot element of each atom.

        Returns:
            For each l (N, elements * n, 2l + 1).
        """
        radial = graph.to_table(self._radial(torch.linalg.vector_norm(graph.vectors, dim=1)))
        angular = graph.to_table(self.harmonics(graph.vectors))
        # As in `forward`: each neighbour's functions in the columns of its element, and zeros elsewhere.
        elements = one_hot.index_select(0, graph.neighbour_of_slot).view(*graph.table.shape, -1, 1)
        by_element = radial[:, :, None] * elements
        functions = torch.split(by_element, list(self.sizes), dim=3)
        values = torch.split(angular, [2 * n + 1 for n in range(len(self.sizes))], dim=2)
        pairs = zip(functions, values, strict=True)
        return [torch.bmm(one.flatten(2).transpose(1, 2), other) for one, other in pairs]

    def _angular(self, vectors: Tensor) -> Tensor:
        # sphericart is faster, but its library for GPUs is not available with every build of torch.
        return spherical_harmonics(vectors, self.max_angular) if vectors.is_cpu else self.harmonics(vectors)

    def _radial(self, distances: Tensor) -> Tensor:
        """Return the radial functions times the cutoff function, (E, sum of the sizes)."""
        tables = [self.tables[name].to(distances.dtype) for name in ("spacing", "cubics", "slopes")]
        splines: Tensor = _Splines.apply(distances.clamp_max(self.cutoff), *tables)  # type: ignore[no-untyped-call]
        return splines * cosine_cutoff(distances, self.cutoff, self.width)[:, None]


class PowerSpectrum(nn.Module):
    """p^l_ab = sum_m A^l_am A^l_bm for a <= b; features with a < b carry a factor sqrt(2).

    The factor makes the Euclidean norm equal to that of the full matrix of ordered pairs.

    Attributes:
        multiplicity: (D,) number of ordered pairs per feature: 1 for a = b, else 2.
        first, second: (D,) index of (a, b) and of (b, a) among all ordered pairs, ordered by l, then row by row.
        unfolding: (ordered pairs,) feature of each ordered pair.
    """

    multiplicity: Tensor
    first: Tensor
    second: Tensor
    unfolding: Tensor

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        first, second, unfolding = [], [], []
        start = features = 0
        for size in channels:
            upper = torch.triu_indices(size, size)
            table = torch.empty(size, size, dtype=torch.int64)
            table[upper[0], upper[1]] = table[upper[1], upper[0]] = torch.arange(upper.shape[1])
            first.append(start + upper[0] * size + upper[1])
            second.append(start + upper[1] * size + upper[0])
            unfolding.append(features + table.flatten())
            start, features = start + size**2, features + upper.shape[1]
        for name, parts in (("first", first), ("second", second), ("unfolding", unfolding)):
            self.register_buffer(name, torch.cat(parts), persistent=False)
        self.register_buffer("multiplicity", torch.where(self.first == self.second, 1, 2), persistent=False)

    def forward(self, expansion: Sequence[Tensor]) -> Tensor:
        """Return the power spectrum (N, D).

        Args:
            expansion: for each l (N, channels, 2l + 1).
        """
        pairs = _GramMatrices.apply(*expansion)  # type: ignore[no-untyped-call]
        weights = self.multiplicity.to(pairs.dtype).sqrt()
        back_weights = weights.reciprocal()[self.unfolding]
        spectrum: Tensor = _WeightedColumns.apply(pairs, self.first, weights, self.unfolding, back_weights)  # type: ignore[no-untyped-call]
        return spectrum


class _GramMatrices(torch.autograd.Function):
    """Gram matrices A A^T of each tensor (N, a, m), flattened and concatenated.

    Autograd would differentiate both factors separately, with twice as many products. In the double backward it would
    also allocate a zero-filled array of all columns for each concatenated tensor.
    """

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        return torch.cat([torch.bmm(tensor, tensor.transpose(1, 2)).flatten(1) for tensor in tensors], dim=1)

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor, ...]:
        tensors = ctx.saved_tensors
        widths = [tensor.shape[1] for tensor in tensors]
        parts = torch.split(bar, [width**2 for width in widths], dim=1)
        matrices = [part.view(len(part), width, width) for part, width in zip(parts, widths, strict=True)]
        return tuple(
            torch.bmm(bars + bars.transpose(1, 2), tensor) for bars, tensor in zip(matrices, tensors, strict=True)
        )


class _WeightedColumns(torch.autograd.Function):
    """Selected columns of a matrix times weights.

    On rows that are flattened symmetric matrices, folding (to a <= b, with weights 1 and sqrt(2)) and unfolding are
    mutually adjoint and inverse. Each is therefore the backward pass of the other, as a gather instead of the slower
    scatter-add of torch's index_select.
    """

    @staticmethod
    def forward(
        ctx: Any, matrix: Tensor, columns: Tensor, weights: Tensor, back_columns: Tensor, back_weights: Tensor
    ) -> Tensor:
        ctx.save_for_backward(columns, weights, back_columns, back_weights)
        return matrix.index_select(1, columns).mul_(weights)

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor, None, None, None, None]:
        columns, weights, back_columns, back_weights = ctx.saved_tensors
        matrix_bar = _WeightedColumns.apply(bar, back_columns, back_weights, columns, weights)  # type: ignore[no-untyped-call]
        return matrix_bar, None, None, None, None

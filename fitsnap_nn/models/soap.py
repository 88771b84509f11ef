"""Smooth overlap of atomic positions: what an atom's neighbours look like, whichever way they are turned.

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

from fitsnap_nn.models.pairs import cosine_cutoff


class RadialTables(NamedTuple):
    """All radial functions as cubic splines: between points k and k + 1 they are c_0 + c_1 t + c_2 t² + c_3 t³.

    Attributes:
        sizes: number of radial functions of each l.
        spacing: () Å, of the points; t is the distance from the point before in units of it.
        cubics: (4, points, sum of the sizes) c, float64; those of the last point are for t = 0, at the cutoff.
        slopes: (3, points, sum of the sizes) of the derivatives by the distance.
    """

    sizes: tuple[int, ...]
    spacing: Tensor
    cubics: Tensor
    slopes: Tensor


@cache
def radial_tables(max_angular: int, max_radial: int, cutoff: float) -> RadialTables:
    """Spherical Bessel functions N j_l(z_nl r/r_c) that are 0 at the cutoff, on the grid of torch-spex.

    max_radial + 1 of them for l = 0, and for each l those that oscillate no faster. The mean error of the spline is
    below 1e-8.
    """
    basis = LaplacianEigenstates(cutoff=cutoff, max_angular=max_angular, max_radial=max_radial, trim=True)
    # torch-spex keeps its own tables in torch's default type, in which they are too coarse for float64.
    grid = np.linspace(0.0, cutoff, len(basis.spliner.spline_values) - 1)
    tables = (torch.from_numpy(function(grid)) for function in basis.get_spliner_inputs(cutoff, normalize=True))
    values, slopes = (torch.cat([table, torch.zeros_like(table[:1])]) for table in tables)
    slopes = slopes * grid[1]
    rise, last_slopes = values.diff(dim=0), slopes[1:]
    values, slopes = values[:-1], slopes[:-1]
    cubics = torch.stack([values, slopes, 3.0 * rise - 2.0 * slopes - last_slopes, slopes + last_slopes - 2.0 * rise])
    of_slopes = cubics[1:] * torch.arange(1, 4)[:, None, None] / grid[1]
    return RadialTables(tuple(map(int, basis.n_per_l)), torch.tensor(grid[1], dtype=torch.float64), cubics, of_slopes)


class _Splines(torch.autograd.Function):
    """(E, K) values at (E,) distances; the derivatives are splines of their own, in a tenth of torch's steps."""

    @staticmethod
    def forward(ctx: Any, distances: Tensor, spacing: Tensor, cubics: Tensor, slopes: Tensor) -> Tensor:
        ctx.save_for_backward(distances, spacing, slopes)
        return _piecewise(distances, spacing, cubics)

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor, None, None, None]:
        return (_piecewise(*ctx.saved_tensors) * bar).sum(dim=1), None, None, None


def _piecewise(distances: Tensor, spacing: Tensor, coefficients: Tensor) -> Tensor:
    """(E, K) polynomials with coefficients (degree + 1, points, K)."""
    scaled = distances / spacing
    points = scaled.floor()
    t, points = (scaled - points)[:, None], points.long()
    *lower, total = [table.index_select(0, points) for table in coefficients.unbind()]
    for coefficient in reversed(lower):
        total = coefficient.addcmul_(t, total)
    return total


def spherical_harmonics(vectors: Tensor, max_angular: int) -> Tensor:
    """(E, (max_angular + 1)²) real orthonormal harmonics of the directions of (E, 3), l by l, m from -l to l."""
    values: Tensor = _Harmonics.apply(vectors, SphericalHarmonics(max_angular))  # type: ignore[no-untyped-call]
    return values


class _Harmonics(torch.autograd.Function):
    """The backward pass as products and sums: the library's own, and matrix products, take several times as long."""

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
    """A^l_(kn)m = sum_j R_nl(r_j) f(r_j) Y_lm(r_j/|r_j|), summed over those neighbours of an atom that are of kind k.

    Attributes:
        sizes: number of radial functions of each l.
    """

    def __init__(self, max_angular: int, max_radial: int, cutoff: float, width: float) -> None:
        super().__init__()
        self.cutoff, self.width = cutoff, width
        self.max_angular = max_angular
        # Not buffers: these stay float64 when a model goes to float32.
        self._tables = radial_tables(max_angular, max_radial, cutoff)
        self.sizes = self._tables.sizes

    def forward(self, vectors: Tensor, atoms: Tensor, count: int, kinds: Tensor, kind_count: int) -> list[Tensor]:
        """(count, kinds * n, 2l + 1) for each l.

        Args:
            vectors: (E, 3) Å.
            atoms, kinds: (E,) of each vector, below the counts.
        """
        radial = self._radial(torch.linalg.vector_norm(vectors, dim=1))
        angular = spherical_harmonics(vectors, self.max_angular)
        blocks = _blocks(atoms, count)
        by_degree = torch.split(blocks.spread(angular, blocks.place, 1), [2 * n + 1 for n in range(len(self.sizes))], 2)
        places = blocks.place * kind_count + kinds
        sums = []
        for functions, harmonics in zip(torch.split(radial, list(self.sizes), dim=1), by_degree, strict=True):
            products = torch.bmm(blocks.spread(functions, places, kind_count).transpose(1, 2), harmonics)
            sums.append(blocks.sum_by_atom(products))
        return sums

    def _radial(self, distances: Tensor) -> Tensor:
        """(E, sum of the sizes), with the cutoff function."""
        _, *tables = self._tables
        splines: Tensor = _Splines.apply(distances.clamp_max(self.cutoff), *(table.to(distances) for table in tables))  # type: ignore[no-untyped-call]
        return splines * cosine_cutoff(distances, self.cutoff, self.width)[:, None]


class _Blocks(NamedTuple):
    """Neighbours laid out in blocks of equal size, so that sums over them are matrix products.

    Attributes:
        atoms: number of atoms.
        size: places of a block.
        owners: (number of blocks,) the atom of each block, sorted.
        place: (E,) of each neighbour.
    """

    atoms: int
    size: int
    owners: Tensor
    place: Tensor

    def spread(self, values: Tensor, places: Tensor, kinds: int) -> Tensor:
        """(E, K) -> (number of blocks, size, kinds * K), zero where nothing is."""
        table = values.new_zeros(len(self.owners) * self.size * kinds, values.shape[1])
        return table.index_copy(0, places, values).view(len(self.owners), self.size, kinds * values.shape[1])

    def sum_by_atom(self, values: Tensor) -> Tensor:
        """(number of blocks, ...) -> (number of atoms, ...)."""
        if len(self.owners) == self.atoms:
            return values
        return values.new_zeros(self.atoms, *values.shape[1:]).index_add(0, self.owners, values)


def _blocks(atoms: Tensor, count: int) -> _Blocks:
    """One block an atom; several where it has more than twice as many neighbours as others have on average."""
    sizes = torch.bincount(atoms, minlength=count)
    widest, occupied = int(sizes.max()), int(torch.count_nonzero(sizes))
    size = max(1, min(widest, 2 * len(atoms) // max(1, occupied)))
    blocks = (sizes + size - 1).div(size, rounding_mode="floor").clamp_min(1)
    order = torch.argsort(atoms, stable=True)
    offsets = size * (blocks.cumsum(0) - blocks) - (sizes.cumsum(0) - sizes)
    places = torch.arange(len(atoms), device=atoms.device) + offsets[atoms[order]]
    owners = torch.repeat_interleave(torch.arange(count, device=atoms.device), blocks)
    return _Blocks(count, size, owners, torch.empty_like(order).index_copy_(0, order, places))


class PowerSpectrum(nn.Module):
    """p^l_ab = sum_m A^l_am A^l_bm for a <= b, those with a < b times sqrt(2): the norm is that of all ordered pairs.

    Attributes:
        orders: (D,) 1 where a = b, else 2; so many ordered pairs is a feature for.
        first, second: (D,) place of (a, b) and of (b, a) among all ordered pairs, l by l and row by row.
        unfolding: for each ordered pair its feature.
    """

    orders: Tensor
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
        self.register_buffer("orders", torch.where(self.first == self.second, 1, 2), persistent=False)

    def forward(self, expansion: Sequence[Tensor]) -> Tensor:
        """(N, D) from (N, number of a, 2l + 1) for each l."""
        pairs = _Grams.apply(*expansion)  # type: ignore[no-untyped-call]
        weights = self.orders.to(pairs.dtype).sqrt()
        back_weights = weights.reciprocal()[self.unfolding]
        spectrum: Tensor = _Columns.apply(pairs, self.first, weights, self.unfolding, back_weights)  # type: ignore[no-untyped-call]
        return spectrum


class _Grams(torch.autograd.Function):
    """A A^T of the matrices in each tensor (N, a, m), flattened and side by side.

    Torch would differentiate both factors, which takes twice as many products, and would fill an array of all columns
    with zeros for each tensor, when the derivative of the concatenation is differentiated.
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
        squares = [part.view(len(part), width, width) for part, width in zip(parts, widths, strict=True)]
        return tuple(
            torch.bmm(square + square.transpose(1, 2), tensor) for square, tensor in zip(squares, tensors, strict=True)
        )


class _Columns(torch.autograd.Function):
    """Some columns of a matrix, weighted.

    On rows that are symmetric matrices, folding them up (a <= b, weights 1 and sqrt(2)) and unfolding again are adjoint
    and inverse to each other. So each is the backward pass of the other, faster than torch's scattered sum.
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
        matrix_bar = _Columns.apply(bar, back_columns, back_weights, columns, weights)  # type: ignore[no-untyped-call]
        return matrix_bar, None, None, None, None

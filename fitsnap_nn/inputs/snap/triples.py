"""Mean values over all rotations of products of three functions: the bispectrum."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fitsnap_nn.inputs.constants import Float64Constants
from fitsnap_nn.inputs.selection import Selection
from fitsnap_nn.inputs.snap.rotations import matrix_elements, norms, quadrature, sizes_of_levels

Triple = tuple[int, int, int]
# Bytes of the products of a block of atoms. On a CPU they should fit its cache; a GPU has to be kept busy.
BLOCK, GPU_BLOCK = 2**21, 2**28


class TripleIntegrals(nn.Module):
    """Mean over all rotations p of f_a(p) f_b(p) f_c(p), where f_(j, channel)(p) = sum_k s_k chi_j(p^-1 q_k).

    The sum over the neighbours k is given by that of the matrix elements of q_k; chi_j is the character of U_j. The
    mean is a quadrature that is exact for these polynomials.

    Args:
        twojmax: largest j.
        channels: number of channels C; function (j, channel) has the number j C + channel.
        triples: T numbers of functions, each sorted.
    """

    def __init__(self, twojmax: int, channels: int, triples: Sequence[Triple]) -> None:
        super().__init__()
        self.channels = channels
        self.count = count = (twojmax + 1) * channels
        points, weights = quadrature(3 * twojmax)
        places = torch.from_numpy(points).t()
        elements = matrix_elements(places[0], places[1:], twojmax)
        # The cube root of its weight with each of the three factors.
        factors = torch.from_numpy(np.concatenate([norms(j) for j in range(twojmax + 1)])[:, None] * np.cbrt(weights))
        self.widths = [2 * size for size in sizes_of_levels(twojmax)]
        # Real and imaginary parts follow each other, as in `torch.view_as_real`.
        grid = torch.view_as_real(elements * factors).transpose(1, 2).reshape(sum(self.widths), -1)
        self.points = len(weights)
        pairs = list(combinations_with_replacement(range(count), 2))
        number = {pair: place for place, pair in enumerate(pairs)}
        self.pairs = len(pairs)
        chosen = torch.tensor([number[a, b] * count + c for a, b, c in triples])
        self.values = Selection(chosen, self.pairs * count)
        # The derivative by f_x is the sum over pairs of f_a f_b, times that by the triple of x, a and b, times how
        # often x is in it. Pairs that form no triple with x refer to a row of zeros after those of the triples.
        place = {triple: n for n, triple in enumerate(triples)}
        rows, times = [], []
        for x in range(count):
            for a, b in pairs:
                first, second, third = sorted((x, a, b))
                rows.append(place.get((first, second, third), len(triples)))
                times.append(float((first, second, third).count(x)))
        self.slopes = Selection(torch.tensor(rows), len(triples) + 1)
        self.constants = Float64Constants(grid=grid, times=torch.tensor(times, dtype=torch.float64)[:, None])

    def forward(self, densities: Tensor) -> Tensor:
        """Return the integrals (T, N).

        Args:
            densities: (N, C, R) float64, real and imaginary parts of the sums of matrix elements.
        """
        found: Tensor = _Integrals.apply(densities, self)  # type: ignore[no-untyped-call]
        return found

    @property
    def grids(self) -> Sequence[Tensor]:
        """Matrix elements at the points of the quadrature, (R_j, G) for each j."""
        return torch.split(self.constants["grid"], self.widths)

    def block_size(self, densities: Tensor) -> int:
        """Return how many atoms are computed at a time."""
        size = self.pairs * self.points * densities.element_size()
        return max(1, (GPU_BLOCK if densities.is_cuda else BLOCK) // size)

    def functions(self, densities: Tensor) -> Tensor:
        """Return the functions at the points of the quadrature, (functions, N, G)."""
        parts = torch.split(densities.transpose(0, 1), self.widths, dim=2)
        return torch.cat([part @ grid for part, grid in zip(parts, self.grids, strict=True)])

    def products(self, functions: Tensor) -> Tensor:
        """Return the products of all pairs of functions, (N, pairs, G)."""
        parts = [functions[a] * functions[a:] for a in range(len(functions))]
        return torch.cat(parts).transpose(0, 1)


class _Integrals(torch.autograd.Function):
    """`TripleIntegrals` of blocks of atoms, whose functions and products are computed again for the derivative."""

    @staticmethod
    def forward(ctx: Any, densities: Tensor, integrals: TripleIntegrals) -> Tensor:
        ctx.save_for_backward(densities)
        ctx.integrals = integrals
        found = []
        for block in torch.split(densities, integrals.block_size(densities)):
            functions = integrals.functions(block)
            means = torch.bmm(integrals.products(functions), functions.permute(1, 2, 0))
            found.append(integrals.values(means.flatten(1).t()))
        return torch.cat(found, dim=1)

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor, None]:
        (densities,) = ctx.saved_tensors
        integrals: TripleIntegrals = ctx.integrals
        rows = integrals.slopes(torch.cat([bar, torch.zeros_like(bar[:1])])) * integrals.constants["times"]
        found, size = [], integrals.block_size(densities)
        for block, of_block in zip(torch.split(densities, size), torch.split(rows, size, dim=1), strict=True):
            slopes = of_block.t().reshape(len(block), integrals.count, integrals.pairs)
            products = integrals.products(integrals.functions(block))
            by_function = torch.split(torch.bmm(slopes, products), integrals.channels, dim=1)
            parts = zip(by_function, integrals.grids, strict=True)
            found.append(torch.cat([functions @ grid.t() for functions, grid in parts], dim=2))
        return torch.cat(found), None

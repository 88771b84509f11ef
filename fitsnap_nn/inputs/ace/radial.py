"""Radial functions ``ChebExpCos`` of LAMMPS' ``pair_style pace``, with outer and inner cutoff.

R. Drautz, Phys. Rev. B 99, 014104 (2019), eqs. 24 to 29; Y. Lysogorskiy et al., npj Comput. Mater. 7, 97 (2021).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

OUTER_WIDTH = 0.01  # Å, over which FitSNAP's .yace files switch the functions off at the cutoff


class Bonds(NamedTuple):
    """Parameters of the bond of each distance, (E,) or (1,).

    Attributes:
        cutoff: r_c, Å.
        decay: lambda, of the exponential scaling of distances.
        inner, inner_width: r_in, below which the functions vanish smoothly, and the width of this region, Å.
    """

    cutoff: Tensor
    decay: Tensor
    inner: Tensor
    inner_width: Tensor


def radial_functions(distances: Tensor, bonds: Bonds, count: int) -> Tensor:
    """Return g_1 … g_count.

    With x = 1 - 2 (exp(-lambda r/r_c) - exp(-lambda)) / (1 - exp(-lambda)): g_1 = f and g_n = f (1 - T_(n-1)(x)) / 2,
    with Chebyshev polynomials T and f = (1 + cos(pi r/r_c)) / 2, times functions that switch off at r_c and at r_in.

    Args:
        distances: (E,) Å.
        bonds: parameters of each.
        count: number of functions.

    Returns:
        (count, E), differentiable any number of times.
    """
    values: Tensor = _Radial.apply(distances, bonds, count)  # type: ignore[no-untyped-call]
    return values


class _Radial(torch.autograd.Function):
    """Autograd would pass through every step of the recursion."""

    @staticmethod
    def forward(ctx: Any, distances: Tensor, bonds: Bonds, count: int) -> Tensor:
        ctx.save_for_backward(distances)
        ctx.bonds, ctx.count = bonds, count
        return values_and_slopes(distances, bonds, count)[0]

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor, None, None]:
        (distances,) = ctx.saved_tensors
        return (values_and_slopes(distances, ctx.bonds, ctx.count)[1] * bar).sum(dim=0), None, None


def values_and_slopes(distances: Tensor, bonds: Bonds, count: int) -> tuple[Tensor, Tensor]:
    """Return the functions and their derivatives (count, E), 1/Å; arguments as in `radial_functions`."""
    cutoff = bonds.cutoff
    lowest = torch.exp(-bonds.decay)
    factor = 2.0 / (1.0 - lowest)
    exponential = torch.exp(-bonds.decay * distances / cutoff)
    x = 1.0 - factor * (exponential - lowest)
    slope = factor * bonds.decay / cutoff * exponential
    polynomials, derivatives = _chebyshev(x, count)
    first = torch.ones_like(x)
    values = torch.stack([first, *(0.5 - 0.5 * one for one in polynomials[1:])])
    slopes = torch.stack([torch.zeros_like(x), *(-0.5 * slope * one for one in derivatives[1:])])
    envelope, envelope_slope = _switches(distances, bonds)
    return values * envelope, slopes * envelope + values * envelope_slope


def _chebyshev(x: Tensor, count: int) -> tuple[list[Tensor], list[Tensor]]:
    """Return T_0 … T_(count-1) and their derivatives T_n' = n U_(n-1)."""
    one = torch.ones_like(x)
    first, second = [one, x], [one, 2.0 * x]
    while len(first) < count:
        first.append(2.0 * x * first[-1] - first[-2])
        second.append(2.0 * x * second[-1] - second[-2])
    derivatives = [torch.zeros_like(x), *(n * second[n - 1] for n in range(1, count))]
    return first[:count], derivatives[:count]


def _switches(distances: Tensor, bonds: Bonds) -> tuple[Tensor, Tensor]:
    """Return the product f of the cosine and the functions that switch off, and its derivative, 1/Å."""
    cutoff = bonds.cutoff
    # (1 + cos(pi r/r_c)) / 2 as a square: the sum would lose all digits close to the cutoff.
    outer, outer_slope = _falling_cosine(distances, cutoff, cutoff)
    edge, edge_slope = _falling_cosine(distances, cutoff, torch.full_like(cutoff, OUTER_WIDTH))
    inner, inner_slope = _rising_polynomial(distances, bonds)
    both = outer * edge
    slope = (outer_slope * edge + outer * edge_slope) * inner + both * inner_slope
    return both * inner, slope


def _falling_cosine(distances: Tensor, end: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    """Return half a cosine period from 1 to 0 that ends at ``end``, and its derivative, 0 outside."""
    inside = ((end - distances) / width).clamp(0.0, 1.0)
    half = 0.5 * math.pi * inside
    return torch.sin(half).square(), torch.sin(2.0 * half) * (-0.5 * math.pi) / width


def _rising_polynomial(distances: Tensor, bonds: Bonds) -> tuple[Tensor, Tensor]:
    """Return the polynomial that rises from 0 at r_in - width to 1 at r_in, and its derivative, 0 outside."""
    inside = ((distances - bonds.inner) / bonds.inner_width + 1.0).clamp(0.0, 1.0)
    x = 2.0 * inside - 1.0
    # An odd polynomial of x, whose first two derivatives vanish at both ends.
    value = 0.5 + x * (0.9375 + x.square() * (-0.625 + 0.1875 * x.square()))
    return value, 1.875 / bonds.inner_width * (1.0 - x.square()).square()

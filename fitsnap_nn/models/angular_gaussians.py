"""Sums over neighbours of Gaussians of the cosine of an angle, with derivatives of any order.

G_m(c) = exp(-eta (c - mu_m)²), m = 0 … K - 1, has equally spaced centres mu_m = -1 + m d. It factorises as
G_m(c) = h_m g(c) q(c)^m with g(c) = exp(-eta (c + 1)²), q(c) = exp(2 eta d c) and h_m = exp(-eta (mu_m² - 1)): K
Gaussians take two exponentials. Two linear operations,

    [A u]_jm = sum_k u_jk G_m(c_jk)    and    [B b]_jk = sum_m b_jm G_m(c_jk),

are the derivatives of each other, and d(B b)/dc = -2 eta (c B b - B (mu b)). Automatic differentiation therefore needs
nothing else for forces and their derivatives with respect to weights, and no array of all pairs of neighbours and all
Gaussians exists.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fitsnap_nn.inputs.constants import Float64Constants

ETA = 4.0  # FitSNAP's
CHUNK = 2**16  # numbers per array; with this size a step of MD takes half as long as with all atoms at once


class AngularGaussians(nn.Module):
    """Gaussians of the cosine of an angle, with centres from -1 to 1.

    Args:
        count: number K of Gaussians; their centres are -1 if there is one, otherwise equally spaced from -1 to 1.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        centres = torch.linspace(-1.0, 1.0, count, dtype=torch.float64)
        self._step = 2.0 / max(1, count - 1)
        self._constants = Float64Constants(centres=centres, heights=torch.exp(-ETA * (centres**2 - 1.0)))

    def forward(self, cosines: Tensor, weights: Tensor) -> Tensor:
        """Return sum_k w_k G_m(c_jk).

        Args:
            cosines: (A, M, M) c of neighbours j and k of each atom.
            weights: (A, M) w.

        Returns:
            (A, M, K).
        """
        centres, heights = (self._constants[name].to(cosines) for name in ("centres", "heights"))
        factors = weights[None, :, None].expand(1, *cosines.shape)
        sums: Tensor = _SumOverNeighbours.apply(factors, cosines, centres, heights, self._step)  # type: ignore[no-untyped-call]
        return sums[0]


class _SumOverNeighbours(torch.autograd.Function):
    """A u for R arrays u at once: (R, A, M, M) and cosines (A, M, M) to (R, A, M, K)."""

    @staticmethod
    def forward(ctx: Any, factors: Tensor, cosines: Tensor, centres: Tensor, heights: Tensor, step: float) -> Tensor:
        ctx.save_for_backward(factors, cosines, centres, heights)
        ctx.step = step
        sums = factors.new_empty(len(centres), *factors.shape[:-1])
        for atoms in _blocks(cosines):
            terms = factors[:, atoms] * _first(cosines[atoms])
            ratio = torch.exp(2.0 * ETA * step * cosines[atoms])
            for number in range(len(centres)):
                torch.sum(terms, dim=-1, out=sums[number, :, atoms])
                terms *= ratio
        return sums.movedim(0, -1) * heights

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        factors, cosines, centres, heights = ctx.saved_tensors
        own, slopes = _value_and_slope(bar, cosines, centres, heights, ctx.step)
        return own, (factors * slopes).sum(dim=0), None, None, None


class _SumOverGaussians(torch.autograd.Function):
    """B b for R arrays b at once: (R, A, M, K) and cosines (A, M, M) to (R, A, M, M)."""

    @staticmethod
    def forward(ctx: Any, factors: Tensor, cosines: Tensor, centres: Tensor, heights: Tensor, step: float) -> Tensor:
        ctx.save_for_backward(factors, cosines, centres, heights)
        ctx.step = step
        scaled = factors * heights
        sums = cosines.new_zeros(len(factors), *cosines.shape)
        for atoms in _blocks(cosines):
            ratio = torch.exp(2.0 * ETA * step * cosines[atoms])
            part = sums[:, atoms]
            for number in reversed(range(len(centres))):  # Horner's scheme
                part.mul_(ratio).add_(scaled[:, atoms, :, number, None])
            part.mul_(_first(cosines[atoms]))
        return sums

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        factors, cosines, centres, heights = ctx.saved_tensors
        _, slopes = _value_and_slope(factors, cosines, centres, heights, ctx.step)
        own = _SumOverNeighbours.apply(bar, cosines, centres, heights, ctx.step)  # type: ignore[no-untyped-call]
        return own, (bar * slopes).sum(dim=0), None, None, None


def _value_and_slope(
    factors: Tensor, cosines: Tensor, centres: Tensor, heights: Tensor, step: float
) -> tuple[Tensor, Tensor]:
    """Return B b and its derivative with respect to the cosines, both (R, A, M, M), for b (R, A, M, K)."""
    both = torch.cat([factors, factors * centres])
    sums: Tensor = _SumOverGaussians.apply(both, cosines, centres, heights, step)  # type: ignore[no-untyped-call]
    value, moment = sums.chunk(2)
    return value, -2.0 * ETA * (cosines * value - moment)


def _blocks(cosines: Tensor) -> list[slice]:
    """Return ranges of atoms whose arrays fit the cache of a CPU core together; all atoms on a GPU."""
    atoms, neighbours = cosines.shape[:2]
    rows = max(1, CHUNK // max(1, neighbours**2)) if cosines.device.type == "cpu" else max(1, atoms)
    return [slice(start, start + rows) for start in range(0, atoms, rows)]


def _first(cosines: Tensor) -> Tensor:
    return torch.exp(-ETA * (cosines + 1.0).square())

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

from fitsnap_nn.models.constants import Float64Constants

ETA = 4.0  # FitSNAP's


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
        terms = factors * _first(cosines)
        ratio = torch.exp(2.0 * ETA * step * cosines)
        sums = terms.new_empty(*terms.shape[:-1], len(centres))
        for number in range(len(centres)):
            sums[..., number] = terms.sum(dim=-1)
            terms *= ratio
        return sums.mul_(heights)

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
        ratio = torch.exp(2.0 * ETA * step * cosines)
        scaled = factors * heights
        sums = cosines.new_zeros(len(factors), *cosines.shape)
        for number in reversed(range(len(centres))):  # Horner's scheme
            sums.mul_(ratio).add_(scaled[..., number, None])
        return sums.mul_(_first(cosines))

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


def _first(cosines: Tensor) -> Tensor:
    return torch.exp(-ETA * (cosines + 1.0).square())

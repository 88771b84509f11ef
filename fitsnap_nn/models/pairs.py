"""Sums over atoms and over pairs of atoms; most of the memory traffic of a training step is in `pair_forces`."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def sum_by(index: Tensor, values: Tensor, count: int) -> Tensor:
    """(count, ...) sums of the rows (M, ...) of ``values`` that have the same index, added in their order."""
    sums = values.new_zeros(count, *values.shape[1:])
    if values.device.type == "cpu":
        return sums.index_add_(0, index, values)
    # On a GPU index_add adds in any order, and two runs of the same fit would differ.
    return sums.index_put((index,), values, accumulate=True)


def cosine_cutoff(distances: Tensor, cutoff: float, width: float) -> Tensor:
    """f(r): 1 up to r = cutoff - width, (1 + cos pi (r - cutoff + width) / width) / 2 from there to the cutoff, then 0.

    As the square of a sine it has all its digits where it vanishes too.
    """
    inside = ((cutoff - distances) / width).clamp(0.0, 1.0)
    return torch.sin(0.5 * math.pi * inside).square()


def pair_forces(beta: Tensor, gradients: Tensor, pair_i: Tensor, pair_j: Tensor) -> Tensor:
    """Forces F_j = -sum_i beta_i . dB_i/dR_j, differentiable by beta.

    Args:
        beta: (N, D) dE_i/dB_i.
        gradients: (P, 3, D) dB_i/dR_j.
        pair_i, pair_j: (P,) indices of the atoms of each pair.

    Returns:
        (N, 3).
    """
    forces: Tensor = _PairForces.apply(beta, gradients, pair_i, pair_j)  # type: ignore[no-untyped-call]
    return forces


class _PairForces(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, beta: Tensor, gradients: Tensor, pair_i: Tensor, pair_j: Tensor) -> Tensor:
        ctx.save_for_backward(gradients, pair_i, pair_j)
        return contract_pairs(beta, gradients, pair_i, pair_j)

    @staticmethod
    def backward(ctx: Any, forces_bar: Tensor) -> tuple[Tensor, None, None, None]:
        return contract_pairs_backward(forces_bar, *ctx.saved_tensors), None, None, None


def contract_pairs(beta: Tensor, gradients: Tensor, pair_i: Tensor, pair_j: Tensor) -> Tensor:
    """(N, 3) the forces of `pair_forces`, not differentiable."""
    forces = torch.bmm(gradients, beta.index_select(0, pair_i).unsqueeze(2)).squeeze(2)
    return sum_by(pair_j, forces, len(beta)).neg_()


def contract_pairs_backward(forces_bar: Tensor, gradients: Tensor, pair_i: Tensor, pair_j: Tensor) -> Tensor:
    """(N, D) their derivative by beta, -sum_j dL/dF_j . dB_i/dR_j; torch's own is several times slower."""
    x, y, z = torch.split(forces_bar.neg().index_select(0, pair_j), 1, dim=1)
    terms = (gradients[:, 0] * x).addcmul_(gradients[:, 1], y).addcmul_(gradients[:, 2], z)
    return sum_by(pair_i, terms, len(forces_bar))

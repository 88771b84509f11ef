"""Sums over atoms and over pairs of atoms.

Most of the memory traffic of a training step on descriptors is in `pair_forces`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from fitsnap_nn.inputs.batch import sum_by as sum_by


def cosine_cutoff(distances: Tensor, cutoff: float, width: float) -> Tensor:
    """Return f(r), which is 1 up to r = cutoff - width and falls to 0 at the cutoff as half a cosine period.

    Args:
        distances: (E,) Å.
        cutoff, width: Å.

    Returns:
        (E,) (1 + cos pi (r - cutoff + width) / width) / 2 in the transition region.
    """
    # Identical to sin^2 of half the angle. 1 + cos would lose all digits close to the cutoff, by cancellation.
    inside = ((cutoff - distances) / width).clamp(0.0, 1.0)
    return torch.sin(0.5 * math.pi * inside).square()


def pair_forces(beta: Tensor, gradients: Tensor, pair_i: Tensor, pair_j: Tensor) -> Tensor:
    """Return forces F_j = -sum_i beta_i . dB_i/dR_j, differentiable with respect to beta.

    Args:
        beta: (N, D) dE_i/dB_i, eV.
        gradients: (P, 3, D) dB_i/dR_j, 1/Å.
        pair_i, pair_j: (P,) atoms of each pair.

    Returns:
        (N, 3) eV/Å.
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
    """Return the forces (N, 3) of `pair_forces` without recording them for differentiation; arguments as there."""
    forces = torch.bmm(gradients, beta.index_select(0, pair_i).unsqueeze(2)).squeeze(2)
    return sum_by(pair_j, forces, len(beta)).neg_()


def contract_pairs_backward(forces_bar: Tensor, gradients: Tensor, pair_i: Tensor, pair_j: Tensor) -> Tensor:
    """Return dL/d(beta_i) = -sum_j dL/dF_j . dB_i/dR_j, the backward pass of `contract_pairs`.

    Args:
        forces_bar: (N, 3) dL/dF_j.
        gradients, pair_i, pair_j: as in `pair_forces`.

    Returns:
        (N, D).
    """
    # Three fused multiply-adds over the pairs are several times faster than the batched product of torch's backward.
    x, y, z = torch.split(forces_bar.neg().index_select(0, pair_j), 1, dim=1)
    terms = (gradients[:, 0] * x).addcmul_(gradients[:, 1], y).addcmul_(gradients[:, 2], z)
    return sum_by(pair_i, terms, len(forces_bar))

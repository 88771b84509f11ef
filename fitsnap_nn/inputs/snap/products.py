"""Products of quadratic SNAP, differentiable."""

from __future__ import annotations

import torch
from torch import Tensor


def with_products(linear: Tensor) -> Tensor:
    """Append the products of quadratic SNAP, squares halved, in upper-triangular order: (N, D + D (D + 1) / 2).

    Args:
        linear: (N, D) components.
    """
    rows = [linear[:, k : k + 1] * linear[:, k:] for k in range(linear.shape[1])]
    halved = [torch.cat([0.5 * row[:, :1], row[:, 1:]], dim=1) for row in rows]
    return torch.cat([linear, *halved], dim=1)

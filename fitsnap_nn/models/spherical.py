"""Products and rotations of spherical tensors: components m = -l ... l that transform like real spherical harmonics."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from fitsnap_nn.models.harmonics import gradient_coefficients


@cache
def coupling(degree: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the coefficients K (2l + 1, 3, 2l - 1) that make a tensor of degree l of a vector and one of degree l - 1.

    The rows are orthonormal: sum over a, m' of K_m,a,m' K_n,a,m' is 1 for m = n and 0 otherwise. Gradients of solid
    harmonics have the same coefficients, up to a factor.

    Args:
        degree: l, at least 1.
        dtype, device: of the result.
    """
    coefficients = gradient_coefficients(degree)
    norm = (coefficients[0] ** 2).sum() ** 0.5
    return torch.from_numpy(coefficients / norm).to(device, dtype)


def raise_degree(vectors: Tensor, tensors: Tensor) -> Tensor:
    """Return the product of degree l of vectors and tensors of degree l - 1, its part of the highest degree.

    With tensors that are such products of vectors the order of the factors does not matter.

    Args:
        vectors: (..., 3), components x y z.
        tensors: (..., 2l - 1).

    Returns:
        (..., 2l + 1).
    """
    degree = (tensors.shape[-1] + 1) // 2
    coefficients = coupling(degree, tensors.dtype, tensors.device)
    products = (vectors[..., :, None] * tensors[..., None, :]).flatten(-2)
    return products @ coefficients.flatten(1).t()


def wigner_matrices(rotations: Tensor, degree: int) -> Tensor:
    """Return the matrices that transform spherical tensors when vectors are multiplied by orthogonal matrices.

    Each follows from the one of degree l - 1: a tensor of degree l is contained in the product of a vector and a tensor
    of degree l - 1, and both factors are known to transform.

    Args:
        rotations: (C, 3, 3) orthogonal matrices; inversion of a proper tensor is included.
        degree: l.

    Returns:
        (C, 2l + 1, 2l + 1).
    """
    found = rotations.new_ones(len(rotations), 1, 1)
    for lower in range(degree):
        coefficients = coupling(lower + 1, rotations.dtype, rotations.device)
        found = torch.einsum("mai,cab,cij,nbj->cmn", coefficients, rotations, found, coefficients)
    return found


def determinants(rotations: Tensor) -> Tensor:
    """Return the determinants (C,) of matrices (C, 3, 3): 1 or -1 for orthogonal ones."""
    first, second, third = rotations.unbind(1)
    products: Tensor = torch.linalg.cross(first, second) * third
    return products.sum(dim=1)

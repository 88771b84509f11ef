"""Rotation of Cartesian and spherical tensors, and products of spherical ones.

Spherical tensors have components m = -l ... l that transform like real spherical harmonics.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from fitsnap_nn.data.symmetries import Cartesian, Spherical, Symmetry
from fitsnap_nn.data.voigt import COLUMNS, ROWS
from fitsnap_nn.inputs.harmonics import gradient_coefficients

FULL = ((0, 5, 4), (5, 1, 3), (4, 3, 2))  # Voigt index of each component of the symmetric tensor


@cache
def coupling(degree: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the coefficients K (2l + 1, 3, 2l - 1) that make a tensor of degree l of a vector and one of degree l - 1.

    The rows are orthonormal: sum over a, m' of K_m,a,m' K_n,a,m' is 1 for m = n and 0 otherwise. Gradients of solid
    harmonics have the same coefficients, up to a factor.

    Args:
        degree: l, at least 1.
        dtype, device: of the result, which is kept: a captured step on a GPU cannot copy it from the host.
    """
    coefficients = gradient_coefficients(degree)
    norm = (coefficients[0] ** 2).sum() ** 0.5
    return torch.from_numpy(coefficients / norm).to(device, dtype)


def raise_degree(vectors: Tensor, tensors: Tensor, coefficients: Tensor) -> Tensor:
    """Return the product of degree l of vectors and tensors of degree l - 1, its part of the highest degree.

    With tensors that are such products of vectors the order of the factors does not matter.

    Args:
        vectors: (..., 3), components x y z.
        tensors: (..., 2l - 1).
        coefficients: `coupling` of degree l.

    Returns:
        (..., 2l + 1).
    """
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


def rotated(values: Tensor, symmetry: Symmetry, matrices: Tensor) -> Tensor:
    """Return values (rows, components) of a symmetry rotated by one orthogonal matrix (rows, 3, 3) per row."""
    turned = values
    if isinstance(symmetry, Spherical):
        turned = torch.bmm(wigner_matrices(matrices, symmetry.degree), values.unsqueeze(2)).squeeze(2)
    elif isinstance(symmetry, Cartesian):
        turned = _rotated_cartesian(values, symmetry, matrices)
    return turned * determinants(matrices)[:, None] if symmetry.pseudo else turned


def _rotated_cartesian(values: Tensor, symmetry: Cartesian, matrices: Tensor) -> Tensor:
    if symmetry.rank == 1:
        return torch.bmm(matrices, values.unsqueeze(2)).squeeze(2)
    if not symmetry.symmetric:
        return (matrices @ values.view(-1, 3, 3) @ matrices.transpose(1, 2)).flatten(1)
    # Component by component: a list as index would be copied to the GPU each time.
    tensors = torch.stack([values[:, component] for row in FULL for component in row], dim=1).view(-1, 3, 3)
    turned = matrices @ tensors @ matrices.transpose(1, 2)
    return torch.stack([turned[:, row, column] for row, column in zip(ROWS, COLUMNS, strict=True)], dim=1)

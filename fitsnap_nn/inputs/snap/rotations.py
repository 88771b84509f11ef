"""Functions on the group of rotations SU(2), the unit quaternions: matrix elements and integrals.

D. A. Varshalovich et al., Quantum Theory of Angular Momentum (1988), chapter 4.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]


def matrix_elements(scalar: Tensor, vectors: Tensor, twojmax: int) -> Tensor:
    """Return the independent elements of the matrices U_j(q) of unit quaternions, without their norms, see `norms`.

    Row k of U_j has the coefficients of s^(j-m) t^m, m = 0 ... j, in (a s + b t)^(j-k) (-b* s + a* t)^k, where
    a = q_0 - i q_z and b = q_y - i q_x are the Cayley-Klein parameters. Rows with 2 k > j follow by symmetry.

    Args:
        scalar: (P,) scalar parts q_0.
        vectors: (3, P) vector parts.
        twojmax: largest j; twice the angular momentum.

    Returns:
        (R, P) complex; j, k and m of each row in lexicographic order.
    """
    x, y, z = vectors
    a, b = torch.complex(scalar, -z), torch.complex(y, -x)
    levels = [torch.ones_like(a).view(1, 1, -1)]
    for j in range(1, twojmax + 1):
        rows = _times(levels[-1], a, b)
        if j % 2 == 0:  # the middle row has no counterpart in the level before
            rows = torch.cat([rows, _times(levels[-1][-1:], -b.conj(), a.conj())])
        levels.append(rows)
    return torch.cat([level.flatten(0, 1) for level in levels])


def _times(polynomials: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Multiply polynomials (K, j, P) in s and t by first s + second t: (K, j + 1, P)."""
    inner = torch.addcmul(polynomials[:, 1:] * first, polynomials[:, :-1], second)
    return torch.cat([polynomials[:, :1] * first, inner, polynomials[:, -1:] * second], dim=1)


def sizes_of_levels(twojmax: int) -> list[int]:
    """Return the number of independent elements of each U_j."""
    return [(j // 2 + 1) * (j + 1) for j in range(twojmax + 1)]


def norms(j: int) -> Floats:
    """Return the weights with which the independent elements of U_j(p)* U_j(q) add up to the character of p^-1 q.

    The real parts of the weighted products have the sum sin((j + 1) w) / sin(w), where cos(w) is the scalar product of
    p and q.
    """
    return np.array(
        [
            (1.0 if 2 * k == j else 2.0) * math.comb(j, k) / math.comb(j, m)
            for k in range(j // 2 + 1)
            for m in range(j + 1)
        ]
    )


def quadrature(degree: int) -> tuple[Floats, Floats]:
    """Return points and weights for the mean over all rotations, exact for even polynomials of a degree.

    In Euler angles: equidistant points in the angles about z, Gauss-Legendre points in the cosine of the one about y.

    Args:
        degree: of the polynomials in the four components of a unit quaternion.

    Returns:
        (G, 4) quaternions and (G,) positive weights with a sum of 1.
    """
    largest = degree // 2  # angular momentum
    cosines, weights = np.polynomial.legendre.leggauss(largest // 2 + 1)
    angles = 2.0 * np.pi * np.arange(largest + 1) / (largest + 1)
    beta, alpha, gamma = (one.ravel() for one in np.meshgrid(np.arccos(cosines), angles, angles, indexing="ij"))
    half_sum, half_difference = (alpha + gamma) / 2.0, (alpha - gamma) / 2.0
    cosine, sine = np.cos(beta / 2.0), np.sin(beta / 2.0)
    points = [
        cosine * np.cos(half_sum),
        sine * np.sin(half_difference),
        sine * np.cos(half_difference),
        cosine * np.sin(half_sum),
    ]
    repeated = np.repeat(weights / 2.0, len(angles) ** 2) / len(angles) ** 2
    return np.stack(points, axis=1), repeated

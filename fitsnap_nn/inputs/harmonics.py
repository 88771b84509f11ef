"""Real spherical harmonics in torch, for devices on which sphericart's compiled library is not available.

Solid harmonics r^l Y_lm are polynomials whose gradient is a linear combination of those of degree l - 1,

    d(r^l Y_lm)/dr_a = sum_m' G^l_(m,a,m') r^(l-1) Y_(l-1,m').

Euler's theorem for homogeneous functions, l S_l = r . dS_l/dr, turns the same coefficients into a recursion for the
values. Values and derivatives are therefore a few matrix products.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fitsnap_nn.inputs.constants import Float64Constants


class SphericalHarmonics(nn.Module):
    """Real orthonormal spherical harmonics of directions, ordered by l, then m from -l to l.

    Args:
        max_angular: maximum l.
    """

    def __init__(self, max_angular: int) -> None:
        super().__init__()
        self.max_angular = max_angular
        size, lower = (max_angular + 1) ** 2, max_angular**2
        slopes = np.zeros((size, 3, lower))
        for degree in range(1, max_angular + 1):
            start, end = degree**2, (degree + 1) ** 2
            slopes[start:end, :, (degree - 1) ** 2 : start] = gradient_coefficients(degree)
        self.constants = Float64Constants(slopes=torch.from_numpy(slopes))

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the harmonics.

        Args:
            vectors: (E, 3) of any length but 0.

        Returns:
            (E, (max_angular + 1)²), differentiable any number of times.
        """
        values: Tensor = _Harmonics.apply(vectors, self.constants["slopes"].to(vectors.dtype))  # type: ignore[no-untyped-call]
        return values


class _Harmonics(torch.autograd.Function):
    """Harmonics (E, K) with slopes (K, 3, K') of the solid harmonics, of which K' have a degree below the maximum."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, slopes: Tensor) -> Tensor:
        values = _values(vectors / torch.linalg.vector_norm(vectors, dim=1, keepdim=True), slopes)
        ctx.save_for_backward(vectors, values, slopes)
        return values

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor, None]:
        vectors, values, slopes = ctx.saved_tensors
        lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        directions = vectors / lengths
        products = (bar @ slopes.flatten(1)).view(len(bar), *slopes.shape[1:])
        by_component = (products * values[:, None, : slopes.shape[2]]).sum(dim=2)
        # The harmonics do not depend on the length: remove the component along the vector.
        along = (by_component * directions).sum(dim=1, keepdim=True)
        return (by_component - along * directions) / lengths, None


def values_and_gradients(vectors: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the harmonics and their derivatives by the vectors, without recording them for differentiation.

    Args:
        vectors: (E, 3) of any length but 0.
        slopes: as in `SphericalHarmonics`, its constant of this name.

    Returns:
        (E, K) and (E, 3, K).
    """
    lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    directions = vectors / lengths
    values = _values(directions, slopes)
    products = values[:, : slopes.shape[2]] @ slopes.permute(2, 1, 0).flatten(1)
    by_component = products.view(len(vectors), 3, len(slopes))
    along = (by_component * directions[:, :, None]).sum(dim=1, keepdim=True)
    return values, (by_component - along * directions[:, :, None]) / lengths[:, :, None]


def _values(directions: Tensor, slopes: Tensor) -> Tensor:
    """Return the harmonics of unit vectors by S_l = (r . dS_l/dr)/l."""
    degrees = [directions.new_full((len(directions), 1), math.sqrt(0.25 / math.pi))]
    while sum(part.shape[1] for part in degrees) < len(slopes):
        degree = len(degrees)
        block = slopes[degree**2 : (degree + 1) ** 2, :, (degree - 1) ** 2 : degree**2] / degree
        products = directions[:, :, None] * degrees[-1][:, None, :]
        degrees.append(products.flatten(1) @ block.flatten(1).t())
    return torch.cat(degrees, dim=1)


def gradient_coefficients(degree: int) -> NDArray[np.float64]:
    """Return G^l of the module's docstring, from the known gradients of complex solid harmonics.

    With the phase convention of Condon and Shortley and k = (2l + 1)/(2l - 1), see e.g. E. O. Steinborn and
    K. Ruedenberg, Adv. Quantum Chem. 7, 1 (1973):
    (d/dx ± i d/dy) S_lm = ± sqrt(k (l ∓ m)(l ∓ m - 1)) S_(l-1,m±1) and d/dz S_lm = sqrt(k (l² - m²)) S_(l-1,m).

    Args:
        degree: l, at least 1.

    Returns:
        (2l + 1, 3, 2l - 1).
    """
    factor = (2 * degree + 1) / (2 * degree - 1)
    raising, lowering, along_z = (np.zeros((2 * degree + 1, 2 * degree - 1), dtype=complex) for _ in range(3))
    for m in range(-degree, degree + 1):
        for change, matrix in ((1, raising), (-1, lowering)):
            if abs(m + change) < degree:
                root = math.sqrt(factor * (degree - change * m) * (degree - change * m - 1))
                matrix[degree + m, degree - 1 + m + change] = change * root
        if abs(m) < degree:
            along_z[degree + m, degree - 1 + m] = math.sqrt(factor * (degree**2 - m**2))
    upper, lower = real_from_complex(degree), real_from_complex(degree - 1).conj().T
    components = (raising + lowering) / 2.0, (raising - lowering) / 2.0j, along_z
    return np.stack([(upper @ matrix @ lower).real for matrix in components], axis=1)


def real_from_complex(degree: int) -> NDArray[np.complex128]:
    """Return the unitary matrix that maps complex harmonics of a degree to real ones without Condon-Shortley phase."""
    matrix = np.zeros((2 * degree + 1, 2 * degree + 1), dtype=complex)
    matrix[degree, degree] = 1.0
    for m in range(1, degree + 1):
        sign = (-1.0) ** m
        matrix[degree + m, [degree + m, degree - m]] = np.array([sign, 1.0]) / math.sqrt(2.0)
        matrix[degree - m, [degree + m, degree - m]] = np.array([sign, -1.0]) / (1.0j * math.sqrt(2.0))
    return matrix

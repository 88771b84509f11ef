"""The operations of ``mace_kernels`` with NVIDIA's cuequivariance, on a GPU for which its kernels are installed.

Weights keep the layout of ``mace_kernels``, so that model and LAMMPS files do not depend on whether the library is
installed. cuequivariance needs other memory layouts of features and weights; they are converted on each call.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

Shapes = Sequence[tuple[int, int]]  # multiplicity, dimension of each irreducible representation


def computes_on(device: torch.device) -> bool:
    """Return whether to use cuequivariance on a device.

    Args:
        device: of the features.
    """
    return device.type == "cuda" and _installed()


@cache
def _installed() -> bool:
    return all(find_spec(name) for name in ("cuequivariance_torch", "cuequivariance_ops_torch"))


def convolve(
    irreps: tuple[str, str, str], features: Tensor, harmonics: Tensor, weights: Tensor, sender: Tensor, receiver: Tensor
) -> Tensor:
    """Return messages, the weighted tensor products summed over the neighbours of each atom.

    Args:
        irreps: representations of features, harmonics and messages.
        features: (N, inputs) in e3nn's layout.
        harmonics: (E, (l_max + 1)²) spherical harmonics.
        weights: (E, paths x channels).
        sender, receiver: (E,) atoms.

    Returns:
        (N, outputs) in e3nn's layout.
    """
    polynomial = _convolution(irreps, features.dtype, features.device)
    inputs, outputs = _shapes(irreps[0]), _shapes(irreps[2])
    # The kernel gathers the senders and sums over the receivers itself, so that no (E, outputs) array is stored.
    operands = [weights, _transposed_blocks(features, inputs), harmonics]
    (messages,) = polynomial(operands, {1: sender}, {0: features}, {0: receiver})
    return _transposed_blocks(messages, [(dimension, multiplicity) for multiplicity, dimension in outputs])


def contract(
    irreps: tuple[str, str], degree: int, weights: Sequence[Sequence[Tensor]], features: Tensor, element: Tensor
) -> Tensor:
    """Return symmetric contractions of features.

    Args:
        irreps: representations of features and outputs.
        degree: maximum degree.
        weights: per output representation, for those of degree 1, 2, ... that have paths: (elements, paths, channels).
        features: (N, channels, components).
        element: (N,) index of the element of each atom.

    Returns:
        (N, outputs).
    """
    elements = len(weights[0][0])
    product = _product(irreps, degree, elements, features.dtype, features.device)
    # cuequivariance concatenates the paths of all degrees, the highest first.
    weight = torch.cat([part for by_degree in weights for part in reversed(by_degree)], dim=1)
    arguments = (features.transpose(1, 2).flatten(1), element.int())
    outputs: Tensor = torch.func.functional_call(product, {"weight": weight}, arguments)
    return outputs


@cache
def _convolution(irreps: tuple[str, str, str], dtype: torch.dtype, device: torch.device) -> Any:
    cue, group = _library()
    product = cue.descriptors.channelwise_tensor_product(*(cue.Irreps(group, text) for text in irreps))
    polynomial = product.flatten_coefficient_modes().squeeze_modes().polynomial
    method = _method(polynomial, device)
    return import_module("cuequivariance_torch").SegmentedPolynomial(polynomial, method, math_dtype=dtype).to(device)


@cache
def _product(irreps: tuple[str, str], degree: int, elements: int, dtype: torch.dtype, device: torch.device) -> Any:
    cue, group = _library()
    return import_module("cuequivariance_torch").SymmetricContraction(
        *(cue.Irreps(group, text) for text in irreps),
        degree,
        elements,
        layout_in=cue.ir_mul,
        layout_out=cue.mul_ir,
        device=device,
        dtype=dtype,
        math_dtype=dtype,
        original_mace=True,
        method=None if device.type == "cuda" else "naive",
    )


def _library() -> tuple[Any, Any]:
    """Return cuequivariance, and the group O(3) with e3nn's sign convention of Clebsch-Gordan coefficients."""
    return import_module("cuequivariance"), import_module("mace.tools.cg").O3_e3nn


def _method(polynomial: Any, device: torch.device) -> str:
    return "uniform_1d" if device.type == "cuda" and polynomial.all_same_segment_shape() else "naive"


@cache
def _shapes(irreps: str) -> Shapes:
    return [(multiplicity, irrep.dim) for multiplicity, irrep in import_module("e3nn.o3").Irreps(irreps)]


def _transposed_blocks(values: Tensor, shapes: Shapes) -> Tensor:
    """Return rows (N, ...) of concatenated flattened matrices, each matrix transposed.

    It converts between e3nn's layout (multiplicity, component) and cuequivariance's (component, multiplicity).
    """
    parts = torch.split(values, [rows * columns for rows, columns in shapes], dim=1)
    transposed = [part.reshape(-1, *shape).transpose(1, 2) for part, shape in zip(parts, shapes, strict=True)]
    return torch.cat([part.flatten(1) for part in transposed], dim=1)

"""The steps of ``mace_kernels`` by NVIDIA's cuequivariance, on a GPU for which its kernels are installed.

They take weights as they are there, so that states and exported files are the same with and without the library.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

Shapes = Sequence[tuple[int, int]]  # of irreducible representations: multiplicity, dimension


def computes_on(device: torch.device) -> bool:
    """Whether the steps are to be done here."""
    return device.type == "cuda" and _installed()


@cache
def _installed() -> bool:
    return all(find_spec(name) for name in ("cuequivariance_torch", "cuequivariance_ops_torch"))


def convolve(
    irreps: tuple[str, str, str], features: Tensor, harmonics: Tensor, weights: Tensor, sender: Tensor, receiver: Tensor
) -> Tensor:
    """(N, outputs) messages from features (N, inputs), harmonics (E, ...) and weights (E, paths x channels).

    Args:
        irreps: of features, harmonics and messages.
        sender, receiver: (E,) atoms.
    """
    polynomial = _convolution(irreps, features.dtype, features.device)
    inputs, outputs = _shapes(irreps[0]), _shapes(irreps[2])
    operands = [weights, _turned(features, inputs), harmonics]
    (messages,) = polynomial(operands, {1: sender}, {0: features}, {0: receiver})
    return _turned(messages, [(dimension, multiplicity) for multiplicity, dimension in outputs])


def contract(irreps: tuple[str, str], weights: Sequence[Sequence[Tensor]], features: Tensor, element: Tensor) -> Tensor:
    """(N, outputs) from features (N, channels, components) and the element of each atom (N,).

    Args:
        irreps: of features and outputs.
        weights: for each representation of the outputs those of each degree, (elements, paths, channels).
    """
    degree, elements = len(weights[0]), len(weights[0][0])
    product = _product(irreps, degree, elements, features.dtype, features.device)
    weight = torch.cat([part for of_output in weights for part in reversed(of_output)], dim=1)
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
    """cuequivariance, and the group with e3nn's signs."""
    return import_module("cuequivariance"), import_module("mace.tools.cg").O3_e3nn


def _method(polynomial: Any, device: torch.device) -> str:
    return "uniform_1d" if device.type == "cuda" and polynomial.all_same_segment_shape() else "naive"


@cache
def _shapes(irreps: str) -> Shapes:
    return [(multiplicity, irrep.dim) for multiplicity, irrep in import_module("e3nn.o3").Irreps(irreps)]


def _turned(values: Tensor, shapes: Shapes) -> Tensor:
    """Rows of matrices of these shapes, one after another, with each of them transposed."""
    parts = torch.split(values, [rows * columns for rows, columns in shapes], dim=1)
    turned = [part.reshape(-1, *shape).transpose(1, 2) for part, shape in zip(parts, shapes, strict=True)]
    return torch.cat([part.flatten(1) for part in turned], dim=1)

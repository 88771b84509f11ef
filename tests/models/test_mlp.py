"""The written-out derivatives against automatic differentiation of the same network made of torch's own modules."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from fitsnap_nn.models.mlp import ACTIVATIONS, energy_and_gradient

MODULES = {
    "softplus": nn.Softplus(), "tanh": nn.Tanh(), "sigmoid": nn.Sigmoid(), "silu": nn.SiLU(), "gelu": nn.GELU(),
    "relu": nn.ReLU(), "linear": nn.Identity(),
}  # fmt: skip
ROWS = 7


def parameters(sizes: tuple[int, ...], by_row: bool) -> tuple[list[Tensor], list[Tensor]]:
    torch.manual_seed(1)
    weights = [torch.randn(b, a, dtype=torch.float64, requires_grad=True) for a, b in pairwise(sizes)]
    shapes = [(ROWS, size) if by_row and number == 0 else (size,) for number, size in enumerate(sizes[1:])]
    return weights, [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def by_autograd(inputs: Tensor, weights: list[Tensor], biases: list[Tensor], activation: str) -> tuple[Tensor, Tensor]:
    inputs = inputs.clone().requires_grad_(True)
    values = inputs
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        values = MODULES[activation](values @ weight.T + bias)
    energy = (values @ weights[-1].T + biases[-1]).squeeze(1)
    (gradient,) = torch.autograd.grad(energy.sum(), inputs, create_graph=True)
    return energy, gradient


@pytest.mark.parametrize("activation", MODULES)
@pytest.mark.parametrize("sizes", [(5, 6, 4, 1), (3, 8, 1), (4, 3, 5, 2, 1), (6, 1)], ids=str)
@pytest.mark.parametrize("by_row", [False, True], ids=["bias", "bias by row"])
def test_values_and_all_derivatives(activation: str, sizes: tuple[int, ...], by_row: bool):
    weights, biases = parameters(sizes, by_row and len(sizes) > 2)
    inputs = torch.randn(ROWS, sizes[0], dtype=torch.float64)
    along = torch.randn(ROWS, dtype=torch.float64), torch.randn(ROWS, sizes[0], dtype=torch.float64)
    *found, pullback = energy_and_gradient(inputs, weights, biases, activation)
    expected = by_autograd(inputs, weights, biases, activation)
    torch.testing.assert_close(tuple(found), expected, rtol=1e-12, atol=1e-12)
    projected = sum((a * b).sum() for a, b in zip(along, expected, strict=True))
    expected_slopes = torch.autograd.grad(projected, weights + biases)
    torch.testing.assert_close(tuple(pullback(*along)), expected_slopes, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_derivatives_far_from_zero(activation: str):
    # The model in LAMMPS differentiates the value, the trainer has the slopes written out.
    value, slope, curvature = ACTIVATIONS[activation]
    x = torch.linspace(-60, 60, 2402, dtype=torch.float64, requires_grad=True)
    y = value(x)
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    torch.testing.assert_close(slope(x, y), first, rtol=1e-13, atol=1e-14)
    if first.requires_grad:
        (second,) = torch.autograd.grad(first.sum(), x)
        torch.testing.assert_close(curvature(x, y, slope(x, y)), second, rtol=1e-13, atol=1e-14)
    if activation == "softplus":
        torch.testing.assert_close(y, torch.logaddexp(x, torch.zeros_like(x)), rtol=1e-15, atol=0)


def test_every_activation_is_compared():
    assert set(ACTIVATIONS) == set(MODULES)


def test_scales_of_input_and_output():
    weights, biases = parameters((4, 3, 1), by_row=False)
    scaled = [weights[0], 2.5 * weights[1]], [biases[0], 2.5 * biases[1]]
    inputs, input_scale = torch.randn(ROWS, 4, dtype=torch.float64), torch.rand(4, dtype=torch.float64) + 0.5
    along = torch.randn(ROWS, dtype=torch.float64), torch.randn(ROWS, 4, dtype=torch.float64)
    output_scale = torch.tensor(2.5, dtype=torch.float64)
    *found, pullback = energy_and_gradient(
        inputs, weights, biases, "tanh", input_scale=input_scale, output_scale=output_scale
    )
    energy, gradient = by_autograd(inputs, *scaled, "tanh")
    torch.testing.assert_close(tuple(found), (energy, gradient / input_scale), rtol=1e-12, atol=1e-12)
    projected = (along[0] * energy).sum() + (along[1] * gradient / input_scale).sum()
    expected = torch.autograd.grad(projected, weights + biases)
    torch.testing.assert_close(tuple(pullback(*along)), expected, rtol=1e-11, atol=1e-11)

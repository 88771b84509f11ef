"""A feed-forward network together with its gradient by the inputs, both differentiable by the weights.

Fitting forces needs d(de/dx)/d(weights). Automatic differentiation gets it by recording the backward pass and
differentiating that, operation by operation; for networks of this size most of the time goes into the recording.
Here the two passes are written out once (`energy_and_gradient`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor


class Activation(NamedTuple):
    """An activation function, and its first and second derivatives, from input and value; all element by element."""

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor, Tensor], Tensor]
    curvature: Callable[[Tensor, Tensor, Tensor], Tensor]


def _normal_density(x: Tensor) -> Tensor:
    return torch.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def _silu_slope(x: Tensor, y: Tensor) -> Tensor:
    sigmoid = torch.sigmoid(x)
    return sigmoid + y * (1.0 - sigmoid)


def _silu_curvature(x: Tensor, y: Tensor, slope: Tensor) -> Tensor:
    sigmoid = torch.sigmoid(x)
    return sigmoid * (1.0 - sigmoid) * (2.0 + x * (1.0 - 2.0 * sigmoid))


# Curvatures are functions of (input, value, slope), slopes of (input, value): what is known already is not recomputed.
ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "softplus": Activation(
            torch.nn.functional.softplus, lambda x, y: torch.sigmoid(x), lambda x, y, slope: slope * (1.0 - slope)
        ),
        "tanh": Activation(torch.tanh, lambda x, y: 1.0 - y * y, lambda x, y, slope: -2.0 * y * slope),
        "sigmoid": Activation(torch.sigmoid, lambda x, y: y * (1.0 - y), lambda x, y, slope: slope * (1.0 - 2.0 * y)),
        "silu": Activation(torch.nn.functional.silu, _silu_slope, _silu_curvature),
        "gelu": Activation(
            torch.nn.functional.gelu,
            lambda x, y: 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0))) + x * _normal_density(x),
            lambda x, y, slope: (2.0 - x * x) * _normal_density(x),
        ),
        "relu": Activation(torch.relu, lambda x, y: (x > 0).to(x.dtype), lambda x, y, slope: torch.zeros_like(x)),
        "linear": Activation(torch.clone, lambda x, y: torch.ones_like(x), lambda x, y, slope: torch.zeros_like(x)),
    }
)


# Derivatives of a loss by weights and biases of all layers, from those by the energies (N,) and their gradients (N, D).
Pullback = Callable[[Tensor, Tensor], list[Tensor]]


def energy_and_gradient(
    inputs: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    *,
    input_scale: Tensor | None = None,
    output_scale: Tensor | None = None,
) -> tuple[Tensor, Tensor, Pullback]:
    """Output e and gradient of a network with one output, a_k = f(W_k a_k-1 + b_k), e = s (w a + b), and the way back.

    Forward: the outputs a_k = f(h_k), then p_k = g_k f'(h_k), g_k-1 = p_k W_k from g = w down to g_0 = de/dx.

    Backward: the same two passes in reverse, with x' for dL/dx of each quantity x. First up through the gradient:
    p_k' = g_k-1' W_k^T, g_k' = p_k' f'(h_k), h_k' = p_k' g_k f''(h_k); then down through the energy, adding
    h_k' = a_k' f'(h_k) and a_k-1' = h_k' W_k. Each product that has W_k in it gives a part of W_k'.

    Args:
        inputs: (N, D) x.
        weights: (out, in) of each layer.
        biases: (out,) of each layer, or (N, out) where it differs between the rows.
        activation: f of all layers but the last; a key of ``ACTIVATIONS``.
        input_scale: (D,) or (N, D) c, where the gradient by c x is wanted instead of that by x.
        output_scale: () s, 1 by default.

    Returns:
        (N,) e, (N, D) de/d(c x), and the function that runs backward: dL/dW and dL/db of all layers from dL/de and
        dL/d(de/d(c x)).
    """
    value, slope_of, curvature = ACTIVATIONS[activation]
    hidden, last_weight, last_bias = weights[:-1], weights[-1], biases[-1]
    if output_scale is not None:
        last_weight, last_bias = last_weight * output_scale, last_bias * output_scale
    outputs, slopes, summed = [inputs], [], []
    for weight, bias in zip(hidden, biases, strict=False):
        summed.append(torch.addmm(bias, outputs[-1], weight.t()))
        outputs.append(value(summed[-1]))
        slopes.append(slope_of(summed[-1], outputs[-1]))
    energy = torch.addmm(last_bias, outputs[-1], last_weight.t()).squeeze(1)
    gradient = last_weight.expand(len(inputs), -1)
    gradients, products = [], []
    for weight, slope in zip(reversed(hidden), reversed(slopes), strict=True):
        gradients.append(gradient)
        products.append(gradient * slope)
        gradient = products[-1] @ weight
    passes = _Passes(
        hidden, last_weight, biases, curvature, input_scale, output_scale,
        outputs, slopes, summed, gradients[::-1], products[::-1],
    )  # fmt: skip
    return energy, gradient if input_scale is None else gradient / input_scale, passes.pull_back


class _Passes(NamedTuple):
    """What `energy_and_gradient` keeps of its two passes; by layer, in the order of the layers."""

    hidden: Sequence[Tensor]
    last_weight: Tensor
    biases: Sequence[Tensor]
    curvature: Callable[[Tensor, Tensor, Tensor], Tensor]
    input_scale: Tensor | None
    output_scale: Tensor | None
    outputs: list[Tensor]
    slopes: list[Tensor]
    summed: list[Tensor]
    gradients: list[Tensor]
    products: list[Tensor]

    def pull_back(self, energy_bar: Tensor, gradient_bar: Tensor) -> list[Tensor]:
        """Both passes in reverse."""
        hidden, outputs, slopes = self.hidden, self.outputs, self.slopes
        weight_bars: list[Tensor] = []
        summed_bars: list[Tensor] = []
        bar = gradient_bar if self.input_scale is None else gradient_bar / self.input_scale
        for k, weight in enumerate(hidden):
            weight_bars.append(self.products[k].t() @ bar)
            product_bar = bar @ weight.t()
            bar = product_bar * slopes[k]
            curvature = self.curvature(self.summed[k], outputs[k + 1], slopes[k])
            summed_bars.append(product_bar.mul_(self.gradients[k]).mul_(curvature))
        energy_bar = energy_bar.unsqueeze(1)
        weight_bars.append(torch.addmm(bar.sum(0, keepdim=True), energy_bar.t(), outputs[-1]))
        bias_bars = [_like(self.biases[-1], energy_bar)]
        if self.output_scale is not None:
            weight_bars[-1], bias_bars[-1] = weight_bars[-1] * self.output_scale, bias_bars[-1] * self.output_scale
        output_bar = energy_bar @ self.last_weight
        for k in reversed(range(len(hidden))):
            summed_bar = summed_bars[k].addcmul_(output_bar, slopes[k])
            weight_bars[k].addmm_(summed_bar.t(), outputs[k])
            bias_bars.append(_like(self.biases[k], summed_bar))
            if k:
                output_bar = summed_bar @ hidden[k]
        return [*weight_bars, *bias_bars[::-1]]


def _like(bias: Tensor, bar: Tensor) -> Tensor:
    return bar.sum(0) if bias.dim() == 1 else bar

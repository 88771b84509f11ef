"""Feed-forward network and its input gradient, both differentiable with respect to the weights.

Fitting forces requires d(de/dx)/d(weights). Automatic differentiation obtains it by differentiating the recorded
backward pass (double backward); for networks of this size, recording dominates the cost. Here both passes are
implemented analytically (`energy_and_gradient`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor


class Activation(NamedTuple):
    """An activation function f and its first two derivatives, all element-wise.

    Attributes:
        value: f(x).
        slope: f'(x), from x and f(x).
        curvature: f''(x), from x, f(x) and f'(x).
    """

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


def _softplus(x: Tensor) -> Tensor:
    """ln(1 + e^x), to rounding. From 20 on torch returns x by default: a step of 2e-9 of the value and the slope."""
    return torch.nn.functional.softplus(x, threshold=40.0)


# Derivatives also receive the quantities already computed, since many activations have cheap expressions in them.
ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "softplus": Activation(_softplus, lambda x, y: torch.sigmoid(x), lambda x, y, slope: slope * (1.0 - slope)),
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
SHARED, PER_ELEMENT, ONE_HOT = 1, 2, 3  # values of multi_element_option


def uniform(shape: tuple[int, ...], inputs: int) -> Tensor:
    """Return initial weights with the distribution of ``nn.Linear``."""
    return torch.empty(shape).uniform_(-1.0, 1.0) / math.sqrt(inputs)


# Vector-Jacobian product: dL/dW and dL/db of all layers, from dL/de (N,) and dL/d(de/dx) (N, D).
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
    """Return output e and input gradient of a network a_k = f(W_k a_k-1 + b_k), e = s (w a + b), and their pullback.

    Forward: the outputs a_k = f(h_k), then backpropagation g_k-1 = p_k W_k with p_k = g_k f'(h_k), from g = w to
    g_0 = de/dx.

    Pullback: both passes in reverse order; x' denotes dL/dx. First through the gradient, from the inputs to the output:
    p_k' = g_k-1' W_k^T, g_k' = p_k' f'(h_k), h_k' = p_k' g_k f''(h_k). Then through the output, from the last layer to
    the first, adding h_k' = a_k' f'(h_k) and a_k-1' = h_k' W_k. Every product with W_k contributes to W_k'.

    Args:
        inputs: (N, D) x.
        weights: (out, in) of each layer.
        biases: (out,) of each layer, or (N, out) if it differs between rows.
        activation: f of the hidden layers; a key of ``ACTIVATIONS``.
        input_scale: (D,) or (N, D) c; the gradient is taken with respect to c x instead of x.
        output_scale: () s; 1 if omitted.

    Returns:
        (N,) e; (N, D) de/d(c x); the pullback: dL/dW and dL/db of all layers from dL/de (N,) and dL/d(de/d(c x))
        (N, D).
    """
    value, slope_of, curvature = ACTIVATIONS[activation]
    hidden, last_weight, last_bias = weights[:-1], weights[-1], biases[-1]
    if output_scale is not None:
        last_weight, last_bias = last_weight * output_scale, last_bias * output_scale
    outputs, slopes, preactivations = [inputs], [], []
    for weight, bias in zip(hidden, biases, strict=False):
        preactivations.append(torch.addmm(bias, outputs[-1], weight.t()))
        outputs.append(value(preactivations[-1]))
        slopes.append(slope_of(preactivations[-1], outputs[-1]))
    energy = torch.addmm(last_bias, outputs[-1], last_weight.t()).squeeze(1)
    gradient = last_weight.expand(len(inputs), -1)
    gradients, products = [], []
    for weight, slope in zip(reversed(hidden), reversed(slopes), strict=True):
        gradients.append(gradient)
        products.append(gradient * slope)
        gradient = products[-1] @ weight
    intermediates = _Intermediates(
        hidden, last_weight, biases, curvature, input_scale, output_scale,
        outputs, slopes, preactivations, gradients[::-1], products[::-1],
    )  # fmt: skip
    return energy, gradient if input_scale is None else gradient / input_scale, intermediates.pull_back


class _Intermediates(NamedTuple):
    """Intermediate results of `energy_and_gradient` that its pullback needs; lists are in the order of the layers."""

    hidden: Sequence[Tensor]
    last_weight: Tensor
    biases: Sequence[Tensor]
    curvature: Callable[[Tensor, Tensor, Tensor], Tensor]
    input_scale: Tensor | None
    output_scale: Tensor | None
    outputs: list[Tensor]
    slopes: list[Tensor]
    preactivations: list[Tensor]
    gradients: list[Tensor]
    products: list[Tensor]

    def pull_back(self, energy_bar: Tensor, gradient_bar: Tensor) -> list[Tensor]:
        """Return dL/dW of all layers, then dL/db, from dL/de (N,) and dL/d(de/d(c x)) (N, D)."""
        hidden, outputs, slopes = self.hidden, self.outputs, self.slopes
        weight_bars: list[Tensor] = []
        preactivation_bars: list[Tensor] = []
        bar = gradient_bar if self.input_scale is None else gradient_bar / self.input_scale
        for k, weight in enumerate(hidden):
            weight_bars.append(self.products[k].t() @ bar)
            product_bar = bar @ weight.t()
            bar = product_bar * slopes[k]
            curvature = self.curvature(self.preactivations[k], outputs[k + 1], slopes[k])
            preactivation_bars.append(product_bar.mul_(self.gradients[k]).mul_(curvature))
        energy_bar = energy_bar.unsqueeze(1)
        weight_bars.append(torch.addmm(bar.sum(0, keepdim=True), energy_bar.t(), outputs[-1]))
        bias_bars = [_summed_like(self.biases[-1], energy_bar)]
        if self.output_scale is not None:
            weight_bars[-1], bias_bars[-1] = weight_bars[-1] * self.output_scale, bias_bars[-1] * self.output_scale
        output_bar = energy_bar @ self.last_weight
        for k in reversed(range(len(hidden))):
            preactivation_bar = preactivation_bars[k].addcmul_(output_bar, slopes[k])
            weight_bars[k].addmm_(preactivation_bar.t(), outputs[k])
            bias_bars.append(_summed_like(self.biases[k], preactivation_bar))
            if k:
                output_bar = preactivation_bar @ hidden[k]
        return [*weight_bars, *bias_bars[::-1]]


def _summed_like(bias: Tensor, bar: Tensor) -> Tensor:
    return bar.sum(0) if bias.dim() == 1 else bar

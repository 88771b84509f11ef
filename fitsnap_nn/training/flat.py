"""All weights of a model as one vector, so that optimiser, average, clipping and sums over ranks are one call each."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector


class FlatParameters:
    """A vector of all parameters, and one of their gradients, of which the model's own are views.

    Attributes:
        vector: (W,), a leaf with ``grad`` set.
        gradient: (W,), what ``backward`` adds to.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        parameters = list(model.parameters())
        self.vector = parameters_to_vector(parameters).detach().clone().requires_grad_(True)
        self.gradient = torch.zeros_like(self.vector)
        self.vector.grad = self.gradient
        start = 0
        for parameter in parameters:
            end = start + parameter.numel()
            parameter.data = self.vector.detach()[start:end].view_as(parameter)
            parameter.grad = self.gradient[start:end].view_as(parameter)
            start = end

    @torch.no_grad()
    def assign(self, values: Tensor) -> None:
        """Set all weights."""
        self.vector.copy_(values)

"""All fitted weights of a model in one vector, so that optimiser, average and sums over ranks are one call each."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector


class FlatParameters:
    """A vector of all parameters that require gradients, and one of their gradients; the model's own are views of them.

    Frozen parameters (``requires_grad`` false) stay as they are.

    Attributes:
        parameters: the parameters in the vector, in the order of the model.
        vector: (W,), a leaf with ``grad`` set.
        gradient: (W,), what ``backward`` adds to.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.vector = parameters_to_vector(self.parameters).detach().clone().requires_grad_(True)
        self.gradient = torch.zeros_like(self.vector)
        self.vector.grad = self.gradient
        start = 0
        for parameter in self.parameters:
            end = start + parameter.numel()
            parameter.data = self.vector.detach()[start:end].view_as(parameter)
            parameter.grad = self.gradient[start:end].view_as(parameter)
            start = end

    @torch.no_grad()
    def assign(self, values: Tensor) -> None:
        """Set all of them."""
        self.vector.copy_(values)

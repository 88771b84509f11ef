"""All trainable parameters of a model in one contiguous vector.

Optimiser step, exponential moving average and sum over ranks are then a single operation each.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector


class FlatParameters:
    """Vectors of all trainable parameters and of their gradients.

    The parameters of the model, and their ``grad``, become views of these vectors. Frozen parameters
    (``requires_grad=False``) are left unchanged.

    Args:
        model: the model; not to be moved to another device or type afterwards, which would break the views.

    Attributes:
        parameters: the trainable parameters, in the order of ``model.parameters()``.
        vector: (W,) leaf tensor with ``grad`` set to ``gradient``.
        gradient: (W,) gradient that ``backward`` accumulates into.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.vector = parameters_to_vector(self.parameters).detach().clone().requires_grad_(True)
        self.gradient = torch.zeros_like(self.vector)
        self.vector.grad = self.gradient
        start = 0
        # Autograd adds into an existing grad in place. Zero the vector between steps; grad = None would break the view.
        for parameter in self.parameters:
            end = start + parameter.numel()
            parameter.data = self.vector.detach()[start:end].view_as(parameter)
            parameter.grad = self.gradient[start:end].view_as(parameter)
            start = end

    def of(self, model: torch.nn.Module) -> tuple[Tensor, Tensor]:
        """Return the parts of vector and gradient that belong to a part of the model.

        Args:
            model: its trainable parameters are consecutive among those of the whole model.
        """
        own = [parameter for parameter in model.parameters() if parameter.requires_grad]
        size = sum(parameter.numel() for parameter in own)
        start = own[0].storage_offset() if own else 0
        return self.vector.detach()[start : start + size], self.gradient[start : start + size]

    @torch.no_grad()
    def assign(self, values: Tensor) -> None:
        """Set all trainable parameters.

        Args:
            values: (W,).
        """
        self.vector.copy_(values)

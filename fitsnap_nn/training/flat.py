"""All trainable parameters of a model in one contiguous vector.

Optimiser step, exponential moving average and sum over ranks are then a single operation each.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector


class Part(NamedTuple):
    """Trainable parameters of a part of a model, such as a member of a committee.

    Attributes:
        parameters: in the order of ``model.parameters()``.
        vector: (W,) view of all of them, with ``grad`` set to ``gradient``.
        gradient: (W,) view of their gradients.
    """

    parameters: list[torch.nn.Parameter]
    vector: Tensor
    gradient: Tensor


def trainable(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Return the parameters that are not frozen, in the order of ``model.parameters()``."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


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
        self.parameters = trainable(model)
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

    def part(self, model: torch.nn.Module) -> Part:
        """Return the parameters of a part of the model.

        Args:
            model: the part; its trainable parameters are consecutive among those of the whole model. There is one.
        """
        own = trainable(model)
        start = own[0].storage_offset()
        chosen = slice(start, start + sum(parameter.numel() for parameter in own))
        part = Part(own, self.vector.detach()[chosen], self.gradient[chosen])
        part.vector.grad = part.gradient
        return part

    @torch.no_grad()
    def assign(self, values: Tensor) -> None:
        """Set all trainable parameters.

        Args:
            values: (W,).
        """
        self.vector.copy_(values)

"""Constant tensors of a model that follow its device but not its precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class Float64Constants(nn.Module):
    """Tensors that stay float64 when the model is converted to float32, and that no state dict contains.

    Args:
        tensors: float64 tensors by name.
    """

    def __init__(self, **tensors: Tensor) -> None:
        super().__init__()
        self._tensors = tensors

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        # Module.to, .cuda and .cpu all come here; `fn` converts a tensor to the new device and type.
        self._tensors = {name: tensor.to(fn(tensor).device) for name, tensor in self._tensors.items()}
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

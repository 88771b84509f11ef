"""Weights of a model with other elements: whatever belongs to an element is found by its symbol."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor


class PerElement(NamedTuple):
    """Position of the elements in a tensor of a state dict.

    The flattened tensor is a sequence of blocks; each is an array (before, elements, after).

    Attributes:
        blocks: ``before`` and ``after`` of each block.
        divided: the layer divides its outputs by the square root of the number of elements, as e3nn's layers do by
            that of their inputs, so that kept weights are multiplied by the ratio of the roots.
    """

    blocks: tuple[tuple[int, int], ...]
    divided: bool = False


def along(tensor: Tensor, axis: int = 0, *, divided: bool = False) -> PerElement:
    """Return the layout of a tensor with one dimension over elements.

    Args:
        tensor: of the state dict.
        axis: its dimension over elements.
        divided: see `PerElement`.
    """
    shape = tensor.shape
    return PerElement(((math.prod(shape[:axis]), math.prod(shape[axis + 1 :])),), divided)


def rearranged(target: Tensor, source: Tensor, layout: PerElement, old: Sequence[int | None]) -> Tensor:
    """Return a tensor for other elements.

    Args:
        target: tensor of the new model, from which the values of new elements are taken.
        source: tensor of the old model.
        layout: position of the elements in both.
        old: for each element of the new model, its index in the old one; ``None`` for new elements.
    """
    found = target.clone().flatten()
    values = source.to(found.dtype).flatten()
    count = len(values) // sum(before * after for before, after in layout.blocks)
    factor = math.sqrt(len(old) / count) if layout.divided else 1.0
    start = new_start = 0
    for before, after in layout.blocks:
        size, new_size = before * count * after, before * len(old) * after
        block = values[start : start + size].view(before, count, after)
        new_block = found[new_start : new_start + new_size].view(before, len(old), after)
        for number, index in enumerate(old):
            if index is not None:
                new_block[:, number] = factor * block[:, index]
        start, new_start = start + size, new_start + new_size
    return found.view_as(target)


def for_elements(
    target: Mapping[str, Tensor],
    source: Mapping[str, Tensor],
    layouts: Mapping[str, PerElement],
    old: Sequence[int | None],
) -> dict[str, Tensor]:
    """Return a state dict for other elements: `rearranged` where there is a layout, the old tensor elsewhere.

    Args:
        target, source: state dicts of the new and the old model.
        layouts: by name in ``target``.
        old: see `rearranged`.
    """
    return {
        name: rearranged(tensor, source[name], layouts[name], old) if name in layouts else source[name]
        for name, tensor in target.items()
    }

"""Neighbours of atoms in blocks of equal size."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class NeighbourBlocks(NamedTuple):
    """Neighbours in padded blocks of equal size, so that sums over neighbours are batched matrix products.

    Attributes:
        atoms: number of atoms.
        size: neighbours per block.
        block_atom: (B,) atom of each block, sorted.
        position: (E,) position of each neighbour in the concatenated blocks.
    """

    atoms: int
    size: int
    block_atom: Tensor
    position: Tensor

    def pad(self, values: Tensor, positions: Tensor, channels: int) -> Tensor:
        """Return values (E, K) as (B, size, channels * K); padding is 0."""
        table = values.new_zeros(len(self.block_atom) * self.size * channels, values.shape[1])
        return table.index_copy(0, positions, values).view(len(self.block_atom), self.size, channels * values.shape[1])

    def sum_by_atom(self, values: Tensor) -> Tensor:
        """Sum (B, ...) over the blocks of each atom: (atoms, ...)."""
        if len(self.block_atom) == self.atoms:
            return values
        return values.new_zeros(self.atoms, *values.shape[1:]).index_add(0, self.block_atom, values)


def neighbour_blocks(atoms: Tensor, count: int) -> NeighbourBlocks:
    """Return one block per atom, several for atoms with more than twice the average number of neighbours.

    The limit keeps the padding to at most one such block per atom.

    Args:
        atoms: (E,) centre atom of each neighbour, below ``count``.
        count: number of centre atoms.
    """
    sizes = torch.bincount(atoms, minlength=count)
    maximum, occupied = int(sizes.max()) if count else 0, int(torch.count_nonzero(sizes))
    size = max(1, min(maximum, 2 * len(atoms) // max(1, occupied)))
    blocks = (sizes + size - 1).div(size, rounding_mode="floor").clamp_min(1)
    order = torch.argsort(atoms, stable=True)
    offsets = size * (blocks.cumsum(0) - blocks) - (sizes.cumsum(0) - sizes)
    positions = torch.arange(len(atoms), device=atoms.device) + offsets[atoms[order]]
    block_atom = torch.repeat_interleave(torch.arange(count, device=atoms.device), blocks)
    return NeighbourBlocks(count, size, block_atom, torch.empty_like(order).index_copy_(0, order, positions))

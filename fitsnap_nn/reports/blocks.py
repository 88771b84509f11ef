"""Irreducible blocks of tensors as rows of the error table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from numpy.typing import ArrayLike

from fitsnap_nn.data.properties import ENERGY, Floats, Property
from fitsnap_nn.data.symmetries import Spherical, to_blocks


@dataclass(frozen=True)
class BlockOfProperty(Property):
    """One irreducible block of a property, whose labels and predictions it is computed from.

    Attributes:
        whole: the property.
        start: first component of the block among those of all blocks.
    """

    whole: Property = ENERGY
    start: int = 0

    def rows(self, value: ArrayLike) -> Floats:
        columns = to_blocks(self.whole.symmetry)[self.start : self.start + self.symmetry.components]
        rows: Floats = self.whole.rows(value) @ columns.T
        return rows


def with_blocks(properties: Sequence[Property]) -> tuple[Property, ...]:
    """Return properties, each user-defined one with several irreducible blocks followed by these."""
    found: list[Property] = []
    for one in properties:
        found.append(one)
        if one.derivative is None and len(one.symmetry.blocks) > 1:
            found += _blocks(one)
    return tuple(found)


def _blocks(whole: Property) -> list[BlockOfProperty]:
    shared: dict[str, Any] = {field.name: getattr(whole, field.name) for field in fields(Property)}
    blocks, start = [], 0
    for block in whole.symmetry.blocks:
        own = BlockOfProperty(**shared, whole=whole, start=start)
        symmetry = Spherical(block.degree, block.pseudo)
        blocks.append(replace(own, symmetry=symmetry, title=f"{whole.title} {block.label}"))
        start += block.size
    return blocks

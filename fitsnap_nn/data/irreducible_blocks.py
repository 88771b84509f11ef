"""Irreducible blocks of tensors as properties of which errors are reported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
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

    @property
    def matrix(self) -> Floats:
        """(components of the property, 2l + 1), by which rows of labels, predictions or residuals are multiplied."""
        rows = slice(self.start, self.start + self.symmetry.components)
        return np.asarray(to_blocks(self.whole.symmetry)[rows].T)

    def rows(self, value: ArrayLike) -> Floats:
        rows: Floats = self.whole.rows(value) @ self.matrix
        return rows


def with_blocks(properties: Sequence[Property]) -> tuple[Property, ...]:
    """Return properties, each user-defined one with several irreducible blocks followed by these."""
    return tuple(part for one in properties for part in (one, *blocks_of([one])))


def blocks_of(properties: Iterable[Property]) -> list[BlockOfProperty]:
    """Return the irreducible blocks of user-defined properties that have several."""
    several = (one for one in properties if one.derivative is None and len(one.symmetry.blocks) > 1)
    return [block for one in several for block in _blocks(one)]


def _blocks(whole: Property) -> list[BlockOfProperty]:
    shared: dict[str, Any] = {field.name: getattr(whole, field.name) for field in fields(Property)}
    blocks, start = [], 0
    for block in whole.symmetry.blocks:
        own = BlockOfProperty(**shared, whole=whole, start=start)
        symmetry = Spherical(block.degree, block.pseudo)
        blocks.append(replace(own, symmetry=symmetry, title=f"{whole.title} {block.label}"))
        start += block.size
    return blocks

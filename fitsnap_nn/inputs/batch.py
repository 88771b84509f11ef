"""Batches: the atoms of several configurations as tensors. Each model input adds what its models need of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from types import MappingProxyType
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from fitsnap_nn.data.configuration import Configuration


@dataclass(frozen=True)
class Batch(ABC):
    """Atoms of C configurations, concatenated: N atoms.

    Attributes:
        species: (N,) int64, index into the model's elements.
        config: (N,) int64, the configuration that an atom belongs to.
        n_atoms: (C,) int64.
        volume: (C,) float64 Å³.
    """

    species: Tensor
    config: Tensor
    n_atoms: Tensor
    volume: Tensor

    # Fields that hold indices, each with the field whose rows it counts.
    indices: ClassVar[Mapping[str, str]] = MappingProxyType({"config": "n_atoms"})
    # Index fields that are stored as int32 and needed as int64.
    long_indices: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def cost(self) -> float:
        """Measured cost of a training step with it, by which ranks share work; 1 is one pair of atoms with SNAP."""

    def rotated(self, matrices: Tensor) -> Batch:
        """Return the batch with each configuration rotated by its matrix (C, 3, 3).

        Raises:
            NotImplementedError: the model input holds nothing that rotates.
        """
        raise NotImplementedError(f"{type(self).__name__} is rotationally invariant")


B = TypeVar("B", bound=Batch)
NO_FIELDS = frozenset({"indices", "long_indices"})  # class variables, which dataclasses list among the fields


def atom_fields(configuration: Configuration, elements: Sequence[str]) -> dict[str, Tensor]:
    """Return the fields of `Batch` for one configuration."""
    return {
        "species": torch.from_numpy(configuration.element_indices(elements)),
        "config": torch.zeros(len(configuration), dtype=torch.int64),
        "n_atoms": torch.tensor([len(configuration)]),
        "volume": torch.tensor([configuration.volume or 1.0], dtype=torch.float64),
    }


def join_batches(batches: Sequence[B], dtype: torch.dtype | None = None, device: torch.device | None = None) -> B:
    """Return one batch of several; indices count on from each to the next.

    Batches of single configurations are views of memory-mapped files, in the types of the files. They are converted
    here, so that only the batch itself takes memory.

    Args:
        dtype: of floating-point fields, but for ``volume``, which stays float64; as stored if ``None``.
    """
    return join_groups([batches], dtype, device)[0]


def join_groups(
    groups: Sequence[Sequence[B]], dtype: torch.dtype | None = None, device: torch.device | None = None
) -> list[B]:
    """Return a batch for each group of batches; the batches' tensors are views of the same memory.

    Small batches are joined many at a time and then split: a call costs more than the copying that it does.
    """
    batches = [batch for group in groups for batch in group]
    sizes = [len(group) for group in groups]
    kind = type(batches[0])
    columns = {}
    # dataclasses.fields() would take as long as joining one of them.
    for name in kind.__dataclass_fields__:
        if name in NO_FIELDS:
            continue
        parts: list[Tensor] = [getattr(batch, name) for batch in batches]
        joined = torch.cat(parts)
        if counted := kind.indices.get(name):
            joined = joined.long() if name in kind.long_indices else joined
            if len(parts) > 1:
                rows = [getattr(batch, counted).shape[0] for batch in batches]
                starts = torch.tensor(_starts(rows, sizes), dtype=joined.dtype)
                joined += starts.repeat_interleave(torch.tensor([part.shape[0] for part in parts]))
        elif dtype is not None and joined.is_floating_point() and name != "volume":
            joined = joined.to(dtype)
        columns[name] = split_groups(parts, sizes, joined.to(device))
    return [kind(**dict(zip(columns, parts, strict=True))) for parts in zip(*columns.values(), strict=True)]


def split_groups(parts: Sequence[Tensor], sizes: Sequence[int], joined: Tensor) -> Sequence[Tensor]:
    """Return the rows of each group of joined parts; ``sizes`` are the numbers of parts in the groups."""
    if len(sizes) == 1:
        return [joined]
    rows = iter([part.shape[0] for part in parts])
    return torch.split(joined, [sum(islice(rows, size)) for size in sizes])


def _starts(rows: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """Return the number of rows of its group before each part."""
    ends = list(accumulate(sizes))
    return [start for a, b in zip([0, *ends], ends, strict=False) for start in accumulate(rows[a : b - 1], initial=0)]

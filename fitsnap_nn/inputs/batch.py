"""Batches: the atoms of several configurations as tensors. Each model input adds what its models need of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
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
    kind = type(batches[0])
    return kind(**{field.name: _joined(batches, field.name, dtype).to(device) for field in fields(kind)})


def _joined(batches: Sequence[Batch], field: str, dtype: torch.dtype | None) -> Tensor:
    kind = type(batches[0])
    parts: list[Tensor] = [getattr(batch, field) for batch in batches]
    counted = kind.indices.get(field)
    if counted is None:
        values = torch.cat(parts)
        return values.to(dtype) if values.is_floating_point() and field != "volume" else values
    starts = accumulate((len(getattr(batch, counted)) for batch in batches), initial=0)
    indices = torch.cat([part + start for part, start in zip(parts, starts, strict=False)])
    return indices.long() if field in kind.long_indices else indices

"""Batches: the atoms of several configurations as tensors. Each model input adds its own fields."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate, islice
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, TypeVar

import torch
from torch import Tensor

from fitsnap_nn.data.configuration import Configuration

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class Batch(ABC):
    """The N atoms of C configurations, concatenated.

    Attributes:
        species: (N,) int64, index into the model's elements.
        config: (N,) int64, index of the configuration of each atom.
        n_atoms: (C,) int64, number of atoms per configuration.
        volume: (C,) float64, Å³; 1 for a configuration without a cell.
    """

    species: Tensor
    config: Tensor
    n_atoms: Tensor
    volume: Tensor

    # Index fields, each with the field that it indexes. join_batches() adds to an index field the number of rows
    # that precede it in the field it indexes.
    indices: ClassVar[Mapping[str, str]] = MappingProxyType({"config": "n_atoms"})
    # Index fields stored as int32 that torch's index operations need as int64.
    long_indices: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def cost(self) -> float:
        """Measured relative cost of a training step, used to balance ranks; 1 = one atom pair with SNAP."""

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Return a copy with a function applied to each tensor."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: function(one) for name, one in values.items() if isinstance(one, Tensor)})

    def to(self, device: torch.device) -> Self:
        """Return a copy on a device; tensors in pinned memory are copied asynchronously."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def one_hot(self, n_elements: int, dtype: torch.dtype) -> Tensor:
        """Return the elements of the atoms as (N, n_elements) of 0 and 1, without waiting for the device."""
        elements = torch.arange(n_elements, device=self.species.device)
        return (self.species[:, None] == elements).to(dtype)

    def sum_by_configuration(self, values: Tensor) -> Tensor:
        """Return the sums (C, ...) of values (N, ...) over the atoms of each configuration."""
        return sum_by(self.config, values, len(self.n_atoms))

    def rotated(self, matrices: Tensor) -> Batch:
        """Return a copy with each configuration rotated.

        Args:
            matrices: (C, 3, 3) rotation matrix per configuration.

        Raises:
            NotImplementedError: the model input is rotationally invariant.
        """
        raise NotImplementedError(f"{type(self).__name__} is rotationally invariant")

    def padded(self) -> Batch:
        """Return a copy whose sizes are rounded up, for models with ``takes_padding``.

        Raises:
            NotImplementedError: no such model has batches of this class.
        """
        raise NotImplementedError(f"{type(self).__name__} is not padded")


B = TypeVar("B", bound=Batch)
# dataclasses lists class variables in __dataclass_fields__.
CLASS_VARIABLES = frozenset({"indices", "long_indices", "differentiated"})


def atom_fields(configuration: Configuration, elements: Sequence[str]) -> dict[str, Tensor]:
    """Return the fields of `Batch` for one configuration.

    Args:
        elements: chemical symbols, in the order of the model.

    Raises:
        DataError: the configuration contains another element.
    """
    return {
        "species": torch.from_numpy(configuration.element_indices(elements)),
        "config": torch.zeros(len(configuration), dtype=torch.int64),
        "n_atoms": torch.tensor([len(configuration)]),
        "volume": torch.tensor([configuration.volume or 1.0], dtype=torch.float64),
    }


def join_batches(batches: Sequence[B], dtype: torch.dtype | None = None, device: torch.device | None = None) -> B:
    """Concatenate batches and offset their index fields.

    Batches of single configurations are views of memory-mapped files, with the dtypes of the files. Conversion happens
    here, so that memory is needed for the joined batch only.

    Args:
        batches: at least one batch, all of the same class.
        dtype: of the floating-point fields; ``None`` keeps the stored one. ``volume`` always stays float64.
        device: of the result; ``None`` for the CPU.
    """
    return join_groups([batches], dtype, device)[0]


def join_groups(
    groups: Sequence[Sequence[B]], dtype: torch.dtype | None = None, device: torch.device | None = None
) -> list[B]:
    """Concatenate each group of batches; the tensors of the results are views of shared memory.

    All groups are concatenated at once and then split, because for small batches the overhead of a torch call exceeds
    the time for copying.

    Args:
        groups: non-empty groups of batches, all of the same class.
        dtype, device: see `join_batches`.

    Returns:
        One batch per group.
    """
    batches = [batch for group in groups for batch in group]
    sizes = [len(group) for group in groups]
    batch_class = type(batches[0])
    columns = {}
    # dataclasses.fields() builds a tuple on every call, which takes as long as joining one field.
    for name in batch_class.__dataclass_fields__:
        if name in CLASS_VARIABLES:
            continue
        parts: list[Tensor] = [getattr(batch, name) for batch in batches]
        joined = torch.cat(parts)
        if indexed_field := batch_class.indices.get(name):
            joined = joined.long() if name in batch_class.long_indices else joined
            if len(parts) > 1:
                rows = [getattr(batch, indexed_field).shape[0] for batch in batches]
                offsets = torch.tensor(_offsets(rows, sizes), dtype=joined.dtype)
                joined += offsets.repeat_interleave(torch.tensor([part.shape[0] for part in parts]))
        elif dtype is not None and joined.is_floating_point() and name != "volume":
            joined = joined.to(dtype)
        columns[name] = split_groups(parts, sizes, joined.to(device))
    return [batch_class(**dict(zip(columns, parts, strict=True))) for parts in zip(*columns.values(), strict=True)]


def split_groups(parts: Sequence[Tensor], sizes: Sequence[int], joined: Tensor) -> Sequence[Tensor]:
    """Split concatenated rows into groups.

    Args:
        parts: tensors that were concatenated.
        sizes: number of parts per group.
        joined: their concatenation.

    Returns:
        One view of ``joined`` per group.
    """
    if len(sizes) == 1:
        return [joined]
    rows = iter([part.shape[0] for part in parts])
    return torch.split(joined, [sum(islice(rows, size)) for size in sizes])


def _offsets(rows: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """Return for each part the number of rows that precede it within its group."""
    ends = list(accumulate(sizes))
    return [start for a, b in zip([0, *ends], ends, strict=False) for start in accumulate(rows[a : b - 1], initial=0)]


def sum_by(index: Tensor, values: Tensor, count: int) -> Tensor:
    """Return sums of the rows with the same index, added in the order of the rows.

    Args:
        index: (M,) index of each row.
        values: (M, ...) rows.
        count: number of sums.

    Returns:
        (count, ...).
    """
    sums = values.new_zeros(count, *values.shape[1:])
    if values.device.type == "cpu":
        return sums.index_add_(0, index, values)
    # On a GPU index_add_ uses atomic additions, whose order varies from run to run, so that a fit would not be
    # reproducible. index_put with accumulate sorts the indices first.
    return sums.index_put((index,), values, accumulate=True)

"""Configurations and their descriptors as tensors, and batches of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, islice
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.voigt import voigt
from fitsnap_nn.descriptors.record import AnyRecord
from fitsnap_nn.models.contract import Batch
from fitsnap_nn.models.evaluation import single_batch
from fitsnap_nn.units import BAR

B = TypeVar("B", bound=Batch)
T = TypeVar("T")

JOINED_BYTES = 2**20  # of samples that are joined at a time; they fit the second cache of a core
KEPT_BYTES = 2**25  # of a set that is evaluated after every epoch

# Fields of a batch that are indices, and a field with a row for each of what they count.
INDICES: Mapping[str, str] = MappingProxyType(
    {
        "config": "n_atoms",
        "pair_i": "species",
        "pair_j": "species",
        "edge_i": "species",
        "edge_j": "species",
        "reverse": "vectors",
    }
)


# Fields of samples with the types of the mapped files; joining gives them those that models compute with.
EDGES = frozenset({"edge_i", "edge_j", "reverse"})
CONVERTED = frozenset({"vectors", "descriptors", "gradients", "strain_gradients"})


class Labels(NamedTuple):
    """Targets of a batch, the reference potential subtracted; what is missing has target 0 and weight 0.

    Attributes:
        energy: (C,) eV, float64.
        forces: (N, 3) eV/Å.
        stress: (C, 6) bar, Voigt order, ASE sign.
        weights: (C, 3) weights of energy, forces and stress in the loss.
        present: (C, 3) bool, whether there is an energy, forces, a stress.
    """

    energy: Tensor
    forces: Tensor
    stress: Tensor
    weights: Tensor
    present: Tensor


class Counts(NamedTuple):
    """How many labels of each kind: energies, force components, stress components."""

    energy: int
    force: int
    stress: int


class Sample(NamedTuple):
    """One configuration, ready to be joined with others."""

    batch: Batch
    labels: Labels
    counts: Counts

    @property
    def dtype(self) -> torch.dtype:
        """What a model computes in; the numbers of the batch may be of another type until they are joined."""
        return self.labels.forces.dtype


def make_sample(configuration: Configuration, record: AnyRecord, elements: Sequence[str], dtype: torch.dtype) -> Sample:
    """Tensors of one configuration; the large ones are views of the record, and get their types in `collate`."""
    batch = single_batch(configuration, record, elements, None)
    labels = _labels(configuration, record, dtype)
    energy, forces, stress = labels.present[0].tolist()
    return Sample(batch, labels, Counts(int(energy), 3 * len(configuration) * forces, 6 * stress))


def _labels(configuration: Configuration, record: AnyRecord, dtype: torch.dtype) -> Labels:
    energy, forces, stress = 0.0, np.zeros((len(configuration), 3)), np.zeros(6)
    if configuration.energy is not None:
        energy = configuration.energy - record.reference_energy
    if configuration.forces is not None:
        forces = configuration.forces - record.reference_forces
    has_stress = configuration.stress is not None and all(configuration.pbc) and record.has_strain
    if configuration.stress is not None and has_stress:
        stress = (voigt(configuration.stress) - record.reference_stress) / BAR
    present = torch.tensor([[configuration.energy is not None, configuration.forces is not None, has_stress]])
    weights = [configuration.energy_weight, configuration.force_weight, configuration.stress_weight]
    return Labels(
        energy=torch.tensor([energy], dtype=torch.float64),
        forces=torch.from_numpy(forces).to(dtype),
        stress=torch.from_numpy(stress[None]).to(dtype),
        weights=torch.tensor([weights], dtype=torch.float64) * present,
        present=present,
    )


def collate(samples: Sequence[Sample], device: torch.device) -> tuple[Batch, Labels]:
    """Join samples into one batch on a device."""
    return _collate_groups([samples], device)[0]


def _collate_groups(groups: Sequence[Sequence[Sample]], device: torch.device) -> list[tuple[Batch, Labels]]:
    columns = zip(*(sample.labels for group in groups for sample in group), strict=True)
    sizes = [len(group) for group in groups]
    labels = zip(*(_split(parts, sizes, torch.cat(parts).to(device)) for parts in columns), strict=True)
    batches = _join_groups([[sample.batch for sample in group] for group in groups], device, groups[0][0].dtype)
    return list(zip(batches, (Labels(*parts) for parts in labels), strict=True))


def join(batches: Sequence[B], device: torch.device | None = None) -> B:
    """One batch of several; the indices of pairs and configurations count through it."""
    return _join_groups([batches], device)[0]


def _join_groups(
    groups: Sequence[Sequence[B]], device: torch.device | None = None, dtype: torch.dtype | None = None
) -> list[B]:
    """A batch for each group of them, whose tensors are views of the same memory."""
    batches = [batch for group in groups for batch in group]
    sizes = [len(group) for group in groups]
    kind = type(batches[0])
    columns = {}
    for name in _names(kind):
        parts = [getattr(batch, name) for batch in batches]
        joined = torch.cat(parts)
        if counted := INDICES.get(name):
            if name in EDGES:
                joined = joined.long()
            if len(parts) > 1:
                rows = [getattr(batch, counted).shape[0] for batch in batches]
                starts = torch.tensor(_starts(rows, sizes), dtype=joined.dtype)
                joined += starts.repeat_interleave(torch.tensor([part.shape[0] for part in parts]))
        elif dtype is not None and name in CONVERTED:
            joined = joined.to(dtype)
        columns[name] = _split(parts, sizes, joined.to(device))
    return [kind(**dict(zip(columns, parts, strict=True))) for parts in zip(*columns.values(), strict=True)]


def _names(kind: type[Batch]) -> tuple[str, ...]:
    # Not by `dataclasses.fields`, which takes as long as joining one of them.
    return tuple(kind.__dataclass_fields__)


def _starts(rows: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """How many rows of its group come before each part; ``sizes`` are the numbers of parts in the groups."""
    ends = list(accumulate(sizes))
    return [start for a, b in zip([0, *ends], ends, strict=False) for start in accumulate(rows[a : b - 1], initial=0)]


def _split(parts: Sequence[Tensor], sizes: Sequence[int], joined: Tensor) -> Sequence[Tensor]:
    """The joined parts of each group."""
    if len(sizes) == 1:
        return [joined]
    rows = iter([part.shape[0] for part in parts])
    return torch.split(joined, [sum(islice(rows, size)) for size in sizes])


class SampleSet:
    """Configurations of one subset. The samples' large arrays are views of memory-mapped files, so that only
    what a batch needs is resident; every rank can therefore hold all of them."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = list(samples)
        self.costs = [sample.batch.cost for sample in self.samples]
        self.sizes = [len(sample.batch.species) for sample in self.samples]
        self._bytes = [_bytes(sample.batch) for sample in self.samples]
        self._kept: list[tuple[Batch, Labels]] = []

    def __len__(self) -> int:
        return len(self.samples)

    def collated(self, groups: Iterable[Sequence[int]], device: torch.device) -> Iterator[tuple[Batch, Labels]]:
        """The batches of several groups of members, one after the other; a group without members has none.

        Small batches are joined many at a time and then split: a call costs more than the copying that it does.
        """
        waiting: list[Sequence[Sample]] = []
        size = 0
        for group in groups:
            if not group:
                continue
            added = sum(self._bytes[member] for member in group)
            if waiting and size + added > JOINED_BYTES:
                yield from _emptied(_collate_groups(waiting, device))
                waiting, size = [], 0
            waiting.append([self.samples[member] for member in group])
            size += added
        if waiting:
            yield from _emptied(_collate_groups(waiting, device))

    def always_collated(self, groups: Iterable[Sequence[int]], device: torch.device) -> Iterable[tuple[Batch, Labels]]:
        """The same of groups that are the same at every call: the batches of a small set are kept for the next."""
        if sum(self._bytes) > KEPT_BYTES:
            return self.collated(groups, device)
        if not self._kept:
            self._kept = list(self.collated(groups, device))
        return self._kept

    def total(self, members: Sequence[int]) -> Counts:
        """Labels of several configurations together."""
        columns = zip(*(self.samples[member].counts for member in members), strict=True)
        return Counts(*(sum(column) for column in columns))


def _bytes(batch: Batch) -> int:
    return sum(getattr(batch, name).nbytes for name in _names(type(batch)))


def _emptied(batches: list[T]) -> Iterator[T]:
    """The items of a list, which then holds them no longer: large batches must not outlive their step."""
    batches.reverse()
    while batches:
        yield batches.pop()


class Batches:
    """Which configurations make up the batches of an epoch: a function of seed and epoch, so a resumed fit has them.

    Batches of a number of configurations are put together anew in each epoch. Batches of a number of atoms are packed
    once, so that every epoch has as many, and come in another order in each.

    Args:
        sizes: atoms of each configuration.
        batch_size: configurations in a batch, the last one perhaps having fewer.
        bounds: least and most atoms in a batch, instead of ``batch_size``. A configuration of more is a batch of its
            own; what is left in the end and is less is added to the batch before.
    """

    def __init__(
        self, sizes: Sequence[int], batch_size: int, bounds: tuple[int, int] | None, *, seed: int, shuffle: bool
    ) -> None:
        self._count = len(sizes)
        self._batch_size = batch_size
        self._seed = seed
        self._shuffle = shuffle
        self._packed = None if bounds is None else _packed(self._order(self._count, 0), sizes, *bounds)

    def __len__(self) -> int:
        return math.ceil(self._count / self._batch_size) if self._packed is None else len(self._packed)

    def of_epoch(self, epoch: int) -> Iterator[Sequence[int]]:
        """The batches of an epoch, from 0."""
        if self._packed is not None:
            for number in self._order(len(self._packed), epoch + 1):
                yield self._packed[number]
            return
        order = self._order(self._count, epoch)
        for start in range(0, self._count, self._batch_size):
            yield order[start : start + self._batch_size]

    def _order(self, count: int, epoch: int) -> list[int]:
        if not self._shuffle:
            return list(range(count))
        return [int(item) for item in np.random.default_rng([self._seed, epoch]).permutation(count)]


def _packed(order: Sequence[int], sizes: Sequence[int], least: int, most: int) -> list[list[int]]:
    """Configurations in this order, as many in a batch as have no more than ``most`` atoms together."""
    batches: list[list[int]] = []
    atoms = most
    for member in order:
        if atoms + sizes[member] > most:
            batches.append([])
            atoms = 0
        batches[-1].append(member)
        atoms += sizes[member]
    if len(batches) > 1 and atoms < least:
        last = batches.pop()
        batches[-1] += last
    return batches

"""Samples, their labels as tensors, and which of them make up the batches of an epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import Property
from fitsnap_nn.inputs.base import CachedInput
from fitsnap_nn.inputs.batch import Batch, join_groups, split_groups

T = TypeVar("T")


JOINED_BYTES = 2**20  # of samples joined at a time; they fit the second-level cache of a core
KEPT_BYTES = 2**25  # largest set whose batches are kept from one evaluation to the next


class Target(NamedTuple):
    """Labels of one property in a batch, the reference potential subtracted.

    There is a row for each configuration or each atom.

    Attributes:
        values: (rows, components), in the property's loss unit (an extensive property not yet divided by the number of
            atoms). Total energies are float64. 0 where there is no label.
        weights: (rows, 1), in the type of the values; 0 where there is no label.
        present: (rows, 1) bool, whether there is a label.
    """

    values: Tensor
    weights: Tensor
    present: Tensor


# By property name, for all properties of the fit.
Labels = Mapping[str, Target]


class Sample(NamedTuple):
    """One configuration, ready to be joined with others.

    Attributes:
        counts: label components by property name.
    """

    batch: Batch
    labels: Labels
    counts: Mapping[str, int]


def make_sample(
    configuration: Configuration,
    cached: CachedInput,
    batch: Batch,
    properties: Sequence[Property],
    dtype: torch.dtype,
) -> Sample:
    """Return the tensors of one configuration.

    Args:
        batch: of the configuration alone; its large arrays are views of memory-mapped files.
        properties: of the fit.
        dtype: of the labels, but for energies.
    """
    labels, counts = {}, {}
    for one in properties:
        labels[one.name] = _target(one, configuration, cached, dtype)
        counts[one.name] = one.count(len(configuration)) if bool(labels[one.name].present[0]) else 0
    return Sample(batch, labels, counts)


def _target(quantity: Property, configuration: Configuration, cached: CachedInput, dtype: torch.dtype) -> Target:
    label = configuration.labels.get(quantity.name)
    strained = quantity.derivative == "strain"
    if strained and not (all(configuration.pbc) and cached.has_strain):
        label = None
    if label is None:
        count = len(configuration) if quantity.per == "atom" else 1
        values = np.zeros((count, quantity.symmetry.components))
    else:
        reference: dict[str, ArrayLike] = {
            "energy": cached.reference_energy,
            "forces": cached.reference_forces,
            "stress": cached.reference_stress,
        }
        values = quantity.rows(label)
        if quantity.name in reference:
            values = values - quantity.rows(reference[quantity.name])
        if quantity.loss_unit.size != 1.0:
            values = values / quantity.loss_unit.size
    # Total energies need float64: a label minus a prediction is a small difference of large numbers.
    kind = torch.float64 if quantity.per_atom else dtype
    weight = configuration.weight(quantity.name) if label is not None else 0.0
    rows = (len(values), 1)
    present = torch.full(rows, label is not None)
    return Target(torch.from_numpy(values).to(kind), torch.full(rows, weight, dtype=torch.float64).to(kind), present)


def collate(samples: Sequence[Sample], dtype: torch.dtype, device: torch.device) -> tuple[Batch, Labels]:
    """Return samples joined into one batch on a device, its inputs in ``dtype``."""
    return _collate_groups([samples], dtype, device)[0]


def _collate_groups(
    groups: Sequence[Sequence[Sample]], dtype: torch.dtype, device: torch.device
) -> list[tuple[Batch, Labels]]:
    samples = [sample for group in groups for sample in group]
    sizes = [len(group) for group in groups]
    labels: list[dict[str, Target]] = [{} for _ in groups]
    for name in samples[0].labels:
        columns = zip(*(sample.labels[name] for sample in samples), strict=True)
        joined = (split_groups(parts, sizes, torch.cat(parts).to(device)) for parts in columns)
        for found, target in zip(labels, zip(*joined, strict=True), strict=True):
            found[name] = Target(*target)
    batches = join_groups([[sample.batch for sample in group] for group in groups], dtype, device)
    return list(zip(batches, labels, strict=True))


class SampleSet:
    """Samples of one subset. Their large arrays are views of memory-mapped files, so that only what a batch needs is
    resident; every rank can therefore hold all of them.

    Args:
        dtype: of the inputs of a batch.
    """

    def __init__(self, samples: Sequence[Sample], dtype: torch.dtype) -> None:
        self.samples = list(samples)
        self.costs = [sample.batch.cost for sample in self.samples]
        self.sizes = [len(sample.batch.species) for sample in self.samples]
        self._dtype = dtype
        self._bytes = [_bytes(sample.batch) for sample in self.samples]
        self._kept: list[tuple[Batch, Labels]] = []

    def __len__(self) -> int:
        return len(self.samples)

    def collated(self, groups: Iterable[Sequence[int]], device: torch.device) -> Iterator[tuple[Batch, Labels]]:
        """Yield the batches of groups of members; a group without members has none."""
        waiting: list[Sequence[Sample]] = []
        size = 0
        for group in groups:
            if not group:
                continue
            added = sum(self._bytes[member] for member in group)
            if waiting and size + added > JOINED_BYTES:
                yield from _emptied(_collate_groups(waiting, self._dtype, device))
                waiting, size = [], 0
            waiting.append([self.samples[member] for member in group])
            size += added
        if waiting:
            yield from _emptied(_collate_groups(waiting, self._dtype, device))

    def always_collated(self, groups: Iterable[Sequence[int]], device: torch.device) -> Iterable[tuple[Batch, Labels]]:
        """Return the batches of groups that are the same at every call; those of a small set are kept."""
        if sum(self._bytes) > KEPT_BYTES:
            return self.collated(groups, device)
        if not self._kept:
            self._kept = list(self.collated(groups, device))
        return self._kept

    def total(self, members: Sequence[int]) -> dict[str, int]:
        """Return the label components of several configurations together, by property name."""
        names = self.samples[members[0]].counts if members else {}
        return {name: sum(self.samples[member].counts[name] for member in members) for name in names}


def _bytes(batch: Batch) -> int:
    return sum(getattr(batch, field.name).nbytes for field in fields(batch))


def _emptied(batches: list[T]) -> Iterator[T]:
    """Yield the items of a list and remove them from it: a large batch must not outlive its step."""
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

"""Samples, their labels as tensors, and which of them make up the batches of an epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import Property
from fitsnap_nn.inputs.base import CachedInput
from fitsnap_nn.inputs.batch import Batch, join_batches


class Target(NamedTuple):
    """Labels of one property in a batch, the reference potential subtracted.

    Attributes:
        values: (rows, components), a row for each configuration or atom, in the property's loss unit (an extensive
            property not yet divided by the number of atoms). Energies are float64. 0 where there is no label.
        weights: (C, 1) float64, 0 where there is no label.
        present: (C,) bool, whether a configuration has the label.
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
        counts[one.name] = one.count(len(configuration)) if bool(labels[one.name].present) else 0
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
    return Target(
        torch.from_numpy(values).to(kind),
        torch.tensor([[weight]], dtype=torch.float64),
        torch.tensor([label is not None]),
    )


def collate(samples: Sequence[Sample], dtype: torch.dtype, device: torch.device) -> tuple[Batch, Labels]:
    """Return samples joined into one batch on a device, its inputs in ``dtype``."""
    labels = {}
    for name in samples[0].labels:
        parts = zip(*(sample.labels[name] for sample in samples), strict=True)
        labels[name] = Target(*(torch.cat(part).to(device) for part in parts))
    return join_batches([sample.batch for sample in samples], dtype, device), labels


class SampleSet:
    """Samples of one subset. Their large arrays are views of memory-mapped files, so that only what a batch needs is
    resident; every rank can therefore hold all of them."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = list(samples)
        self.costs = [sample.batch.cost for sample in self.samples]
        self.sizes = [len(sample.batch.species) for sample in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def total(self, members: Sequence[int]) -> dict[str, int]:
        """Return the label components of several configurations together, by property name."""
        names = self.samples[members[0]].counts if members else {}
        return {name: sum(self.samples[member].counts[name] for member in members) for name in names}


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

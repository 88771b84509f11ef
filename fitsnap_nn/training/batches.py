"""Configurations and their descriptors as tensors, and batches of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import accumulate
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.voigt import voigt
from fitsnap_nn.inputs.cached import CachedInput
from fitsnap_nn.models.base import Batch
from fitsnap_nn.models.evaluation import single_batch
from fitsnap_nn.units import BAR

B = TypeVar("B", bound=Batch)

# Fields of a batch that are indices, and a field with a row for each of what they count.
INDICES: Mapping[str, str] = MappingProxyType(
    {
        "config": "n_atoms",
        "pair_i": "species",
        "pair_j": "species",
        "edge_i": "species",
        "edge_j": "species",
        "reverse_edge_index": "vectors",
    }
)


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


def make_sample(
    configuration: Configuration, record: CachedInput, elements: Sequence[str], dtype: torch.dtype
) -> Sample:
    """Tensors of one configuration; descriptors and gradients are views of the record where the type allows."""
    batch = single_batch(configuration, record, elements, dtype)
    labels = _labels(configuration, record, dtype)
    energy, forces, stress = labels.present[0].tolist()
    return Sample(batch, labels, Counts(int(energy), 3 * len(configuration) * forces, 6 * stress))


def _labels(configuration: Configuration, record: CachedInput, dtype: torch.dtype) -> Labels:
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
    labels = Labels(*(torch.cat(parts).to(device) for parts in zip(*(s.labels for s in samples), strict=True)))
    return join_batches([sample.batch for sample in samples], device), labels


def join_batches(batches: Sequence[B], device: torch.device | None = None) -> B:
    """One batch of several; the indices of pairs and configurations count through it."""
    return type(batches[0])(**{field.name: _joined(batches, field.name).to(device) for field in fields(batches[0])})


def _joined(batches: Sequence[Batch], field: str) -> Tensor:
    """One field of all batches; indices count on from batch to batch."""
    parts = [getattr(batch, field) for batch in batches]
    counted = INDICES.get(field)
    if counted is None:
        return torch.cat(parts)
    starts = accumulate((len(getattr(batch, counted)) for batch in batches), initial=0)
    return torch.cat([part + start for part, start in zip(parts, starts, strict=False)])


class SampleSet:
    """Configurations of one subset. The samples' large arrays are views of memory-mapped files, so that only
    what a batch needs is resident; every rank can therefore hold all of them."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = list(samples)
        self.costs = [sample.batch.cost for sample in self.samples]
        self.sizes = [len(sample.batch.species) for sample in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def total(self, members: Sequence[int]) -> Counts:
        """Labels of several configurations together."""
        columns = zip(*(self.samples[member].counts for member in members), strict=True)
        return Counts(*(sum(column) for column in columns))


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

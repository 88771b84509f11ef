"""Samples, their labels as tensors, and the partition of the training set into batches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import Property
from fitsnap_nn.inputs.base import CachedInput
from fitsnap_nn.inputs.batch import Batch, join_groups, split_groups
from fitsnap_nn.inputs.reference import reference_values

T = TypeVar("T")


JOINED_BYTES = 2**20  # samples collated at a time; fits the L2 cache of a core
KEPT_BYTES = 2**25  # maximum size of a set whose batches are kept between evaluations


class Target(NamedTuple):
    """Labels of one property in a batch, reference potential subtracted; one row per configuration or atom.

    Attributes:
        values: (rows, components) in the property's loss unit, total energies as float64 and not divided by the number
            of atoms; 0 for missing labels.
        weights: (rows, 1) in the type of the values; 0 for missing labels.
        present: (rows, 1) bool; false for missing labels.
    """

    values: Tensor
    weights: Tensor
    present: Tensor


# By property name, for all properties of the fit.
Labels = Mapping[str, Target]


class Sample(NamedTuple):
    """Batch and labels of a single configuration.

    Attributes:
        batch: of the configuration.
        labels: by property name.
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
    """Return the sample of one configuration.

    Args:
        configuration: the configuration with its labels.
        cached: its cached input, from which the reference potential's values are taken.
        batch: the batch of this configuration; its large arrays are views of memory-mapped files.
        properties: properties of the fit.
        dtype: type of the labels, except total energies.
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
        reference = reference_values(cached)
        values = quantity.rows(label)
        if quantity.name in reference:
            values = values - quantity.rows(reference[quantity.name])
        if quantity.loss_unit.size != 1.0:
            values = values / quantity.loss_unit.size
    # Total energies need float64: a label minus a prediction is a small difference of large numbers.
    label_dtype = torch.float64 if quantity.per_atom else dtype
    weight = configuration.weight(quantity.name) if label is not None else 0.0
    rows = (len(values), 1)
    present = torch.full(rows, label is not None)
    weights = torch.full(rows, weight, dtype=torch.float64).to(label_dtype)
    return Target(torch.from_numpy(values).to(label_dtype), weights, present)


def collate(samples: Sequence[Sample], dtype: torch.dtype, device: torch.device) -> tuple[Batch, Labels]:
    """Collate samples into one batch.

    Args:
        samples: at least one sample.
        dtype: type of the inputs.
        device: device of the batch.

    Returns:
        The batch and its labels by property name.
    """
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
    """Samples of one set.

    Their large arrays are views of memory-mapped files, whose pages are loaded when a batch needs them. Every rank can
    therefore hold all samples.

    Args:
        samples: the samples.
        dtype: type of the inputs of a batch.

    Attributes:
        costs: estimated cost of each sample.
        sizes: number of atoms of each sample.
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
        """Collate groups of samples, several small groups at a time.

        Args:
            groups: indices of the samples of each group.
            device: device of the batches.

        Yields:
            Batch and labels of each non-empty group.
        """
        # Small groups share one concatenation and one transfer per array, then are split into views.
        waiting: list[Sequence[Sample]] = []
        size = 0
        for group in groups:
            if not group:
                continue
            added = sum(self._bytes[member] for member in group)
            if waiting and size + added > JOINED_BYTES:
                yield from _consume(_collate_groups(waiting, self._dtype, device))
                waiting, size = [], 0
            waiting.append([self.samples[member] for member in group])
            size += added
        if waiting:
            yield from _consume(_collate_groups(waiting, self._dtype, device))

    def collated_once(self, groups: Iterable[Sequence[int]], device: torch.device) -> Iterable[tuple[Batch, Labels]]:
        """Collate groups that are the same in every call; the batches of a small set are computed once and kept.

        Args:
            groups: indices of the samples of each group.
            device: device of the batches.

        Returns:
            Batch and labels of each non-empty group.
        """
        if sum(self._bytes) > KEPT_BYTES:
            return self.collated(groups, device)
        if not self._kept:
            self._kept = list(self.collated(groups, device))
        return self._kept

    def forget_kept(self) -> None:
        """Free the batches that `collated_once` has kept, so that the next call can have other groups."""
        self._kept = []

    def with_weights(self, weights: Sequence[Mapping[str, float]]) -> SampleSet:
        """Return the same samples with other weights.

        Args:
            weights: weight of each property of each sample by name; those that are not listed do not change.
        """
        samples = []
        for sample, own in zip(self.samples, weights, strict=True):
            targets = {name: sample.labels[name] for name in own if name in sample.labels}
            changed = {
                name: one._replace(weights=one.present.to(one.weights.dtype) * own[name])
                for name, one in targets.items()
            }
            samples.append(sample._replace(labels={**sample.labels, **changed}))
        return SampleSet(samples, self._dtype)

    def total(self, members: Sequence[int]) -> dict[str, int]:
        """Return the total number of label components by property name.

        Args:
            members: indices of samples.
        """
        names = self.samples[members[0]].counts if members else {}
        return {name: sum(self.samples[member].counts[name] for member in members) for name in names}


def _bytes(batch: Batch) -> int:
    return sum(getattr(batch, field.name).nbytes for field in fields(batch))


def _consume(batches: list[T]) -> Iterator[T]:
    """Yield the items of a list and remove each from it, so that a large batch is freed after its step."""
    batches.reverse()
    while batches:
        yield batches.pop()


class Batches:
    """Partition of the training set into batches, as a function of seed and epoch: a resumed fit gets the same batches.

    Batches of a fixed number of configurations are drawn anew in each epoch. Batches limited by their number of atoms
    are composed once, so that all epochs have the same number of steps; their order changes with each epoch.

    Args:
        sizes: number of atoms of each configuration.
        batch_size: configurations per batch; the last batch may have fewer.
        bounds: minimum and maximum number of atoms per batch, instead of ``batch_size``. A configuration above the
            maximum is a batch of its own. A last batch below the minimum is merged into the one before. Without a
            maximum, a batch takes configurations until it has the minimum.
        seed: seed of the order.
        shuffle: whether to shuffle; otherwise batches are in the order of the configurations.
    """

    def __init__(
        self, sizes: Sequence[int], batch_size: int, bounds: tuple[int, int | None] | None, *, seed: int, shuffle: bool
    ) -> None:
        self._count = len(sizes)
        self._batch_size = batch_size
        self._seed = seed
        self._shuffle = shuffle
        self._fixed_batches = None if bounds is None else _limited_by_atoms(self._order(self._count, 0), sizes, *bounds)

    def __len__(self) -> int:
        return math.ceil(self._count / self._batch_size) if self._fixed_batches is None else len(self._fixed_batches)

    def of_epoch(self, epoch: int) -> Iterator[Sequence[int]]:
        """Yield the batches of an epoch, as indices of configurations.

        Args:
            epoch: epoch, from 0.
        """
        if self._fixed_batches is not None:
            for number in self._order(len(self._fixed_batches), epoch + 1):
                yield self._fixed_batches[number]
            return
        order = self._order(self._count, epoch)
        for start in range(0, self._count, self._batch_size):
            yield order[start : start + self._batch_size]

    def _order(self, count: int, epoch: int) -> list[int]:
        if not self._shuffle:
            return list(range(count))
        return [int(item) for item in np.random.default_rng([self._seed, epoch]).permutation(count)]


def _limited_by_atoms(
    order: Sequence[int], sizes: Sequence[int], min_atoms: int, max_atoms: int | None
) -> list[list[int]]:
    """Return consecutive configurations in batches of limited numbers of atoms; see `Batches`."""
    batches: list[list[int]] = []
    atoms = 0
    for member in order:
        full = atoms >= min_atoms if max_atoms is None else atoms + sizes[member] > max_atoms
        if full or not batches:
            batches.append([])
            atoms = 0
        batches[-1].append(member)
        atoms += sizes[member]
    if len(batches) > 1 and atoms < min_atoms:
        last = batches.pop()
        batches[-1] += last
    return batches

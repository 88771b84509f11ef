"""Configurations and their descriptors as tensors, and batches of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.voigt import voigt
from fitsnap_nn.descriptors.record import Record
from fitsnap_nn.models.contract import Batch
from fitsnap_nn.models.evaluation import single_batch
from fitsnap_nn.units import BAR


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


def make_sample(configuration: Configuration, record: Record, elements: Sequence[str], dtype: torch.dtype) -> Sample:
    """Tensors of one configuration; descriptors and gradients are views of the record where the type allows."""
    batch = single_batch(configuration, record, elements, dtype)
    labels = _labels(configuration, record, dtype)
    energy, forces, stress = labels.present[0].tolist()
    return Sample(batch, labels, Counts(int(energy), 3 * len(configuration) * forces, 6 * stress))


def _labels(configuration: Configuration, record: Record, dtype: torch.dtype) -> Labels:
    energy, forces, stress = 0.0, np.zeros((len(configuration), 3)), np.zeros(6)
    if configuration.energy is not None:
        energy = configuration.energy - record.reference_energy
    if configuration.forces is not None:
        forces = configuration.forces - record.reference_forces
    has_stress = configuration.stress is not None and all(configuration.pbc) and len(record.strain_gradients) > 0
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
    """Join samples into one batch on a device; the indices of pairs and configurations count through the batch."""
    batches = [sample.batch for sample in samples]
    sizes = [len(batch.species) for batch in batches]
    starts = list(accumulate(sizes, initial=0))
    joined = {
        field: torch.cat([getattr(batch, field) for batch in batches])
        for field in ("species", "n_atoms", "volume", "descriptors", "gradients", "strain_gradients")
    }
    joined["config"] = torch.repeat_interleave(torch.tensor(sizes), output_size=starts[-1])
    joined["pair_i"] = torch.cat([batch.pair_i + start for batch, start in zip(batches, starts, strict=False)])
    joined["pair_j"] = torch.cat([batch.pair_j + start for batch, start in zip(batches, starts, strict=False)])
    batch = Batch(**joined)
    labels = Labels(*map(torch.cat, zip(*(sample.labels for sample in samples), strict=True)))
    if device.type == "cpu":
        return batch, labels
    return Batch(*(tensor.to(device) for tensor in batch)), Labels(*(tensor.to(device) for tensor in labels))


class SampleSet:
    """Configurations of one subset. The samples' large arrays are views of memory-mapped files, so that only
    what a batch needs is resident; every rank can therefore hold all of them."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = list(samples)
        # Nearly all the time goes into pairs; a configuration itself costs as much as 300 of them (measured).
        self.costs = [float(len(s.batch.pair_i) + 300) for s in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def total(self, members: Sequence[int]) -> Counts:
        """Labels of several configurations together."""
        columns = zip(*(self.samples[member].counts for member in members), strict=True)
        return Counts(*(sum(column) for column in columns))


def epoch_order(count: int, seed: int, epoch: int, shuffle: bool) -> list[int]:
    """The order of the configurations in an epoch: a function of seed and epoch alone, so a resumed fit has it too."""
    if not shuffle:
        return list(range(count))
    return [int(item) for item in np.random.default_rng([seed, epoch]).permutation(count)]


def split_batches(order: Sequence[int], batch_size: int) -> Iterator[Sequence[int]]:
    """Consecutive runs of ``batch_size``, the last one perhaps shorter."""
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]

"""Batches of per-atom descriptors and their derivatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.inputs.base import CachedInput
from fitsnap_nn.inputs.batch import Batch, atom_fields

FIELDS = ("descriptors", "pair_i", "pair_j", "gradients", "strain_gradients")


@dataclass(frozen=True)
class DescriptorBatch(Batch):
    """Atoms with D descriptors each, and descriptor derivatives for P atom pairs.

    Attributes:
        descriptors: (N, D) descriptors B_i.
        pair_i, pair_j: (P,) int32 or int64, indices into the atoms of the batch.
        gradients: (P, 3, D) dB_i/dR_j, 1/Å.
        strain_gradients: (N, 6, D) dB_i/d(strain), Voigt order; (0, 6, D) if no stress is requested.
    """

    descriptors: Tensor
    pair_i: Tensor
    pair_j: Tensor
    gradients: Tensor
    strain_gradients: Tensor

    indices: ClassVar[Mapping[str, str]] = MappingProxyType({**Batch.indices, "pair_i": "species", "pair_j": "species"})

    @property
    def cost(self) -> float:
        # Measured: the overhead per configuration equals the time for 300 pairs.
        return len(self.pair_i) + 300.0 * len(self.n_atoms)


def descriptor_batch(configuration: Configuration, elements: Sequence[str], cached: CachedInput) -> DescriptorBatch:
    """Return the batch of one configuration, whose tensors are views of the cached arrays.

    Args:
        configuration: the configuration.
        elements: chemical symbols, in the order of the LAMMPS atom types.
        cached: its `CachedDescriptors`.
    """
    arrays = {name: torch.from_numpy(getattr(cached, name)) for name in FIELDS}
    return DescriptorBatch(**atom_fields(configuration, elements), **arrays)

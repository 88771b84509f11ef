"""Batches of per-atom descriptors and their derivatives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from torch import Tensor

from fitsnap_nn.inputs.batch import Batch


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

"""Descriptors for linear models: gradients are summed over the atoms of each element.

A linear model has the same coefficients for all atoms of an element, so that its forces need only the sums of dB_i/dR_j
over the atoms i of each element. These take less memory than the gradients of all pairs, by the number of neighbours.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.properties import Derivatives
from fitsnap_nn.inputs.base import DOUBLE, Arrays, CachedInput, Compute, DescriptorInput, DType
from fitsnap_nn.inputs.batch import Batch, atom_fields
from fitsnap_nn.inputs.reference import pack_reference, unpack_reference
from fitsnap_nn.inputs.snap.cached import CachedDescriptors
from fitsnap_nn.settings.schema import Reference

Mask = NDArray[np.bool_]


class CachedRows(NamedTuple):
    """Descriptors and summed derivatives of one configuration of N atoms, D descriptors and E elements.

    Without requested forces there are no force rows, without requested stress no strain rows; their first dimension
    is 0.

    Attributes:
        descriptors: (N, D) descriptors B_i.
        force_rows: (N, 3, E, D) -sum_i dB_i/dR_j over the atoms i of each element, 1/Å.
        strain_rows: (1, 6, E, D) sum_i dB_i/d(strain) likewise, with the conventions of `CachedDescriptors`.
        reference_energy, reference_forces, reference_stress: see `CachedDescriptors`.
    """

    descriptors: Floats
    force_rows: Floats
    strain_rows: Floats
    reference_energy: float
    reference_forces: Floats
    reference_stress: Floats

    @property
    def has_strain(self) -> bool:
        return len(self.strain_rows) > 0

    def arrays(self) -> Arrays:
        return [pack_reference(self), self.descriptors, self.force_rows, self.strain_rows]

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> CachedRows:
        reference, descriptors, force_rows, strain_rows = arrays
        return cls(descriptors, force_rows, strain_rows, *unpack_reference(reference))

    @classmethod
    def dtypes(cls, dtype: DType) -> list[DType]:
        # Coefficients of linear models alternate in sign and cancel: they need float64.
        return [DOUBLE] * 4


@dataclass(frozen=True)
class RowsBatch(Batch):
    """Atoms with D descriptors each, and their derivatives summed by element.

    Attributes:
        descriptors: (N, D) descriptors B_i.
        force_rows: (N, 3, E, D), or (0, 3, E, D) if no forces are requested, see `CachedRows`.
        strain_rows: (C, 6, E, D), or (0, 6, E, D) if no stress is requested.
    """

    descriptors: Tensor
    force_rows: Tensor
    strain_rows: Tensor

    @property
    def cost(self) -> float:
        return float(self.force_rows.numel())


class RowsInput(DescriptorInput):
    """Descriptors for linear models. A subclass has the input with the gradients of pairs as its second base class."""

    cached: ClassVar[type[CachedInput]] = CachedRows

    @property
    @abstractmethod
    def has_constants(self) -> bool:
        """Whether the model has a constant energy for each element."""

    @property
    def has_coefficient(self) -> Mask:
        """(E, D) which descriptors an element has a coefficient for; all of them here."""
        return np.ones((len(self.elements), self.size), dtype=bool)

    def cache_key(self, derivatives: Derivatives) -> dict[str, Any]:
        return {**super().cache_key(derivatives), "summed": "by element"}  # type: ignore[safe-super]

    def open(self, reference: Reference, folder: Path, derivatives: Derivatives) -> RowsCompute:
        descriptors = super().open(reference, folder, derivatives)  # type: ignore[safe-super]
        return RowsCompute(descriptors, self.elements, forces=derivatives.positions)

    def to_batch(self, configuration: Configuration, cached: CachedInput) -> RowsBatch:
        names = ("descriptors", "force_rows", "strain_rows")
        arrays = {name: torch.from_numpy(getattr(cached, name)) for name in names}
        return RowsBatch(**atom_fields(configuration, self.elements), **arrays)


class RowsCompute(AbstractContextManager["RowsCompute"]):
    """Computes cached rows from the descriptors of another computation.

    Args:
        descriptors: computes descriptors and the gradients of pairs.
        elements: chemical symbols, in the order of the LAMMPS atom types.
        forces: whether force rows are requested.
    """

    def __init__(
        self, descriptors: AbstractContextManager[Compute], elements: tuple[str, ...], *, forces: bool
    ) -> None:
        self._context = descriptors
        self._descriptors = descriptors.__enter__()
        self._elements = elements
        self._forces = forces

    def __exit__(self, *error: Any) -> None:
        """Close the LAMMPS instances; the next configuration opens new ones."""
        self._context.__exit__(*error)

    def compute(self, configuration: Configuration) -> CachedRows:
        """Return the rows of one configuration; for its exceptions see that of the descriptors."""
        return next(self.compute_all([configuration]))

    def compute_all(self, configurations: Iterable[Configuration]) -> Iterator[CachedRows]:
        """Yield the rows of each configuration, in order; for its exceptions see that of the descriptors."""
        listed = list(configurations)
        for configuration, found in zip(listed, self._descriptors.compute_all(listed), strict=True):
            species = configuration.element_indices(self._elements)
            yield self._rows(species, cast(CachedDescriptors, found))

    def _rows(self, species: NDArray[np.int64], found: CachedDescriptors) -> CachedRows:
        count, (atoms, size) = len(self._elements), found.descriptors.shape
        force_rows, strain_rows = np.zeros((0, 3, count, size)), np.zeros((0, 6, count, size))
        if self._forces:
            summed = _summed(found.gradients, found.pair_j * count + species[found.pair_i], atoms * count)
            force_rows = np.ascontiguousarray(-summed.reshape(atoms, count, 3, size).transpose(0, 2, 1, 3))
        if found.has_strain:
            summed = _summed(found.strain_gradients, species, count)
            strain_rows = np.ascontiguousarray(summed.transpose(1, 0, 2)[None])
        reference = found.reference_energy, found.reference_forces, found.reference_stress
        return CachedRows(found.descriptors.astype(DOUBLE, copy=False), force_rows, strain_rows, *reference)


def _summed(values: NDArray[Any], index: NDArray[np.integer[Any]], count: int) -> Floats:
    """Return the sums (count, ...) of the rows with the same index, as a sparse matrix product."""
    places = (index, np.arange(len(index)))
    summation = csr_array((np.ones(len(index)), places), shape=(count, len(index)))
    sums: Floats = (summation @ values.reshape(len(values), math.prod(values.shape[1:]))).reshape(
        count, *values.shape[1:]
    )
    return sums

"""Interface of a model input: the arrays a model reads per configuration, computed once and cached on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from typing_extensions import Self

    from fitsnap_nn.data.configuration import Configuration
    from fitsnap_nn.data.properties import Derivatives
    from fitsnap_nn.inputs.batch import Batch
    from fitsnap_nn.settings.schema import Reference, Settings

DType = np.dtype[Any]
Arrays = Sequence[NDArray[Any]]

DOUBLE, INTEGER = np.dtype(np.float64), np.dtype(np.int32)


class CachedInput(Protocol):
    """Cached input of one configuration: the arrays of a batch, and the results of the reference potential."""

    @property
    def reference_energy(self) -> float:
        """Energy of the reference potential, eV."""

    @property
    def reference_forces(self) -> NDArray[np.float64]:
        """(N, 3) forces of the reference potential, eV/Å."""

    @property
    def reference_stress(self) -> NDArray[np.float64]:
        """(6,) stress of the reference potential, eV/Å³, Voigt order, ASE sign."""

    @property
    def has_strain(self) -> bool:
        """Whether the input contains the derivatives that a stress needs (fully periodic cells only)."""

    def arrays(self) -> Arrays:
        """Return all data as a list of arrays, to be written to a file."""

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Rebuild the object from the result of `arrays`."""

    @classmethod
    def dtypes(cls, dtype: DType) -> Sequence[DType]:
        """Return the dtype of each array on disk.

        Args:
            dtype: floating-point type chosen by the user for descriptors and their derivatives.
        """


class Compute(Protocol):
    """Computes cached inputs; its LAMMPS instance is reused for all configurations."""

    def compute(self, configuration: Configuration) -> CachedInput:
        """Return the input of one configuration.

        Raises:
            DataError: the settings or LAMMPS do not support the configuration.
            LammpsError: LAMMPS reported an error.
        """

    def compute_all(self, configurations: Iterable[Configuration]) -> Iterator[CachedInput]:
        """Yield the input of each configuration, in order.

        Raises:
            DataError, LammpsError: see `compute`.
        """


class ModelInput(ABC):
    """Model input with its options; this package provides `SnapInput`, `AceInput` and `GraphInput`.

    Attributes:
        calculator: value of ``[CALCULATOR] calculator`` that selects this input.
        cached: class of the cached inputs.
        elements: chemical symbols, in the order of the LAMMPS atom types.
    """

    calculator: ClassVar[str]
    cached: ClassVar[type[CachedInput]]
    elements: tuple[str, ...]

    @property
    def strain_error(self) -> float:
        """Relative error of the strain derivatives where they are finite differences; 0 if they are analytic."""
        return 0.0

    @property
    def allows_primitive_cells(self) -> bool:
        """Whether networks on this input may be trained on primitive cells instead of supercells."""
        return False

    @property
    @abstractmethod
    def cutoff(self) -> float:
        """Largest neighbour distance, Å."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """Phrase for the log that names the input and the program that computes it."""

    @abstractmethod
    def cache_key(self, derivatives: Derivatives) -> dict[str, Any]:
        """Return the options on which a cached input depends, as plain values.

        The configuration and the reference potential are not included; the cache adds them.

        Args:
            derivatives: the derivatives of the energy that are needed.
        """

    @abstractmethod
    def open(self, reference: Reference, folder: Path, derivatives: Derivatives) -> AbstractContextManager[Compute]:
        """Return a context manager that computes this input.

        Args:
            reference: pair style whose energy, forces and stress are cached as well.
            folder: base folder of relative potential file names.
            derivatives: the derivatives of the energy that are needed.
        """

    @abstractmethod
    def to_batch(self, configuration: Configuration, cached: CachedInput) -> Batch:
        """Return a batch of one configuration, whose tensors are views of the cached arrays.

        Dtypes stay those of the cache; `join_batches` converts them.
        """

    @abstractmethod
    def payload(self) -> dict[str, Any]:
        """Return the options as plain values, for model files."""

    def changed_options(self) -> dict[str, Any]:
        """Return the options that differ from their defaults, for people; all of them here."""
        return self.payload()

    @classmethod
    @abstractmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        """Rebuild the input from the result of `payload`."""


class SectionValues(NamedTuple):
    """Options of a model input as keys of its section.

    Attributes:
        section: name of the section.
        common: values of keys that concern all elements.
        by_element: values of keys with one value per element, in the order of the elements.
        new_elements: values of such keys for elements that are added, instead of their defaults.
    """

    section: str
    common: Mapping[str, Any]
    by_element: Mapping[str, Sequence[Any]]
    new_elements: Mapping[str, Any]


class DescriptorInput(ModelInput):
    """Model input with a fixed number of descriptors per atom."""

    @property
    def ordered_by_element(self) -> bool:
        """Whether the descriptors depend on the order of the elements, as with one density per element."""
        return False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the descriptors; none here, where the options of the section determine them."""
        return ()

    @property
    def file_key(self) -> str:
        """Key of the section with a file that determines the descriptors, whose content this input has; empty: none."""
        return ""

    def with_section(self, settings: Settings) -> Self:
        """Return this input with the section of ``settings``, and with the content of its file if they name none."""
        return type(self).from_settings(settings)

    def section_values(self) -> SectionValues | None:
        """Return the options as keys of the input file; ``None`` (the default) without a section."""
        return None

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of descriptors per atom, D."""

    @classmethod
    @abstractmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the input requested by an input file."""

"""The contract of a model input: what a model is given for a configuration, computed once and cached on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

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
    """The cached input of one configuration: arrays for a batch, and the reference potential."""

    @property
    def reference_energy(self) -> float: ...

    @property
    def reference_forces(self) -> NDArray[np.float64]: ...

    @property
    def reference_stress(self) -> NDArray[np.float64]: ...

    @property
    def has_strain(self) -> bool:
        """Whether it yields a stress, for a cell that is fully periodic."""

    def arrays(self) -> Arrays:
        """Return all of it as arrays, for a file."""

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Return the object that ``arrays()`` was called on."""

    @classmethod
    def kinds(cls, dtype: DType) -> Sequence[DType]:
        """Return the types of the arrays on disk, where ``dtype`` is the user's choice for floating-point numbers."""


C = TypeVar("C", bound=CachedInput)
C_co = TypeVar("C_co", bound=CachedInput, covariant=True)


class Compute(Protocol[C_co]):
    """Computes cached inputs; keeps its LAMMPS from one configuration to the next."""

    def compute(self, configuration: Configuration) -> C_co:
        """Return the input of one configuration.

        Raises:
            DataError: the configuration does not suit LAMMPS or the settings.
            LammpsError: LAMMPS refused it.
        """

    def compute_all(self, configurations: Iterable[Configuration]) -> Iterator[C_co]:
        """Yield the inputs of configurations, in their order; raises as `compute` does."""


class ModelInput(ABC, Generic[C]):
    """A kind of model input with its options; `SnapInput` and `GraphInput` are the two of this package.

    Attributes:
        calculator: its name, the value of ``[CALCULATOR] calculator``.
        cached: class of its cached inputs.
        elements: chemical symbols, in the order of LAMMPS' atom types.
    """

    calculator: ClassVar[str]
    cached: ClassVar[type[Any]]
    elements: tuple[str, ...]

    @property
    def strain_error(self) -> float:
        """Relative error of strain derivatives that are finite differences; 0 where they are exact."""
        return 0.0

    @property
    @abstractmethod
    def cutoff(self) -> float:
        """Largest distance of two neighbours, Å."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """What is computed and by what, in one phrase for the log."""

    @abstractmethod
    def cache_key(self, derivatives: Derivatives) -> dict[str, Any]:
        """Return everything a cached input depends on besides configuration and reference, as plain values."""

    @abstractmethod
    def open(self, reference: Reference, folder: Path, derivatives: Derivatives) -> AbstractContextManager[Compute[C]]:
        """Return what computes it, to be used in a ``with`` statement.

        Args:
            reference: the pair style whose energy, forces and stress are cached too.
            folder: where relative names of potential files start.
            derivatives: which derivatives of the energy are needed.
        """

    @abstractmethod
    def to_batch(self, configuration: Configuration, cached: C) -> Batch:
        """Return a batch of one configuration: views of the cached arrays, in their types; see `join_batches`."""

    @abstractmethod
    def payload(self) -> dict[str, Any]:
        """Return its options as plain values, for model files."""

    @classmethod
    @abstractmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        """Return the input that ``payload()`` describes."""

    @abstractmethod
    def differences(self, settings: Settings) -> list[str]:
        """Return what differs from the input that settings ask for, a line for each key."""


class DescriptorInput(ModelInput[C]):
    """A model input with a fixed number of descriptors for each atom."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of descriptors of an atom."""

    @classmethod
    @abstractmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the input that an input file asks for."""

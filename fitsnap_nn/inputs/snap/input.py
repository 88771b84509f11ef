"""SNAP descriptors as model input, ``calculator = LAMMPSSNAP``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import Derivatives
from fitsnap_nn.inputs.base import CachedInput, DescriptorInput, SectionValues
from fitsnap_nn.inputs.snap.batch import DescriptorBatch, descriptor_batch
from fitsnap_nn.inputs.snap.bispectrum import largest_cutoff, n_descriptors, snap_arguments
from fitsnap_nn.inputs.snap.cached import CachedDescriptors
from fitsnap_nn.settings.keys import keys_of
from fitsnap_nn.settings.schema import Bispectrum, Reference, Settings

if TYPE_CHECKING:
    from typing_extensions import Self

    from fitsnap_nn.inputs.snap.compute import SnapCompute
    from fitsnap_nn.inputs.snap.descriptors import SnapDescriptors

# Relative tolerance of the strain derivatives of compute snap, which are central differences of about eight digits.
FINITE_DIFFERENCE_ERROR = 1e-6
BY_ELEMENT = ("twojmax", "wj", "radelem", "sinner", "dinner")  # keys with one value per element, inner cutoffs last


@dataclass(frozen=True)
class SnapInput(DescriptorInput):
    """SNAP bispectrum components per atom and their derivatives.

    Args:
        bispectrum: section [BISPECTRUM].
    """

    bispectrum: Bispectrum

    calculator: ClassVar[str] = "LAMMPSSNAP"
    cached: ClassVar[type[CachedInput]] = CachedDescriptors

    @property
    def elements(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.bispectrum.type

    @property
    def size(self) -> int:
        """Number of descriptors per atom, D."""
        return n_descriptors(self.bispectrum)

    @property
    def cutoff(self) -> float:
        return largest_cutoff(self.bispectrum)

    @property
    def summary(self) -> str:
        from fitsnap_nn.inputs.snap.compute import choose_route

        return f"descriptors: {self.size} per atom by {choose_route()[1]}"

    @property
    def strain_error(self) -> float:
        from fitsnap_nn.inputs.snap.compute import choose_route

        return 0.0 if choose_route()[0] == "kernel" else FINITE_DIFFERENCE_ERROR

    @property
    def ordered_by_element(self) -> bool:
        return self.bispectrum.chemflag

    def section_values(self) -> SectionValues:
        keys = {name: key for name, key in keys_of("BISPECTRUM").items() if not key.no_effect}
        names = BY_ELEMENT if self.bispectrum.switchinnerflag else BY_ELEMENT[:-2]
        by_element = {name: getattr(self.bispectrum, name) for name in names}
        skipped = ("numTypes", "type", *BY_ELEMENT)
        common = {name: getattr(self.bispectrum, key.attribute) for name, key in keys.items() if name not in skipped}
        # LAMMPS uses the maximum of twojmax for all elements.
        return SectionValues("BISPECTRUM", common, by_element, {"twojmax": max(self.bispectrum.twojmax)})

    def descriptors(self) -> SnapDescriptors:
        """Return a module that computes the descriptors from neighbour graphs."""
        from fitsnap_nn.inputs.snap.descriptors import SnapDescriptors

        return SnapDescriptors(self.bispectrum)

    def cache_key(self, derivatives: Derivatives) -> dict[str, Any]:
        """Return the options of the descriptors.

        The program that computes them is not included. A fit that is continued therefore uses the same cached
        descriptors, bit for bit, even if the kernel has been built or removed in the meantime.
        """
        return {
            "snap": snap_arguments(self.bispectrum),
            "products": self.bispectrum.quadraticflag,
            "gradients": derivatives.positions,
            "strain": derivatives.strain,
        }

    def open(self, reference: Reference, folder: Path, derivatives: Derivatives) -> SnapCompute:
        from fitsnap_nn.inputs.snap.compute import SnapCompute

        gradients, strain = derivatives
        return SnapCompute(self.bispectrum, reference, gradients=gradients, strain=strain, folder=folder)

    def to_batch(self, configuration: Configuration, cached: CachedInput) -> DescriptorBatch:
        return descriptor_batch(configuration, self.elements, cached)

    def payload(self) -> dict[str, Any]:
        return {"calculator": self.calculator, **asdict(self.bispectrum)}

    def changed_options(self) -> dict[str, Any]:
        defaults = asdict(Bispectrum())
        return {key: value for key, value in self.payload().items() if key not in defaults or value != defaults[key]}

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        options: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in payload.items()
        }
        del options["calculator"]
        return cls(Bispectrum(**options))

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls(settings.bispectrum)

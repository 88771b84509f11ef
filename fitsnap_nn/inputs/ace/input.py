"""ACE descriptors as model input, ``calculator = LAMMPSPACE``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import Derivatives
from fitsnap_nn.inputs.base import CachedInput, DescriptorInput, SectionValues
from fitsnap_nn.inputs.snap.batch import DescriptorBatch, descriptor_batch
from fitsnap_nn.inputs.snap.cached import CachedDescriptors
from fitsnap_nn.settings.ace import BOND_KEYS, OF_LINEAR, Ace, functions_of, labels_of
from fitsnap_nn.settings.ace_functions import AceFunction
from fitsnap_nn.settings.keys import keys_of
from fitsnap_nn.settings.schema import Reference, Settings

if TYPE_CHECKING:
    from typing_extensions import Self

    from fitsnap_nn.inputs.ace.compute import AceCompute
    from fitsnap_nn.inputs.ace.descriptors import AceDescriptors


@dataclass(frozen=True)
class AceInput(DescriptorInput):
    """ACE descriptors per atom and their derivatives.

    Args:
        ace: section [ACE].
        labels: labels of the functions, from ``manuallabs``; empty: the functions that the keys of the section choose.
    """

    ace: Ace
    labels: tuple[str, ...] = ()

    calculator: ClassVar[str] = "LAMMPSPACE"
    cached: ClassVar[type[CachedInput]] = CachedDescriptors

    @property
    def elements(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.ace.type

    @property
    def functions(self) -> tuple[AceFunction, ...]:
        """Functions of a central atom, in the order of the descriptors."""
        return functions_of(self.ace, self.labels)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(one.label for one in self.functions)

    @property
    def size(self) -> int:
        return len(self.functions)

    @property
    def cutoff(self) -> float:
        return self.ace.cutoff

    @property
    def summary(self) -> str:
        counts = [sum(one.rank == rank for one in self.functions) for rank in sorted(set(self.ace.ranks))]
        ranks = ", ".join(
            f"{count} of rank {rank}" for rank, count in zip(sorted(set(self.ace.ranks)), counts, strict=True)
        )
        return f"descriptors: {self.size} ACE functions per atom ({ranks})"

    @property
    def ordered_by_element(self) -> bool:
        return len(self.elements) > 1

    @property
    def file_key(self) -> str:
        return "manuallabs" if self.labels else ""

    def with_section(self, settings: Settings) -> Self:
        return type(self)(settings.ace, labels_of(settings.ace, settings.folder) or self.labels)

    def section_values(self) -> SectionValues:
        skipped = ("numTypes", "type", "manuallabs", *OF_LINEAR)
        keys = {name: key for name, key in keys_of("ACE").items() if not (key.no_effect or name in skipped)}
        return SectionValues("ACE", {name: getattr(self.ace, key.attribute) for name, key in keys.items()}, {}, {})

    def descriptors(self, *, separate: bool = False) -> AceDescriptors:
        """Return what computes the descriptors.

        Args:
            separate: with the derivatives of each descriptor.
        """
        from fitsnap_nn.inputs.ace.descriptors import AceDescriptors, BondParameters

        bonds = BondParameters(*(self.ace.of_bonds(key) for key in BOND_KEYS))
        return AceDescriptors(self.functions, bonds, wigner=self.ace.wigner_flag, separate=separate)

    def cache_key(self, derivatives: Derivatives) -> dict[str, Any]:
        return {
            "ace": list(self.names),
            "elements": list(self.elements),
            "bonds": {key: self.ace.of_bonds(key) for key in BOND_KEYS},
            "wigner": self.ace.wigner_flag,
            "gradients": derivatives.positions,
            "strain": derivatives.strain,
        }

    def open(self, reference: Reference, folder: Path, derivatives: Derivatives) -> AceCompute:
        from fitsnap_nn.inputs.ace.compute import AceCompute

        return AceCompute(self, reference, derivatives, folder)

    def to_batch(self, configuration: Configuration, cached: CachedInput) -> DescriptorBatch:
        return descriptor_batch(configuration, self.elements, cached)

    def payload(self) -> dict[str, Any]:
        options = asdict(self.ace) | ({"labels": self.labels} if self.labels else {})
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
        return {"calculator": self.calculator, **plain}

    def changed_options(self) -> dict[str, Any]:
        defaults = AceInput(Ace()).payload()
        return {key: value for key, value in self.payload().items() if key not in defaults or value != defaults[key]}

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        options: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in payload.items()
        }
        del options["calculator"]
        labels = options.pop("labels", ())
        return cls(Ace(**options), labels)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls(settings.ace, labels_of(settings.ace, settings.folder))

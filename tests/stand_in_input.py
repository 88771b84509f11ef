"""A stand-in for a descriptor input: any number of descriptors for each atom, which nothing computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import Derivatives
from fitsnap_nn.inputs import DescriptorInput
from fitsnap_nn.inputs.snap.cached import CachedDescriptors
from fitsnap_nn.settings.schema import Reference, Settings


@dataclass(frozen=True)
class StandInInput(DescriptorInput):
    """So many descriptors of atoms of these elements; batches of them are made by the tests."""

    elements: tuple[str, ...]
    n_descriptors: int

    calculator: ClassVar[str] = "STAND_IN"
    cached: ClassVar[type[Any]] = CachedDescriptors
    cutoff = 5.0
    summary = "nothing"

    @property
    def size(self) -> int:
        return self.n_descriptors

    def cache_key(self, derivatives: Derivatives) -> dict[str, Any]:
        return {"stand-in": self.n_descriptors}

    def open(self, reference: Reference, folder: Path, derivatives: Derivatives) -> NoReturn:
        raise NotImplementedError

    def to_batch(self, configuration: Configuration, cached: CachedDescriptors) -> NoReturn:
        raise NotImplementedError

    def payload(self) -> dict[str, Any]:
        return {"calculator": self.calculator, "elements": list(self.elements), "n_descriptors": self.n_descriptors}

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> StandInInput:
        return cls(tuple(payload["elements"]), payload["n_descriptors"])

    @classmethod
    def from_settings(cls, settings: Settings) -> NoReturn:
        raise NotImplementedError

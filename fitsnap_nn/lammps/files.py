"""The files of an exported potential."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LammpsFiles:
    """The files that LAMMPS runs a potential from.

    Attributes:
        folder: where all of it is.
        mod: the file to include in a deck.
        descriptor: options of the descriptors; ``None`` for a model without.
        models: the model in each format that LAMMPS can read: ``nn`` (text), ``mliappy`` or ``unified`` (in Python).
        default_format: the format that ``mod`` uses where the plugin is not loaded, unless it is told otherwise.
        unsupported_reason: why there is no ``nn`` format; empty when there is one.
        precision: in which LAMMPS evaluates the model, ``float32`` or ``float64``.
        extra: files of the reference potential.
        deck, data: an example of molecular dynamics and its atoms; ``None`` where no structure was given.
        elements: in the order of the atom types.
        atom_style: of LAMMPS.
    """

    folder: Path
    mod: Path
    descriptor: Path | None
    models: Mapping[str, Path]
    default_format: str
    unsupported_reason: str
    precision: str
    extra: tuple[Path, ...]
    deck: Path | None
    data: Path | None
    elements: tuple[str, ...]
    atom_style: str

    @property
    def potential(self) -> tuple[Path, ...]:
        """The files that a run needs."""
        return (self.mod, *filter(None, [self.descriptor]), *self.models.values(), *self.extra)

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file."""
        return (*self.potential, *(path for path in (self.deck, self.data) if path))

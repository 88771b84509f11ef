"""File names of an exported potential."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class LammpsFiles:
    """Files of an exported potential for LAMMPS.

    Attributes:
        folder: folder that contains all files.
        mod: file to ``include`` in a LAMMPS input.
        descriptor: descriptor options; ``None`` for a model without descriptors.
        models: model file per format: ``snap``, ``pace`` or ``nn`` (text), ``mliappy`` or ``unified`` (Python).
        default_format: format that ``mod`` selects if the plugin is not loaded and the variable ``potential_model`` is
            not set.
        unsupported_reason: why there is no text format; empty if there is one.
        precision: floating-point type in which LAMMPS evaluates the model, ``float32`` or ``float64``.
        extra: files of the reference potential.
        deck, data: example input for molecular dynamics and its data file; ``None`` if no structure was given.
        elements: chemical symbols, in the order of the atom types.
        atom_style: argument of LAMMPS' ``atom_style``.
        texts: further text files of a linear model: the parameters of ``snap``, the table of coefficients of ``pace``.
        single_rank: why the potential runs on one rank only, and with the plugin; empty if it runs on several.
        uncertainty: file to ``include`` that watches the uncertainty of forces; ``None`` if the potential has none.
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
    texts: tuple[Path, ...] = ()
    single_rank: str = ""
    uncertainty: Path | None = None

    @property
    def potential(self) -> tuple[Path, ...]:
        """Files that a run needs."""
        descriptor = [self.descriptor] if self.descriptor else []
        return (self.mod, *descriptor, *self.texts, *self.models.values(), *self.extra)

    @property
    def limitation(self) -> str:
        """Sentence that states which LAMMPS cannot run the potential, or not on several ranks; empty if all can."""
        if self.single_rank:
            return self.single_rank
        if "mliappy" not in self.models or not self.unsupported_reason:
            return ""
        return f"A LAMMPS without Python cannot run it: {self.unsupported_reason}"

    @property
    def all(self) -> tuple[Path, ...]:
        """All files, including the example input."""
        return (*self.potential, *(path for path in (self.deck, self.data, self.uncertainty) if path))

    def in_folder(self, folder: Path) -> LammpsFiles:
        """Return the files of the same names in another folder."""

        def there(path: Path | None) -> Path | None:
            return path and folder / path.name

        def all_there(paths: Iterable[Path]) -> tuple[Path, ...]:
            return tuple(folder / path.name for path in paths)

        return replace(
            self,
            folder=folder,
            mod=folder / self.mod.name,
            descriptor=there(self.descriptor),
            models={name: folder / path.name for name, path in self.models.items()},
            extra=all_there(self.extra),
            deck=there(self.deck),
            data=there(self.data),
            texts=all_there(self.texts),
            uncertainty=there(self.uncertainty),
        )

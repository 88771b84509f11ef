"""VASP's OUTCAR and vasprun.xml: every ionic step, with the free energy, which the forces are the gradient of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.readers.ase_files import free_energy, labelled_configuration, read_frames
from fitsnap_nn.data.readers.raw import Column, DataFile, Units
from fitsnap_nn.errors import DataError


def read_vasp(source: DataFile, units: Units, columns: Sequence[Column] = ()) -> Iterator[Configuration]:
    """All ionic steps of a calculation; steps that a stopped run left without an energy are passed over.

    Raises:
        DataError: the file is not VASP's, has no finished step, or its numbers do not fit together.
    """
    file_format = "vasp-xml" if _is_xml(Path(source.path)) else "vasp-out"
    frames = [atoms for atoms in read_frames(source.path, file_format) if atoms.calc is not None]
    if not frames:
        raise DataError(f"{source.path}: no ionic step was finished. Take the file out of the group.")
    for k, atoms in enumerate(frames):
        frame = k if len(frames) > 1 else None
        yield labelled_configuration(source, atoms, free_energy(atoms.calc.results), units, frame, columns)


def one_per_folder(paths: list[Path]) -> list[Path]:
    """Without the OUTCARs that lie beside a vasprun.xml, which describes the same calculation in full precision."""
    described = {path.parent for path in paths if _is_xml(path)}
    return [path for path in paths if _is_xml(path) or path.parent not in described]


def _is_xml(path: Path) -> bool:
    return ".xml" in path.suffixes  # vasprun.xml.gz too

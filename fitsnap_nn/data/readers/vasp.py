"""Reader of VASP's OUTCAR and vasprun.xml; the energy label is the free energy, whose gradient the forces are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.findings import Finding
from fitsnap_nn.data.readers.ase_files import free_energy, labelled_configuration, read_frames
from fitsnap_nn.data.readers.raw import DataFile, ReadOptions
from fitsnap_nn.errors import DataError


def read_vasp(source: DataFile, options: ReadOptions, findings: list[Finding]) -> Iterator[Configuration]:
    """Yield all completed ionic steps of a calculation.

    Args:
        source: the file.
        options: units, and labels of user-defined properties.
        findings: receives remarks on the file.

    Raises:
        DataError: the file is not a VASP file, has no completed step, or the data are inconsistent.
    """
    file_format = "vasp-xml" if _is_xml(Path(source.path)) else "vasp-out"
    frames = [atoms for atoms in read_frames(source.path, file_format) if atoms.calc is not None]
    if not frames:
        raise DataError(f"{source.path}: no ionic step was finished. Remove the file from the group.")
    for k, atoms in enumerate(frames):
        frame = k if len(frames) > 1 else None
        yield labelled_configuration(source, atoms, free_energy(atoms.calc.results), options, frame)


def one_per_folder(paths: list[Path]) -> list[Path]:
    """Remove each OUTCAR next to a vasprun.xml, which contains the same calculation with full precision."""
    with_xml = {path.parent for path in paths if _is_xml(path)}
    return [path for path in paths if _is_xml(path) or path.parent not in with_xml]


def _is_xml(path: Path) -> bool:
    return ".xml" in path.suffixes  # also matches vasprun.xml.gz

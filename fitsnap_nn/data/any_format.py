"""Reading of data files without an input file; the format of each file is detected."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.findings import Finding
from fitsnap_nn.data.readers import FORMATS, DataFile, ReadOptions
from fitsnap_nn.data.readers.ase_files import DEFAULT_GROUP
from fitsnap_nn.data.readers.text import require_file
from fitsnap_nn.errors import DataError

# \s* at the start would search all following empty lines again from each of them.
FITSNAP_JSON = re.compile(rb'^[^\S\n]*\{\s*"dataset"\s*:', re.MULTILINE | re.IGNORECASE)
INPUT_FILE = re.compile(rb"^\[(PATH|GROUPS|PYTORCH|BISPECTRUM|CALCULATOR|SCRAPER)\]", re.MULTILINE)
HEAD = 65536  # bytes in which FitSNAP's JSON files name their format
# Readers of this package for formats that ASE recognises; ASE reads the others.
READERS: Mapping[str, str] = MappingProxyType({"extxyz": "XYZ", "xyz": "XYZ", "vasp-out": "VASP", "vasp-xml": "VASP"})


def detect_format(path: str) -> str:
    """Return the name in `FORMATS` of the format of a file, from its name and content.

    Args:
        path: the file.

    Raises:
        DataError: it is not a file, or its format is unknown.
    """
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats  # slow to import

    if Path(path).is_dir():
        raise DataError(f"{path} is a folder. Give its data files, for example {path.rstrip('/')}/*.")
    require_file(path)
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise DataError(f"{path}: the file cannot be read: {error.strerror}.") from None
    if INPUT_FILE.search(head):
        raise DataError(
            f"{path} is an input file, not data. Use test {path} --model MODEL to test a model on its data."
        )
    if FITSNAP_JSON.search(head):
        return "JSON"
    try:
        found = filetype(path)  # for an unknown format the suffix of the file
    except UnknownFileTypeError:
        found = ""
    if found not in ioformats:
        known = "extended XYZ, FitSNAP JSON, VASP's OUTCAR and vasprun.xml, and the formats of ASE"
        raise DataError(f"{path}: the format of the file is not recognised. Supported are {known}.")
    return READERS.get(found, "ASE")


def read_any(path: str, options: ReadOptions, findings: list[Finding]) -> list[Configuration]:
    """Read the configurations of one file.

    Their group is ``config_type`` of the frame, or else the file. A file with one configuration is in the group of its
    folder, so that the errors of a folder of FitSNAP JSON files are one row, not thousands.

    Args:
        path: the file; the ids of its configurations start with it.
        options: options of the readers.
        findings: receives remarks on the file.

    Raises:
        DataError: the file cannot be read, or has inconsistent data.
    """
    file_format = FORMATS[detect_format(path)]
    if not file_format.group_by_frame:
        found = list(file_format.read(DataFile(path, path, path), options, findings))
    else:
        found = [_named(one, path) for one in file_format.read(DataFile(path, "", path), options, findings)]
    if len(found) == 1 and found[0].group == path:
        return [replace(found[0], group=str(Path(path).parent))]
    return found


def _named(configuration: Configuration, path: str) -> Configuration:
    """Remove the group, with which readers start the id if the file has no group; without a group, use the file."""
    group = configuration.group
    name = configuration.id.removeprefix(f"{group}/")
    return replace(configuration, id=name, group=path if group == DEFAULT_GROUP else group)


def unique(paths: Sequence[str]) -> list[str]:
    """Return the paths without repetitions of the same file, in order."""
    by_file = {Path(path).resolve(): path for path in reversed(paths)}
    return [path for path in dict.fromkeys(paths) if by_file[Path(path).resolve()] == path]

"""Search and reading of the data files of the groups.

Files are sorted in natural order (``run2`` before ``run10``), so that results do not depend on the file system.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.findings import Finding
from fitsnap_nn.data.fitted import user_columns
from fitsnap_nn.data.readers import FORMATS, Column, DataFile, Format, ReadOptions
from fitsnap_nn.errors import DataError
from fitsnap_nn.settings.schema import GroupRow, Settings
from fitsnap_nn.units import label_units

Order = tuple[tuple[str | int, ...], str]


def natural_order(text: str) -> Order:
    """Return a sort key that compares digit sequences within names as numbers."""
    parts = re.split(r"([0-9]+)", text)
    return tuple(int(part) if k % 2 else part for k, part in enumerate(parts)), text


def list_files(settings: Settings) -> list[DataFile]:
    """Return the data files of all groups, in the order of the group table, and in natural order within a row.

    A group is a folder or a file below ``[PATH] dataPath``. A row with wildcards applies to several groups, each with
    the sizes and weights of the row. If ``dataPath`` is a file, each frame names its group.

    Raises:
        DataError: the folder does not exist, a row has no data, or several rows or files match a group.
    """
    file_format = FORMATS[settings.scraper.scraper]
    root = Path(settings.data_path)
    if root.is_file() and file_format.group_by_frame:
        return [DataFile(str(root), "", root.name)]
    if not root.is_dir():
        raise DataError(
            f"[PATH] dataPath: there is no folder {root} (working directory: {Path.cwd()}). Correct the path."
        )
    data_files: list[DataFile] = []
    for row in settings.groups.rows:
        groups = _groups(root, row, file_format)
        files = [
            file
            for name in sorted(groups, key=natural_order)
            if row_of(settings.groups.rows, name) is row
            for file in _files_of(name, groups[name], file_format)
        ]
        if not files:
            raise no_data(row, [path.stem if path.is_file() else path.name for path in root.iterdir()])
        data_files += files
    return data_files


def row_of(rows: Sequence[GroupRow], group: str) -> GroupRow | None:
    """Return the row of a group; an exact name takes precedence over wildcards. ``None`` if no row matches.

    Raises:
        DataError: several rows with wildcards match.
    """
    exact = [row for row in rows if row.name == group]
    found = exact or [row for row in rows if _matches(group, row.name)]
    if len(found) > 1:
        matches = " and ".join(f"'{row.name}' ({row.where})" for row in found)
        raise DataError(
            f"group '{group}' is matched by {matches}. Add a row with the exact name, or make the wildcards narrower."
        )
    return found[0] if found else None


def no_data(row: GroupRow, present: Iterable[str]) -> DataError:
    """Return the error for a row of the group table without data.

    Args:
        row: the row.
        present: names of the groups in the data, for a suggestion.
    """
    names = sorted(set(present), key=natural_order)
    similar = difflib.get_close_matches(row.name, names, n=1)
    hint = f"Did you mean {similar[0]}?" if similar else f"The groups are: {', '.join(names[:12]) or 'none'}."
    return DataError(f"{row.where}  [GROUPS] {row.name}: there are no data for this row. {hint}")


def _matches(group: str, pattern: str) -> bool:
    """Return whether a group name matches a pattern; wildcards do not match slashes, unlike in ``fnmatch``."""
    names, patterns = group.split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(map(fnmatchcase, names, patterns))


def _groups(root: Path, row: GroupRow, file_format: Format) -> dict[str, Path]:
    """Return the folders and files that a row matches, by group name."""
    if Path(row.name).is_absolute() or ".." in Path(row.name).parts:
        raise DataError(f"{row.where}  [GROUPS] {row.name}: groups must be below dataPath. Change [PATH] dataPath.")
    groups: dict[str, Path] = {}
    for suffix in dict.fromkeys(("", *file_format.suffixes)):
        exact = root / f"{row.name}{suffix}"
        for path in [exact] if exact.exists() else root.glob(f"{row.name}{suffix}"):
            if path.name.startswith(".") or (path.is_file() and suffix not in file_format.suffixes):
                continue
            name = path.relative_to(root).as_posix().removesuffix(suffix)
            if name in groups:
                raise DataError(f"group '{name}' is both {groups[name]} and {path}. Rename or remove one.")
            groups[name] = path
    return groups


def _files_of(group: str, path: Path, file_format: Format) -> list[DataFile]:
    """Return the data files of a group (a file or a folder), in natural order."""
    if path.is_file():
        return [DataFile(str(path), group, f"{group}/{path.name}")]
    found = {file for pattern in file_format.patterns for file in path.glob(pattern)}
    files = file_format.choose([file for file in found if file.is_file() and not file.name.startswith(".")])
    data_files = [DataFile(str(file), group, f"{group}/{file.relative_to(path).as_posix()}") for file in files]
    return sorted(data_files, key=lambda data_file: natural_order(data_file.id))


def read_files(settings: Settings, sources: Iterable[DataFile], findings: list[Finding]) -> list[Configuration]:
    """Read the configurations of data files and add ESHIFT to their energies.

    Frames of groups that are not in the group table are skipped. Files are independent of each other, so that ranks can
    read different parts of the result of `list_files`.

    Args:
        settings: checked settings.
        sources: data files to read.
        findings: receives remarks on the files.

    Raises:
        DataError: a file cannot be read, has inconsistent shapes, or contains an element that is not in the settings.
    """
    read = FORMATS[settings.scraper.scraper].read
    try:
        units = label_units(settings.scraper.property_array)
    except ValueError as error:
        raise DataError(f"[SCRAPER] property_array: {error}.") from None
    options = ReadOptions(units, [Column(one, column) for one, column in user_columns(settings)])
    return [
        _shifted(settings, source.path, configuration)
        for source in sources
        for configuration in read(source, options, findings)
        if row_of(settings.groups.rows, configuration.group) is not None
    ]


def _shifted(settings: Settings, path: str, configuration: Configuration) -> Configuration:
    """Return the configuration with ESHIFT (eV per atom, by element) added to the energy.

    Raises:
        DataError: an element is not in the settings.
    """
    unknown = set(configuration.species) - set(settings.elements)
    if unknown:
        section, key = settings.elements_key
        raise DataError(
            f"{path}: {', '.join(sorted(unknown))} is not in [{section}] {key} = {' '.join(settings.elements)} "
            f"(configuration {configuration.id}). Add the element, or remove the configuration."
        )
    return shifted(configuration, settings.eshift)


def shifted(configuration: Configuration, eshift: Mapping[str, float]) -> Configuration:
    """Return the configuration with ESHIFT (eV per atom, by element) added to the energy label, if it has one."""
    if configuration.energy is None or not eshift:
        return configuration
    shift = sum(eshift.get(symbol, 0.0) for symbol in configuration.species)
    labels = {**configuration.labels, "energy": np.array(configuration.energy + shift)}
    return replace(configuration, labels=labels)

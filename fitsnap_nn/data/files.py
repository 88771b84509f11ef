"""Which files hold the groups of the table, and what is in them.

Everything here is in natural order (``run2`` before ``run10``), so that nothing depends on the file system.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.fitted import user_columns
from fitsnap_nn.data.readers import FORMATS, Column, DataFile, Format
from fitsnap_nn.errors import DataError
from fitsnap_nn.settings.schema import GroupRow, Settings
from fitsnap_nn.units import label_units

Order = tuple[tuple[str | int, ...], str]


def natural_order(text: str) -> Order:
    """A sort key under which numbers within names count as numbers."""
    parts = re.split(r"([0-9]+)", text)
    return tuple(int(part) if k % 2 else part for k, part in enumerate(parts)), text


def list_files(settings: Settings) -> list[DataFile]:
    """The data files of all groups, in the order of the table, natural order within a row.

    A group is a folder below ``PATH dataPath``, or a file. Wildcards in a row stand for several groups, each with the
    row's sizes and weights. When dataPath itself is a file, its frames name their groups.

    Raises:
        DataError: no such folder, a row without data, a group that several rows or files claim.
    """
    file_format = FORMATS[settings.scraper.scraper]
    root = Path(settings.data_path)
    if root.is_file() and file_format.group_by_frame:
        return [DataFile(str(root), "", root.name)]
    if not root.is_dir():
        raise DataError(f"[PATH] dataPath: there is no folder {root} (working folder: {Path.cwd()}).")
    sources: list[DataFile] = []
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
        sources += files
    return sources


def row_of(rows: Sequence[GroupRow], group: str) -> GroupRow | None:
    """The row of a group: the one of its exact name, else the one with wildcards that match, else ``None``.

    Raises:
        DataError: several rows with wildcards match.
    """
    exact = [row for row in rows if row.name == group]
    found = exact or [row for row in rows if _matches(group, row.name)]
    if len(found) > 1:
        claims = " and ".join(f"'{row.name}' ({row.where})" for row in found)
        raise DataError(
            f"group '{group}' is matched by {claims}. Give it a row of its own name, or narrow the wildcards."
        )
    return found[0] if found else None


def no_data(row: GroupRow, present: Iterable[str]) -> DataError:
    """The error for a row of the table without data; ``present`` are the names that the data have."""
    names = sorted(set(present), key=natural_order)
    near = difflib.get_close_matches(row.name, names, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"The data have {', '.join(names[:12]) or 'no groups'}."
    return DataError(f"{row.where}  [GROUPS] {row.name}: there are no data for this row. {hint}")


def _matches(group: str, pattern: str) -> bool:
    """Whether a name with as many parts between slashes fits a pattern; a star does not reach across a slash."""
    names, patterns = group.split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(map(fnmatchcase, names, patterns))


def _groups(root: Path, row: GroupRow, file_format: Format) -> dict[str, Path]:
    """The folders and files that a row stands for, by group name."""
    if Path(row.name).is_absolute() or ".." in Path(row.name).parts:
        raise DataError(f"{row.where}  [GROUPS] {row.name}: a group lies below dataPath. Change dataPath.")
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
    """The data files of a group, which is a file or a folder, in natural order."""
    if path.is_file():
        return [DataFile(str(path), group, f"{group}/{path.name}")]
    found = {file for pattern in file_format.patterns for file in path.glob(pattern)}
    files = file_format.choose([file for file in found if file.is_file() and not file.name.startswith(".")])
    sources = [DataFile(str(file), group, f"{group}/{file.relative_to(path).as_posix()}") for file in files]
    return sorted(sources, key=lambda source: natural_order(source.id))


def read_files(settings: Settings, sources: Iterable[DataFile]) -> list[Configuration]:
    """The configurations of some files, those of groups outside the table left out, with ESHIFT added to the energies.

    Any part of `list_files` can be read, by any rank: files do not affect one another.

    Raises:
        DataError: a file that cannot be read, numbers that do not fit together, an element that is not asked for.
    """
    read = FORMATS[settings.scraper.scraper].read
    try:
        units = label_units(settings.scraper.property_array)
    except ValueError as error:
        raise DataError(f"[SCRAPER] property_array: {error}.") from None
    columns = [Column(one, column) for one, column in user_columns(settings)]
    return [
        _shifted(settings, source.path, configuration)
        for source in sources
        for configuration in read(source, units, columns)
        if row_of(settings.groups.rows, configuration.group) is not None
    ]


def _shifted(settings: Settings, path: str, configuration: Configuration) -> Configuration:
    """With ESHIFT, an energy for each atom of an element in eV, added."""
    unknown = set(configuration.species) - set(settings.elements)
    if unknown:
        section, key = settings.elements_key
        raise DataError(
            f"{path}: {', '.join(sorted(unknown))} is not in [{section}] {key} = {' '.join(settings.elements)} "
            f"(configuration {configuration.id}). Add it, or leave the configuration out."
        )
    if configuration.energy is None or not settings.eshift:
        return configuration
    shift = sum(settings.eshift.get(symbol, 0.0) for symbol in configuration.species)
    labels = {**configuration.labels, "energy": np.array(configuration.energy + shift)}
    return replace(configuration, labels=labels)

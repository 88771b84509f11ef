"""Search and reading of the data files of the groups.

Files are sorted in natural order (``run2`` before ``run10``), so that results do not depend on the file system.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.findings import Finding, some
from fitsnap_nn.data.fitted import user_columns
from fitsnap_nn.data.readers import FORMATS, Column, DataFile, Format, ReadOptions, VaspOptions
from fitsnap_nn.data.readers.text import require_file
from fitsnap_nn.errors import DataError, shorten
from fitsnap_nn.settings.formats import LAYOUTS, Layout, data_names, group_names, holds_data, matching_groups
from fitsnap_nn.settings.problems import did_you_mean
from fitsnap_nn.settings.schema import GroupRow, Settings
from fitsnap_nn.units import label_units

Order = tuple[tuple[str | tuple[int, str], ...], str]
UNPRINTABLE = "has control characters or is not UTF-8. Rename it."


def natural_order(text: str) -> Order:
    """Return a sort key that compares digit sequences within names as numbers."""
    parts = re.split(r"([0-9]+)", text)
    return tuple(_magnitude(part) if k % 2 else part for k, part in enumerate(parts)), text


def _magnitude(digits: str) -> tuple[int, str]:
    """Return what orders numbers as ``int`` does, which refuses thousands of digits."""
    significant = digits.lstrip("0")
    return len(significant), significant


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
    layout = LAYOUTS[settings.scraper.scraper]
    data_files: list[DataFile] = []
    for row in settings.groups.rows:
        groups = _groups(root, row, layout)
        files = [
            file
            for name in sorted(groups, key=natural_order)
            if row_of(settings.groups.rows, name) is row
            for file in _files_of(name, groups[name], file_format, layout)
        ]
        if not files:
            raise no_data(row, [row.name] if groups else group_names(str(root), layout))
        data_files += files
    return data_files


def unlisted_groups(settings: Settings) -> list[Finding]:
    """Return a note on the groups below ``dataPath`` that have data but no row in the group table."""
    root, rows = settings.data_path, settings.groups.rows
    layout = LAYOUTS[settings.scraper.scraper]
    if not os.path.isdir(root):
        return []
    # The parent folders of groups, such as C of the row C/x, are listed with a part of their files.
    parents = {row.name.split("/")[0] for row in rows if "/" in row.name}
    names = [name for name in group_names(root, layout) if row_of(rows, name) is None and name not in parents]
    found = [
        name
        for name in sorted(names, key=natural_order)
        if (holds_data(path, layout) if os.path.isdir(path := os.path.join(root, name)) else "" not in layout.suffixes)
    ]
    return [_without_row(f"the groups {some(found)} in {root}")] if found else []


def _without_row(what: str) -> Finding:
    return Finding(f"{what} have no row in [GROUPS] and are left out. To use them, add rows.", warning=False)


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


def no_data(row: GroupRow, present: Iterable[str], remarks: Iterable[str] = ()) -> DataError:
    """Return the error for a row of the group table without data.

    Args:
        row: the row.
        present: names of the groups in the data, for a suggestion.
        remarks: remarks of the readers, which state why configurations were left out.
    """
    names = sorted(set(present), key=natural_order)
    hint = did_you_mean(row.name, names) or f"The groups are: {', '.join(names[:12]) or 'none'}."
    if row.name in names:
        hint = "It exists, but has no data files of this format. Check [SCRAPER] scraper and the names of the files."
    return DataError("\n".join([f"{row.where}  [GROUPS] {row.name}: there are no data for this row. {hint}", *remarks]))


def _matches(group: str, pattern: str) -> bool:
    """Return whether a group name matches a pattern; wildcards do not match slashes, unlike in ``fnmatch``."""
    names, patterns = group.split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(map(fnmatchcase, names, patterns))


def _groups(root: Path, row: GroupRow, layout: Layout) -> dict[str, Path]:
    """Return the folders and files that a row matches, by group name."""
    if Path(row.name).is_absolute() or ".." in Path(row.name).parts:
        raise DataError(f"{row.where}  [GROUPS] {row.name}: groups must be below dataPath. Change [PATH] dataPath.")
    groups: dict[str, Path] = {}
    for name, found in matching_groups(str(root), row.name, layout):
        path = Path(found)
        if not name.isprintable():
            raise DataError(f"{shorten(path)}: the name of the group {UNPRINTABLE}")
        if name in groups:
            raise DataError(f"group '{name}' is both {groups[name]} and {path}. Rename or remove one.")
        groups[name] = path
    return groups


def _check_entry(path: Path, layout: Layout) -> None:
    """Refuse what has the name of a data file and is none: leaving it out would lose data in silence.

    Raises:
        DataError: a broken link, a pipe, a device, or a folder with the suffix of data files.
    """
    if not path.name.isprintable():
        raise DataError(f"{shorten(path)}: the name of the file {UNPRINTABLE}")
    if not path.exists():
        raise DataError(f"{path} is a link to a file that does not exist, or to itself. Repair or remove it.")
    if not path.is_dir() or "" not in layout.suffixes:
        require_file(str(path))


def _files_of(group: str, path: Path, file_format: Format, layout: Layout) -> list[DataFile]:
    """Return the data files of a group (a file or a folder), in natural order.

    Raises:
        DataError: see `_check_entry`.
    """
    if not path.is_dir():
        _check_entry(path, layout)
        return [DataFile(str(path), group, f"{group}/{path.name}")]
    names = set(data_names(str(path), layout))
    found = [path / name for name in sorted(names, key=lambda name: (-name.count("/"), natural_order(name)))]
    for file in found:
        _check_entry(file, layout)
    # A file that several links lead to counts once, with its shortest path.
    unique = {file.resolve(): file for file in found if file.is_file()}
    files = file_format.choose(list(unique.values()))
    data_files = [
        DataFile(str(file), group, f"{group}/{file.relative_to(path).as_posix()}", tuple(map(str, beside)))
        for file, beside in files.items()
    ]
    return sorted(data_files, key=lambda data_file: natural_order(data_file.id))


def read_files(
    settings: Settings,
    sources: Iterable[DataFile],
    findings: list[Finding],
    progress: Callable[[int], None] = lambda _: None,
) -> list[Configuration]:
    """Read the configurations of data files and add ESHIFT to their energies.

    Frames of groups that are not in the group table are counted and left out. Files are independent of each other, so
    that ranks can read different parts of the result of `list_files`.

    Args:
        settings: checked settings.
        sources: data files to read.
        findings: receives remarks on the files.
        progress: called with the number of files that have been read.

    Raises:
        DataError: files cannot be read, have inconsistent shapes, or contain elements that are not in the settings;
            the message lists all these files.
    """
    read = FORMATS[settings.scraper.scraper].read
    options = read_options(settings)
    configurations: list[Configuration] = []
    left_out: Counter[str] = Counter()
    unknown: dict[str, list[str]] = {}  # ids of configurations by the elements that are not in the settings
    problems: list[str] = []
    for number, source in enumerate(sources):
        progress(number)
        try:
            for configuration in read(source, options, findings):
                if row_of(settings.groups.rows, configuration.group) is None:
                    left_out[configuration.group] += 1
                elif others := sorted(set(configuration.species) - set(settings.elements)):
                    unknown.setdefault(", ".join(others), []).append(configuration.id)
                else:
                    configurations.append(shifted(configuration, settings.eshift))
        except DataError as error:
            problems.append(str(error))
    section, key = settings.elements_key
    listed = f"[{section}] {key} = {' '.join(settings.elements)}"
    problems += [
        f"{some(ids)}: {elements} {'are' if ',' in elements else 'is'} not in {listed}. Add what is missing to the "
        "input, or remove the configurations."
        for elements, ids in unknown.items()
    ]
    if problems:
        raise DataError("\n".join(dict.fromkeys(problems)))
    if left_out:
        names = some([f"{name} ({count})" for name, count in left_out.items()])
        findings.append(_without_row(f"{left_out.total()} configurations of the groups {names}"))
    return configurations


def read_options(settings: Settings) -> ReadOptions:
    """Return the options of the readers.

    Raises:
        DataError: ``property_array`` is invalid.
    """
    section, groups = settings.scraper, settings.groups
    try:
        units = label_units(section.property_array)
    except ValueError as error:
        raise DataError(f"[SCRAPER] property_array: {error}.") from None
    return ReadOptions(
        units,
        [Column(one, column) for one, column in user_columns(settings)],
        names={label: getattr(section, f"{label}_key") for label in ("energy", "forces", "stress", "virial")},
        weight_names={
            "all": section.weight_key,
            **{label: getattr(section, f"{label}_weight_key") for label in ("energy", "forces", "stress")},
        },
        stress_sign=section.stress_sign,
        stress_order=tuple(word.lower() for word in section.stress_order),
        vasp=VaspOptions(groups.vasp_free_energy, groups.vasp_keep_unconverged, groups.vasp_ignore_incomplete),
    )


def shifted(configuration: Configuration, eshift: Mapping[str, float]) -> Configuration:
    """Return the configuration with ESHIFT (eV per atom, by element) added to the energy label, if it has one."""
    if configuration.energy is None or not eshift:
        return configuration
    shift = sum(eshift.get(symbol, 0.0) for symbol in configuration.species)
    labels = {**configuration.labels, "energy": np.array(configuration.energy + shift)}
    return replace(configuration, labels=labels)

"""File names of the data formats: the one table that the checks of an input and the readers share."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple


class Layout(NamedTuple):
    """Where the data files of a format are.

    Attributes:
        suffixes: a group is the folder of that name, or the file of that name plus one of these suffixes.
        patterns: glob patterns of the data files in the folder of a group.
        group_by_frame: whether one file can contain all groups, with the group of each frame in ``config_type``.
    """

    suffixes: tuple[str, ...]
    patterns: tuple[str, ...]
    group_by_frame: bool = False


# By scraper. The suffix "" stands for files of any name: ``run.traj`` is the group ``run.traj``, or ``run`` if a row
# has this name.
LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "JSON": Layout((".json",), ("*.json",)),
        "XYZ": Layout((".extxyz", ".xyz"), ("*.extxyz", "*.xyz"), group_by_frame=True),
        "VASP": Layout(("",), ("**/*OUTCAR*", "**/*vasprun*.xml*")),
        "ASE": Layout(("",), ("*",), group_by_frame=True),
    }
)


def matching_groups(root: str, row: str, layout: Layout) -> Iterator[tuple[str, str]]:
    """Yield the name and path of each group that a row of the group table matches; a name twice if it is ambiguous.

    Args:
        root: folder of the data.
        row: name of the row; ``*`` and ``?`` match several groups. An existing file or folder of this name comes first.
        layout: of the data format.
    """
    for suffix in dict.fromkeys(("", *layout.suffixes)):
        exact = os.path.exists(os.path.join(root, row + suffix))
        for name in [row + suffix] if exact else sorted(glob.glob(row + suffix, root_dir=root)):
            path = os.path.join(root, name)
            if not os.path.basename(path).startswith(".") and (os.path.isdir(path) or suffix in layout.suffixes):
                yield name.replace(os.sep, "/").rstrip("/").removesuffix(suffix), path
    if "" in layout.suffixes and not set(row) & set("*?[") and not os.path.exists(os.path.join(root, row)):
        paths = (os.path.join(root, name) for name in sorted(glob.glob(f"{row}.*", root_dir=root)))
        yield from ((row, path) for path in paths if os.path.isfile(path))


def group_names(folder: str, layout: Layout) -> list[str]:
    """Return the names of the groups in a data folder, sorted: subfolders, and data files without their suffix."""
    names = set()
    for entry in visible_entries(folder):
        stem, suffix = os.path.splitext(entry)
        if os.path.isdir(os.path.join(folder, entry)) or "" in layout.suffixes:
            names.add(entry)
        elif suffix in layout.suffixes:
            names.add(stem)
    return sorted(names)


def holds_data(folder: str, layout: Layout) -> bool:
    """Return whether a folder contains data files, as the folder of a group does."""
    return any(os.path.isfile(os.path.join(folder, name)) for name in data_names(folder, layout))


def data_names(folder: str, layout: Layout) -> Iterator[str]:
    """Yield the names below a folder that match the patterns of a format, those in folders near the top first.

    Links to folders are followed, since groups often consist of links to VASP runs. A folder to which several links
    lead is visited once: ``glob`` would follow two links to a parent folder 2^40 times.
    """
    recursive = any(pattern.startswith("**/") for pattern in layout.patterns)
    patterns = [pattern.removeprefix("**/") for pattern in layout.patterns]
    seen, level = {os.path.realpath(folder)}, [""]
    while level:
        deeper = []
        for place in level:
            for entry in visible_entries(os.path.join(folder, place)):
                name = os.path.join(place, entry)
                if any(fnmatch.fnmatchcase(entry, pattern) for pattern in patterns):
                    yield name
                real = os.path.realpath(os.path.join(folder, name))
                if recursive and os.path.isdir(real) and real not in seen:
                    seen.add(real)
                    deeper.append(name)
        level = deeper


def visible_entries(folder: str) -> list[str]:
    """Return the names in a folder that are not hidden, sorted; empty if the folder cannot be read."""
    try:
        return [name for name in sorted(os.listdir(folder or ".")) if not name.startswith(".")]
    except OSError:
        return []

"""What the checks ask of the file system: text, names, what is nearest to a name that is missing. No data are read."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from fitsnap_nn.settings.fields import ValueProblem
from fitsnap_nn.settings.keys import did_you_mean

# What may follow a group's name in the name of its file, for each scraper; a group can also be a folder.
SUFFIXES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"JSON": (".json",), "XYZ": (".extxyz", ".xyz"), "VASP": ("", ".xml"), "ASE": ("", ".*")}
)
# Which files of a group's folder are data.
DATA_FILES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"JSON": ("*.json",), "XYZ": ("*.extxyz", "*.xyz"), "VASP": ("**/*OUTCAR*", "**/*vasprun*.xml")}
)
# Scrapers whose data can be one file, each frame naming its group by config_type.
ONE_FILE = frozenset({"XYZ", "ASE"})


def read_text(path: str) -> str:
    """The text of a UTF-8 file, a byte order mark taken off.

    Raises:
        ValueProblem: there is no such file, or it is not text.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        raise ValueProblem(f"no such file: {path}", nearest(path)) from None
    except OSError as error:
        raise ValueProblem(f"{path} cannot be read: {error.strerror}") from None
    try:
        # A zero byte is legal UTF-8, but no text: UTF-16 and binary files have them.
        if b"\0" in content:
            raise UnicodeDecodeError("utf-8", content, content.index(b"\0"), len(content), "zero byte")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueProblem(f"{path} is not UTF-8 text, first in line {line}", "Save it as UTF-8.") from None


def nearest(path: str) -> str:
    """``Did you mean X?`` for the file or folder beside a missing one that has the most similar name."""
    return did_you_mean(os.path.basename(os.path.normpath(path)), _entries(os.path.dirname(os.path.normpath(path))))


def _entries(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder or "."))
    except OSError:
        return []


def group_exists(data_path: str, name: str, scraper: str) -> bool:
    """Whether a group is there, as a folder or a file; for a name with wildcards, whether any fits it."""
    for suffix in ("", *SUFFIXES[scraper]):
        exact = os.path.join(data_path, name + suffix)
        below = os.path.join(glob.escape(data_path), name + suffix)
        for path in [exact] if os.path.exists(exact) else glob.iglob(below):
            if os.path.isdir(path) or suffix in SUFFIXES[scraper]:
                return True
    return False


def nearest_group(data_path: str, name: str, scraper: str) -> str:
    """``Did you mean X?`` for the group with the name most similar to one that is missing."""
    parent, name = os.path.split(os.path.normpath(name))
    folder = os.path.join(data_path, parent)
    names = group_names(folder, scraper)
    hint = did_you_mean(name, names)
    return hint.replace("mean ", f"mean {parent}/") if parent and hint else hint


def group_names(folder: str, scraper: str) -> list[str]:
    """Names of the groups that a folder of data offers, sorted: folders, and files less their suffix."""
    names = set()
    for entry in _entries(folder):
        stem, suffix = os.path.splitext(entry)
        if entry.startswith("."):
            continue
        if os.path.isdir(os.path.join(folder, entry)):
            names.add(entry)
        elif suffix in SUFFIXES[scraper] or ".*" in SUFFIXES[scraper]:
            names.add(stem)
    return sorted(names)


def find_groups(data: str) -> tuple[str, list[str]]:
    """The scraper that reads some data, and the names of their groups; the groups of a single file are ``*``."""
    suffixes = SUFFIXES["XYZ"]
    if os.path.isfile(data):
        return "XYZ", ["*"] if data.endswith(suffixes) else []
    folders = [name for name in _entries(data) if not name.startswith(".") and os.path.isdir(os.path.join(data, name))]
    for scraper, patterns in DATA_FILES.items():
        groups = [name for name in folders if _holds(os.path.join(data, name), patterns)]
        if groups:
            return scraper, groups
    return "XYZ", sorted({os.path.splitext(name)[0] for name in _entries(data) if name.endswith(suffixes)})


def _holds(folder: str, patterns: Sequence[str]) -> bool:
    paths = [os.path.join(glob.escape(folder), pattern) for pattern in patterns]
    return any(True for path in paths for _ in glob.iglob(path, recursive=True))

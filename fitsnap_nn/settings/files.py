"""File-system queries of the checks: input text, names of groups, suggestions for missing names. No data are read."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from fitsnap_nn.settings.problems import ValueProblem, did_you_mean

# Suffixes of a file that holds one group, by scraper; a group can also be a folder.
SUFFIXES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"JSON": (".json",), "XYZ": (".extxyz", ".xyz"), "VASP": ("", ".xml"), "ASE": ("", ".*")}
)
# Data files in the folder of a group, by scraper.
DATA_FILES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"JSON": ("*.json",), "XYZ": ("*.extxyz", "*.xyz"), "VASP": ("**/*OUTCAR*", "**/*vasprun*.xml")}
)
MACE_SUFFIX = ".model"  # of the model files of mace-torch
# Scrapers that accept one file for all groups; config_type of a frame is its group.
ONE_FILE = frozenset({"XYZ", "ASE"})


def read_text(path: str) -> str:
    """Read a UTF-8 file and strip a byte order mark.

    Raises:
        ValueProblem: the file does not exist or is not text.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        raise ValueProblem(f"no such file: {path}", nearest(path)) from None
    except OSError as error:
        raise ValueProblem(f"{path} cannot be read: {error.strerror}") from None
    try:
        # Zero bytes are legal in UTF-8, but occur in UTF-16 and binary files only.
        if b"\0" in content:
            raise UnicodeDecodeError("utf-8", content, content.index(b"\0"), len(content), "zero byte")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueProblem(
            f"{path} is not UTF-8 text; the first invalid byte is in line {line}", "Save it as UTF-8."
        ) from None


def nearest(path: str) -> str:
    """Return ``Did you mean X?`` for the file or folder with the name closest to a missing one."""
    return did_you_mean(os.path.basename(os.path.normpath(path)), _entries(os.path.dirname(os.path.normpath(path))))


def _entries(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder or "."))
    except OSError:
        return []


def group_exists(data_path: str, name: str, scraper: str) -> bool:
    """Return whether a group exists as a folder or a file; for a pattern, whether anything matches it."""
    for suffix in ("", *SUFFIXES[scraper]):
        exact = os.path.join(data_path, name + suffix)
        below = os.path.join(glob.escape(data_path), name + suffix)
        for path in [exact] if os.path.exists(exact) else glob.iglob(below):
            if os.path.isdir(path) or suffix in SUFFIXES[scraper]:
                return True
    return False


def nearest_group(data_path: str, name: str, scraper: str) -> str:
    """Return ``Did you mean X?`` for the group with the name closest to a missing one."""
    parent, name = os.path.split(os.path.normpath(name))
    folder = os.path.join(data_path, parent)
    names = group_names(folder, scraper)
    hint = did_you_mean(name, names)
    return hint.replace("mean ", f"mean {parent}/") if parent and hint else hint


def group_names(folder: str, scraper: str) -> list[str]:
    """Return the names of the groups in a data folder, sorted: subfolders, and files without their suffix."""
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
    """Return the scraper for a data folder or file and the names of its groups; a single file gives ``*``."""
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

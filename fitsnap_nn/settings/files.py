"""File-system queries of the checks: input text, names of groups, suggestions for missing names. No data are read."""

from __future__ import annotations

import os

from fitsnap_nn.files import irregularity
from fitsnap_nn.settings.formats import LAYOUTS, group_names, matching_groups, visible_entries
from fitsnap_nn.settings.problems import ValueProblem, did_you_mean

MACE_SUFFIX = ".model"  # of the model files of mace-torch


def read_text(path: str) -> str:
    """Read a UTF-8 file and strip a byte order mark.

    Raises:
        ValueProblem: the file does not exist or is not text.
    """
    if kind := irregularity(path):
        raise ValueProblem(f"{path} cannot be read: it is {kind}, not a file")
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
    folder, name = os.path.split(os.path.normpath(path))
    return did_you_mean(name, visible_entries(folder))


def group_exists(data_path: str, name: str, scraper: str) -> bool:
    """Return whether a group exists as a folder or a file; for a pattern, whether anything matches it."""
    return any(True for _ in matching_groups(data_path, name, LAYOUTS[scraper]))


def nearest_group(data_path: str, name: str, scraper: str) -> str:
    """Return ``Did you mean X?`` for the group with the name closest to a missing one."""
    parent, name = os.path.split(os.path.normpath(name))
    hint = did_you_mean(name, group_names(os.path.join(data_path, parent), LAYOUTS[scraper]))
    return hint.replace("mean ", f"mean {parent}/") if parent and hint else hint

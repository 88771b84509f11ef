"""Names of files and folders that LAMMPS can read in an input script."""

from __future__ import annotations

import re
from pathlib import PurePath

# LAMMPS interprets quotation marks, $, parentheses and commas in the paths of the .mod file, and drops or replaces
# characters that are not ASCII (utils::utf8_subst). It trims blanks at the ends of names.
PATH = re.compile(r"""(?! )(?:(?!["'$(),])[ -~])+(?<! )""")
FORMAT = ":%"  # separates a formula from its format in $(...)
# File names are words without quotation marks in a LAMMPS without the plugin.
WORD = re.compile(r"[\w+=@][\w.+=@~-]*", re.ASCII)
MAX_LENGTH = 200  # bytes of a file name; file systems allow 255, of which suffixes and temporary names take up to 34


def is_readable_path(text: str) -> bool:
    """Return whether a ``.mod`` file can name a path."""
    return PATH.fullmatch(text) is not None and FORMAT not in text


def unreadable_name(stem: str) -> str:
    """Return why LAMMPS cannot read files whose names begin with a text; empty if it can.

    Args:
        stem: ``[OUTFILE] potential``.
    """
    if not WORD.fullmatch(stem):
        return f"LAMMPS cannot read files named {stem!r}: use letters, digits and . _ + - = @ ~, without blanks or /"
    if len(stem) > MAX_LENGTH:
        return f"the name of {len(stem)} characters is too long: use at most {MAX_LENGTH}"
    return ""


def unreadable_folder(folder: str) -> str:
    """Return why an input script of LAMMPS cannot name a folder; empty if it can.

    Only the last name of an absolute path counts: an input can run in the folder, or in the one that contains it.

    Args:
        folder: path as the user writes it.
    """
    path = PurePath(folder)
    wrong = [name for name in (path.parts[-1:] if path.is_absolute() else path.parts) if not is_readable_path(name)]
    if not wrong:
        return ""
    return (
        f"LAMMPS cannot find files in a folder named {wrong[0]!r}: its input scripts drop characters that are not "
        "ASCII, and interpret quotation marks, $, parentheses and commas"
    )

"""Texts that become arguments of LAMMPS commands, in an input or stored in a model file: what they may contain."""

from __future__ import annotations

import shlex
import unicodedata

# LAMMPS substitutes variables, continues lines and ends them at comments; it opens compressed files with a shell.
SPECIAL = frozenset("$&;|<>`\\#")
# Pair styles that run code: a Python module, a pickle, a compiled model, a program. Styles of one family have the same
# beginning, such as mliap/kk.
RUNS_CODE = frozenset(
    {"aenet", "allegro", "deepmd", "deepspin", "kim", "mace", "metatomic", "mliap", "nequip", "python", "quip"}
)
# File names that a shell, Python or the loader of libraries picks up in the folder where they are.
PICKED_UP = (".py", ".pyc", ".pyd", ".pth", ".so", ".dll", ".dylib", ".sh", ".bat", ".cmd", ".exe", ".desktop")


def text_problem(text: str) -> str:
    """Return why a text cannot be written to a LAMMPS input; empty if it can.

    Args:
        text: arguments of a command.
    """
    for character in text:
        if character in SPECIAL:
            return f"contains {character}, which LAMMPS or a shell interprets"
        if not character.isprintable() and character != "\t":
            return f"contains the control character {character!r}"
        # LAMMPS replaces quotation marks, dashes and blanks of Unicode by those of ASCII.
        if not (character.isascii() or character.isalnum() or unicodedata.combining(character)):
            return f"contains {character!r}"
    return ""


def printable(text: str) -> str:
    """Return a text for one line of a file or of the screen: control characters are replaced."""
    return "".join(character if character.isprintable() else "?" for character in text)


def arguments_problem(text: str) -> str:
    """Return why a text is not a list of arguments of a LAMMPS command; empty if it is one.

    Args:
        text: the arguments, in which quotation marks enclose whole words.
    """
    if problem := text_problem(text):
        return problem
    try:
        words = shlex.split(text)
    except ValueError:
        return "has an unmatched quotation mark"
    if any(not word or set(word) & set("\"'") for word in words):
        return "has quotation marks within a word"
    return ""


def name_problem(name: str) -> str:
    """Return why a name cannot be that of a file beside a LAMMPS input; empty if it can.

    Args:
        name: name without a folder.
    """
    if problem := text_problem(name):
        return problem
    if not name or name.startswith((".", "-", "~")) or set(name) & set("/\"'()[]*?"):
        return "is not a plain file name"
    if name.lower().endswith(PICKED_UP):
        return "is the name of a program"
    return ""


def code_styles(pair_style: str) -> list[str]:
    """Return the pair styles that run code among the arguments of ``pair_style``."""
    return [word for word in shlex.split(pair_style) if word.partition("/")[0] in RUNS_CODE]


def is_path(word: str) -> bool:
    """Return whether a word can only be the name of a file in another folder; styles such as lj/cut are none."""
    parts = word.split("/")
    return word.startswith(("/", "~")) or ".." in parts or (len(parts) > 1 and "." in word)

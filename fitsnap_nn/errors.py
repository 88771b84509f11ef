"""Exceptions for errors that a user can correct.

Every message states what is wrong, where, and what to do about it. The command line prints it without a traceback and
exits with the ``exit_code`` of the class.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

LONG_WORD = re.compile(r"\S{500,}")
LONGEST_QUOTE = 60  # characters of a quoted value


def shorten(value: object, limit: int = LONGEST_QUOTE) -> str:
    """Return a value as text for a message: on one line, without control characters, and of bounded length."""
    text = str(value)
    shown = "".join(map(_escaped, text[:limit])).replace("\n", "\\n")
    return shown if len(text) <= limit else f"{shown}... ({len(text)} characters)"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, which has a regular plural: ``1 atom``, ``2 atoms``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def for_terminal(text: str) -> str:
    """Return a message that quotes files: control characters are escaped, and words of more than 500 characters cut.

    Bytes of file names that are not UTF-8 are escaped too, since terminals and log files cannot take them.
    """
    text = LONG_WORD.sub(lambda word: shorten(word.group()), text)
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(one: str) -> str:
    return one if one == "\n" or one.isprintable() else ascii(one)[1:-1]


class FitsnapError(Exception):
    """Base class of all errors that a user can correct.

    Attributes:
        exit_code: exit status of the command line.
        label: word before the message.
        ranks: on which of several ranks it occurred; empty if on all, or if only this rank knows of it.
        shared: whether all ranks raise it, so that the first one reports it.
    """

    exit_code = 1
    label = "error"
    ranks = ""
    shared = False

    def __init__(self, message: str = "") -> None:
        super().__init__(for_terminal(message))


class Problem(NamedTuple):
    """One problem of an input file.

    Attributes:
        where: ``file:line`` or ``command line``.
        what: section, key and mistake.
        hint: remedy; may be empty.
    """

    where: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.where}  {self.what}" + (f" {self.hint}" if self.hint else "")


class InputError(FitsnapError):
    """Invalid input file or command line; lists all problems, not only the first."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        closing = f"{counted(count, 'error')}, nothing was run."
        super().__init__("\n".join([*map(str, self.problems), closing]))

    def __reduce__(self) -> tuple[type[InputError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)  # by default, pickle passes the message to __init__


class DataError(FitsnapError):
    """Unreadable data file, or invalid data in it."""

    exit_code = 3


class LammpsError(FitsnapError):
    """Failure of LAMMPS; the message quotes that of LAMMPS."""

    exit_code = 4


class LammpsTimeoutError(LammpsError):
    """LAMMPS took longer than it was allowed to, and was stopped."""


class CheckpointError(FitsnapError):
    """Unreadable restart or model file, or one that does not match the input."""

    exit_code = 5


class TrainingError(FitsnapError):
    """Training cannot continue, for instance because the loss is NaN."""

    exit_code = 6


class Interrupted(KeyboardInterrupt):
    """Training interrupted by a signal; the command line then exits with 128 plus its number, as shells do."""

    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number
        super().__init__("interrupted")


class TimeLimit(FitsnapError):
    """The fit has reached ``max_time``; its state is saved, and it can go on."""

    exit_code = 9
    label = "stopped"


class VerificationError(FitsnapError):
    """LAMMPS does not reproduce the fitted model within the tolerances."""

    exit_code = 7


class MdCheckError(FitsnapError):
    """A potential fails a check of the command ``checks``, or the time limit left no time for it."""

    exit_code = 10


class OutputError(FitsnapError):
    """An output file cannot be written, for instance because the disk is full."""

    exit_code = 8

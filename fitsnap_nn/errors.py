"""Exceptions for errors that a user can correct.

Every message states what is wrong, where, and what to do about it. The command line prints it without a traceback and
exits with the ``exit_code`` of the class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class FitsnapError(Exception):
    """Base class of all errors that a user can correct."""

    exit_code = 1


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
        closing = f"{count} error{'s' if count != 1 else ''}, nothing was run."
        super().__init__("\n".join([*map(str, self.problems), closing]))


class DataError(FitsnapError):
    """Unreadable data file, or invalid data in it."""

    exit_code = 3


class LammpsError(FitsnapError):
    """Failure of LAMMPS; the message quotes that of LAMMPS."""

    exit_code = 4


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


class VerificationError(FitsnapError):
    """LAMMPS does not reproduce the fitted model within the tolerances."""

    exit_code = 7


class OutputError(FitsnapError):
    """An output file cannot be written, for instance because the disk is full."""

    exit_code = 8

"""The one family of errors a user can meet.

Every error says what is wrong, where it is, and what to do about it. The command line prints the
message without a traceback and leaves with the error's ``exit_code``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class FitsnapError(Exception):
    """Base of all errors that are the user's to mend (or to report)."""

    exit_code = 1


class Problem(NamedTuple):
    """One thing wrong with an input file.

    ``where`` is ``file:line`` (or ``command line``), ``what`` names section and key and says what
    is wrong, ``hint`` says what to do; it may be empty.
    """

    where: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.where}  {self.what}" + (f" {self.hint}" if self.hint else "")


class InputError(FitsnapError):
    """The input file or the command line is wrong; carries every problem found, not the first."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        closing = f"{count} error{'s' if count != 1 else ''}, nothing was run."
        super().__init__("\n".join([*map(str, self.problems), closing]))


class DataError(FitsnapError):
    """A data file cannot be read, or says something impossible."""

    exit_code = 3


class LammpsError(FitsnapError):
    """LAMMPS refused or failed; carries LAMMPS' own words."""

    exit_code = 4


class CheckpointError(FitsnapError):
    """A restart or model file cannot be used with this input."""

    exit_code = 5


class TrainingError(FitsnapError):
    """The fit cannot go on (a loss that is not a number, say)."""

    exit_code = 6


class VerificationError(FitsnapError):
    """LAMMPS does not reproduce the fitted model."""

    exit_code = 7

"""Wrong values and suggestions for misspelt names; every other module of the package can import this one."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable

TIME = re.compile(r"(?:(?:(?:(\d+)-)?(\d+):)?(\d+):)?(\d+(?:\.\d*)?)")  # d-hh:mm:ss

LONGEST_WORD = 100  # characters; the time of a comparison grows with the square of the length
LARGEST = 1e18  # absolute value of a number; the square of a larger one exceeds float32


class ValueProblem(ValueError):
    """An invalid value of a key: ``what`` states the mistake, ``hint`` the remedy, which may be empty."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return ``Did you mean X?`` for the candidate closest to a word, ignoring case; empty if none is close.

    The word itself is not suggested: it exists, but something else is wrong with it.
    """
    if len(word) > LONGEST_WORD:
        return ""
    known = {candidate.lower(): candidate for candidate in candidates if candidate != word}
    near = difflib.get_close_matches(word.lower(), known, n=1)
    return f"Did you mean {known[near[0]]}?" if near else ""


def parse_real(text: str) -> float:
    """Convert text to a finite number; unlike ``float``, refuse underscores and digits of other scripts.

    Raises:
        ValueProblem: the text is not a number, or exceeds LARGEST.
    """
    try:
        value = float(text) if "_" not in text and text.isascii() else None
    except ValueError:
        value = None
    if value is None:
        raise ValueProblem(f"'{text}' is not a number")
    if not math.isfinite(value):
        raise ValueProblem(f"'{text}' is not a finite number")
    require_size(text, value)
    return value


def require_size(text: str, value: float) -> None:
    """Refuse a number that no setting can have.

    Raises:
        ValueProblem: its absolute value exceeds LARGEST.
    """
    if abs(value) > LARGEST:
        limit = f"above the maximum, {LARGEST:g}" if value > 0 else f"below the minimum, {-LARGEST:g}"
        raise ValueProblem(f"{text} is {limit}")


def parse_time(text: str) -> float | None:
    """Convert ``hh:mm:ss``, ``mm:ss`` or seconds, the formats of LAMMPS' ``timer timeout``, or ``d-hh:mm:ss`` of SLURM.

    Args:
        text: the time; empty, ``off`` or ``unlimited`` for none.

    Returns:
        Seconds, or ``None`` for none.

    Raises:
        ValueProblem: it is not a positive time.
    """
    if text.lower() in ("", "off", "none", "unlimited"):
        return None
    if not (match := TIME.fullmatch(text)):
        raise ValueProblem(f"'{text}' is not a time")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    if not (total := 86400 * days + 3600 * hours + 60 * minutes + seconds):
        raise ValueProblem(f"'{text}' is not above 0")
    return total

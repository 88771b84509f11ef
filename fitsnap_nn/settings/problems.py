"""Wrong values and suggestions for misspelt names; every other module of the package can import this one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
    known = {candidate.lower(): candidate for candidate in candidates if candidate != word}
    near = difflib.get_close_matches(word.lower(), known, n=1)
    return f"Did you mean {known[near[0]]}?" if near else ""

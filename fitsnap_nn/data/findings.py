"""Remarks on the data by readers and checks, merged into one line per kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

MAX_NAMES = 3  # configurations named per line


class Finding(NamedTuple):
    """Remark on one configuration, on one file, or on the data as a whole.

    Attributes:
        what: statement and remedy, without the place; findings with equal statements become one line.
        where: id of the configuration, or the file; empty for the data as a whole.
        warning: whether it is a probable mistake. If not, it states what was assumed, converted or left out.
    """

    what: str
    where: str = ""
    warning: bool = True


def summarize(findings: Iterable[Finding]) -> list[str]:
    """Return one line per statement, which names the first places, in the order of first occurrence."""
    places: dict[str, list[str]] = {}
    for finding in findings:
        places.setdefault(finding.what, []).append(finding.where)
    return [_line(what, list(dict.fromkeys(filter(None, where)))) for what, where in places.items()]


def _line(what: str, where: list[str]) -> str:
    more = f" and {len(where) - MAX_NAMES} more" if len(where) > MAX_NAMES else ""
    return f"{', '.join(where[:MAX_NAMES])}{more}: {what}" if where else what

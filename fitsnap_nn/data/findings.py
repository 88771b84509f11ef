"""Remarks on the data by readers and checks, merged into one line per kind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fitsnap_nn.errors import DataError, counted, for_terminal

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


def refuse(warnings: Sequence[str]) -> None:
    """Treat warnings about the data as errors.

    Raises:
        DataError: there are warnings; the message lists all of them.
    """
    if warnings:
        count = counted(len(warnings), "warning")
        lines = "".join(f"\n  {warning}" for warning in warnings)
        raise DataError(f"{count} about the data, which --strict treats as errors:{lines}")


def some(names: Sequence[str], limit: int = MAX_NAMES) -> str:
    """Return names separated by commas; of more than ``limit`` the first, and the number of the others."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _line(what: str, where: list[str]) -> str:
    return for_terminal(f"{some(where)}: {what}" if where else what)

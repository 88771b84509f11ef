"""Terminals that are not UTF-8, whose missing characters are replaced; and what is said of long preparations."""

from __future__ import annotations

import codecs
import io
import sys
import threading
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TextIO

from fitsnap_nn.launch import is_first_rank

ERRORS = "fitsnap_nn.ascii"
PATIENCE = 2.0  # s
REPLACEMENTS: Mapping[str, str] = MappingProxyType(
    {
        "·": "-", "–": "-", "—": "-", "−": "-", "…": "...", "×": "x", "│": "|", "├": "|", "└": "`", "─": "-",
        "π": "pi", "θ": "theta", "α": "alpha", "β": "beta", "Δ": "d", "σ": "sigma", "≤": "<=", "≥": ">=", "→": "->",
    }
)  # fmt: skip


def make_printable(stream: TextIO | None) -> None:
    """Let a stream replace characters that its encoding does not have, by ASCII of the same meaning."""
    # Python's defaults: surrogateescape, of the C locale, replaces file names only; stderr prints \\u2014 for a dash.
    if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape", "backslashreplace"):
        stream.reconfigure(errors=ERRORS)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_ascii, error.object[error.start : error.end])), error.end


def _ascii(character: str) -> str:
    # NFKD separates accents from letters: Å becomes A and a ring, ² becomes 2.
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return REPLACEMENTS.get(character) or plain or "?"


codecs.register_error(ERRORS, _replaced)


@contextmanager
def announced(text: str, quiet: bool = False) -> Iterator[None]:
    """Say on stderr what the program is doing if the block takes longer than two seconds; on the first rank.

    Args:
        text: such as ``loading torch``.
        quiet: say nothing.
    """
    timer = threading.Timer(PATIENCE, lambda: print(f"{text} ...", file=sys.stderr, flush=True))
    timer.daemon = True
    if not quiet and is_first_rank():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()

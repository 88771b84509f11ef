"""Terminals that are not UTF-8: characters that they do not have are replaced, so that printing never fails."""

from __future__ import annotations

import codecs
import io
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import TextIO

ERRORS = "fitsnap_nn.ascii"
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

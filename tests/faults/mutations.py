"""Damaged copies of valid files, and numbers as people and programs mistype them, as strategies of hypothesis."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("FITSNAP_NN_FUZZ_EXAMPLES", "0"))  # per test; 0: the few of the test suite
MAX_SECONDS = 5.0  # of processor time per input
# What editors, other programs and attackers write in place of a token.
TOKENS = (
    *(b"nan", b"inf", b"-inf", b"1e400", b"-1e308", b"1e-320", b"0", b"-1", b"4294967296", b"9" * 400, b"9" * 4400),
    *(b"1_0", b"1,5", b"1.5D+00", b"0x10", b"true", b"null", b"", b"Xx", b"*********", b"\xff\xfe", b"\x00", b"\x1c"),
    *(b"[" * 2000, b"{", b"}", b'"', b"'", b"=", b"<v>", b"&#0;", b"\xc3\xa9", b"\xed\xa0\x80", b"energy=1", b"\\"),
)
Change = Callable[[bytes], bytes]


def fuzz(examples: int) -> settings:
    """Return the settings of a test: the same few inputs each time, or as many random ones as the environment asks."""
    return settings(
        max_examples=EXAMPLES or examples,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def _at(length: int, place: float) -> int:
    return min(int(place * length), max(length - 1, 0))


def _flip(place: float, bit: int) -> Change:
    def change(data: bytes) -> bytes:
        k = _at(len(data), place)
        return data[:k] + bytes([data[k] ^ 1 << bit]) + data[k + 1 :] if data else data

    return change


def _cut(place: float, length: int) -> Change:
    return lambda data: data[: _at(len(data), place)] + data[_at(len(data), place) + length :]


def _truncate(place: float) -> Change:
    return lambda data: data[: _at(len(data), place)]


def _line(place: float, times: int) -> Change:
    """Delete (0) or repeat a line."""

    def change(data: bytes) -> bytes:
        lines = data.splitlines(keepends=True)
        k = _at(len(lines), place)
        return b"".join(lines[:k] + lines[k : k + 1] * times + lines[k + 1 :])

    return change


def _swap(place: float, other: float, pattern: bytes) -> Change:
    """Exchange two tokens."""

    def change(data: bytes) -> bytes:
        spans = [found.span() for found in re.finditer(pattern, data)]
        if len(spans) < 2:
            return data
        (a, b), (c, d) = sorted((spans[_at(len(spans), place)], spans[_at(len(spans), other)]))
        return data if (a, b) == (c, d) else data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]

    return change


def _token(place: float, token: bytes, pattern: bytes) -> Change:
    """Replace a token."""

    def change(data: bytes) -> bytes:
        spans = [found.span() for found in re.finditer(pattern, data)]
        if not spans:
            return data
        a, b = spans[_at(len(spans), place)]
        return data[:a] + token + data[b:]

    return change


def _insert(place: float, token: bytes) -> Change:
    return lambda data: data[: _at(len(data), place)] + token + data[_at(len(data), place) :]


PLACES = st.floats(0.0, 1.0, exclude_max=True)
PATTERNS = st.sampled_from((rb"[-+\w.]+", rb"\S+", rb"\d+", rb"[A-Za-z]+"))
CHANGES = st.one_of(
    st.builds(_flip, PLACES, st.integers(0, 7)),
    st.builds(_cut, PLACES, st.integers(1, 60)),
    st.builds(_truncate, PLACES),
    st.builds(_line, PLACES, st.sampled_from((0, 2, 3, 400))),
    st.builds(_swap, PLACES, PLACES, PATTERNS),
    st.builds(_token, PLACES, st.sampled_from(TOKENS), PATTERNS),
    st.builds(_insert, PLACES, st.sampled_from((*TOKENS, b"\n", b"\r", b"\n\n", b" ", b"\xef\xbb\xbf"))),
    st.just(lambda data: data.replace(b"\n", b"\r\n")),
    st.just(lambda data: b"\xef\xbb\xbf" + data),
    st.just(lambda data: b"\n" * 3000 + data),
)


class Damaged(bytes):
    """Content of a file; shown by its lines that are not in the valid file."""

    valid = b""

    def __repr__(self) -> str:
        known = set(self.valid.split(b"\n"))
        lines = [line[:100] for line in self.split(b"\n") if line not in known]
        return f"<{len(self)} instead of {len(self.valid)} bytes, new lines: {lines[:5]}>"


@st.composite
def damaged(draw: st.DrawFn, text: bytes) -> bytes:
    """Return a copy of a file with one to three changes."""
    content = text
    for change in draw(st.lists(CHANGES, min_size=1, max_size=3)):
        content = change(content)
    found = Damaged(content)
    found.valid = text
    return found


@st.composite
def number_texts(draw: st.DrawFn, digits: int = 6) -> str:
    """Return the text of a number, in half of the cases with a wrong character."""
    text = draw(st.one_of(st.floats(-99.0, 99.0).map(lambda value: f"{value:.{digits}f}"), st.sampled_from(SPECIAL)))
    place, kind = draw(st.integers(0, len(text))), draw(st.integers(0, 3))
    if kind >= 2:
        return text
    return text[:place] + draw(st.sampled_from(WRONG)) + text[place + kind :]


SPECIAL = ("nan", "-inf", "1e400", "9" * 400, "1e-5", "-0.0", "1E2", "0x1p3", "1e", "--1.5", "1.5.5")
WRONG = (
    "",
    "x",
    "_",
    ",",
    ";",
    " ",
    "-",
    "+",
    ".",
    "e",
    "*",
    "#",
    "'",
    '"',
    "=",
    ":",
    "\x1c",
    "\xa0",
    "²",
    "٣",
    "\\",
    "{",
)


def written_number(text: str) -> float | None:
    """Return the finite number that a text is, in the notation that all formats share; ``None`` for anything else."""
    return float(text) if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text, re.ASCII) else None

"""Check of the layout of an XYZ file before ASE reads it.

ASE loops over as many lines as the file promises, stops silently at the first empty line, ignores surplus columns, and
keeps the last of several header entries of one name.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from fitsnap_nn.data.readers.text import UTF_16, open_lines
from fitsnap_nn.errors import DataError, shorten

MAX_DIGITS = 9  # of a number of atoms
WIDTH = re.compile(r"[0-9]{1,3}")
SEPARATORS = re.compile(r"[\s=\"',{}\[\]]+")
PROPERTIES = re.compile(r"(?:^|\s)Properties\s*=\s*[\"']?([^\s\"']+)")
QUOTED = re.compile(r"\\.|\"[^\"]*\"|'[^']*'|\{[^{}]*\}|\[[^\[\]]*\]")  # values that may contain blanks and =
BARE_NUMBER = re.compile(r"=\s*\S+\s+([-+.]*\d[-+.\dEeDd]*)(?=\s|$)")
COMMA = re.compile(r"(?:^|[\s=\"'{\[,]),(?=\S)|,(?=[\"'}\]])|=[^\s\"'{\[]*,(?=\s|$)")  # not between two items
KEY = re.compile(r"(?:^|\s)([^\s=]+)\s*=")


def check_layout(path: str) -> None:
    """Check that all frames are complete, and that atom lines have the columns that the header declares.

    Args:
        path: the file, plain or compressed.

    Raises:
        DataError: the file is not XYZ, or a frame is damaged; the message names line and frame.
    """
    with open_lines(path) as file:
        lines = enumerate(file, start=1)
        frame = 0
        for number, line in lines:
            if number == 1 and line.startswith((*UTF_16, codecs.BOM_UTF8)):
                raise DataError(f"{path}: the file starts with a byte order mark. Save it as UTF-8 without one.")
            if line.isspace():
                _refuse_rest(path, number, lines)
            elif not line.lstrip().startswith(b"VEC"):  # a lattice vector after the atoms, in the files of ADF
                _check_frame(f"{path}: configuration {frame}", number, line, lines)
                frame += 1


def _refuse_rest(path: str, number: int, lines: Iterator[tuple[int, bytes]]) -> None:
    rest = next((other for other, line in lines if not line.isspace()), None)
    if rest is not None:
        raise DataError(
            f"{path}:{number}: the line is empty, but must be the number of atoms of a frame: ASE would ignore the "
            f"rest of the file, from line {rest} on. Remove the empty lines."
        )


def _check_frame(where: str, number: int, first: bytes, lines: Iterator[tuple[int, bytes]]) -> None:
    digits = first.strip()
    if not digits.isdigit():
        text = shorten(digits.decode("utf-8", "replace"))
        raise DataError(f"{where}, line {number}: '{text}' is not a number of atoms: the file is not extended XYZ.")
    count = int(digits) if len(digits) <= MAX_DIGITS else 10**MAX_DIGITS
    header = next(lines, (0, b""))[1].decode("utf-8", "replace")
    _check_entries(where, header)
    _refuse_foreign_digits(where, header)
    columns = _columns(where, header)
    for k in range(count):
        line_number, line = next(lines, (0, b""))
        if not line:
            promised = shorten(digits.decode())
            raise DataError(f"{where}, line {number}: the line states {promised} atoms, but the file ends after {k}.")
        text = line.decode("utf-8", "replace")
        _refuse_foreign_digits(where, text)
        if columns and (found := len(text.split())) != columns:
            raise DataError(
                f"{where}, line {line_number}: the line of an atom has {found} columns, but Properties declares "
                f"{columns}. Correct the file."
            )


def column_count(properties: str) -> int:
    """Return the number of columns that the entry ``Properties`` declares.

    Raises:
        ValueError: it does not give the width of each property.
    """
    widths = properties.split(":")[2::3]
    if not all(map(WIDTH.fullmatch, widths)):
        raise ValueError(f"Properties={shorten(properties)} does not give the number of columns of each property")
    return sum(map(int, widths))


def _columns(where: str, header: str) -> int:
    """Return the number of columns of a frame; 0 if the header does not declare them."""
    match = PROPERTIES.search(header)
    try:
        return column_count(match[1]) if match else 0
    except ValueError as error:
        raise DataError(f"{where}: {error}. Correct it.") from None


def _check_entries(where: str, header: str) -> None:
    """Refuse entries that are given twice, and numbers that are cut by a blank, in the header of extended XYZ."""
    if "Properties=" not in header and "Lattice=" not in header:
        return  # a comment
    if COMMA.search(header):
        raise DataError(f"{where}: a comma in the header is not between two items. The decimal separator is a point.")
    entries = QUOTED.sub("Q", header)
    if cut := BARE_NUMBER.search(entries):
        raise DataError(f"{where}: the number {shorten(cut[1])} in the header belongs to no entry. Correct the header.")
    keys = KEY.findall(entries)
    if len(set(keys)) < len(keys):
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise DataError(f"{where}: the header has the entry '{shorten(repeated)}' more than once. Remove all but one.")


def _refuse_foreign_digits(where: str, line: str) -> None:
    """Refuse 1_65, which Python reads as 165, and digits of other scripts."""
    if ("_" in line or not line.isascii()) and (word := next(filter(_is_foreign, SEPARATORS.split(line)), "")):
        raise DataError(f"{where}: '{shorten(word)}' is not a number. Correct it.")


def _is_foreign(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return "_" in word or not word.isascii()

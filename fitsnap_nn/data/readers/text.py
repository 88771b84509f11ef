"""Opening of data files: regular files only, plain or compressed, and lines of bounded length."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import IO, cast

from fitsnap_nn.errors import DataError
from fitsnap_nn.files import irregularity

Opener = Callable[[str], IO[bytes]]
OPENERS: Mapping[str, Opener] = MappingProxyType(
    {"gz": cast(Opener, gzip.open), "bz2": cast(Opener, bz2.open), "xz": cast(Opener, lzma.open)}
)
MAX_LINE = 2**24  # bytes; a few kilobytes of compressed zeros can be a line of gigabytes
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def require_file(path: str) -> None:
    """Refuse what is no regular file: reading a pipe or a device may wait or go on for ever.

    Raises:
        DataError: the path leads to a folder, a pipe, a device or a socket.
    """
    if kind := irregularity(path):
        raise DataError(f"{path} is {kind}, not a file. Remove it from the data, or copy its content to a file.")


@contextmanager
def open_lines(path: str) -> Iterator[Iterator[bytes]]:
    """Open a plain or compressed (gz, bz2, xz) file, and yield its lines.

    Raises:
        DataError: the file cannot be read, the compressed data are damaged, or a line exceeds MAX_LINE.
    """
    require_file(path)
    opener = OPENERS.get(path.rsplit(".", 1)[-1].lower())
    try:
        with opener(path) if opener else open(path, "rb") as file:
            yield _lines(path, file)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{path}: the file cannot be read: {error}. Copy it again, or remove it.") from None


def _lines(path: str, file: IO[bytes]) -> Iterator[bytes]:
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE and not line.endswith(b"\n"):
            raise DataError(f"{path}: a line has more than {MAX_LINE >> 20} MiB, so the file is not text. Remove it.")
        yield line


def read_text(path: str) -> str:
    """Read a UTF-8 file without its byte order mark; bytes that are not UTF-8 are replaced by U+FFFD.

    Raises:
        DataError: the file cannot be read, or its encoding is UTF-16.
    """
    require_file(path)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise DataError(f"{path}: the file cannot be read: {error.strerror}.") from None
    if content.startswith(UTF_16):
        raise DataError(f"{path}: the encoding of the file is UTF-16. Save it as UTF-8.")
    return content.decode("utf-8-sig", errors="replace")

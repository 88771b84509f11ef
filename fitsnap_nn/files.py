"""Atomic file writing, and what a path leads to."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Write a file atomically: if writing is interrupted, ``path`` keeps its previous content.

    Args:
        path: the file to create or replace.

    Yields:
        A binary file open for writing. On success it replaces ``path``; on an exception it is removed.

    Raises:
        OSError: the file cannot be written.
    """
    # POSIX renames are atomic within a file system only, hence a temporary file in the same folder. Without fsync a
    # crash of the machine can leave an empty file under the new name.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def irregularity(path: str | os.PathLike[str]) -> str:
    """Return what a path leads to if that is no regular file, such as ``a pipe``; empty for files and missing paths.

    Reading a pipe or a device may wait or go on for ever, therefore it is asked before a file is opened.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return ""  # opening the file gives the reason
    if stat.S_ISREG(mode):
        return ""
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or a socket"

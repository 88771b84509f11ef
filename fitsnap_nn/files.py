"""Writing of files: atomic, with errors that name the file, and without traces of killed processes."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from fitsnap_nn.errors import OutputError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# What flock(2) fails with where the file system, such as NFS without its lock service, has no locks.
WITHOUT_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{32}")
ABANDONED = 86400.0  # s without modification after which a file has no writer, where there are no locks


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Write a file atomically: if writing is interrupted, ``path`` keeps its previous content.

    Args:
        path: the file to create or replace.

    Yields:
        A buffer. On success its content replaces that of ``path``; on an exception nothing is written.

    Raises:
        OSError: the file cannot be written; the error names it and states the space needed.
    """
    # A buffer, because libraries such as torch turn a full disk into errors of their own.
    buffer = io.BytesIO()
    yield buffer
    with named_errors(path, buffer.tell()):
        # POSIX renames are atomic within a file system only, hence a temporary file in the same folder. Without fsync a
        # crash of the machine can leave an empty file under the new name.
        file = create_locked(lambda: path.with_name(f".{path.name}.{uuid.uuid4().hex}"))
        try:
            with file:
                file.write(buffer.getbuffer())
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, path)  # while it is locked, or another process could remove it as abandoned
        finally:
            Path(file.name).unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8.

    Raises:
        OSError: see `atomic_write`.
    """
    with atomic_write(path) as file:
        # File names that are not UTF-8 are text with surrogates, which UTF-8 does not encode.
        file.write(text.encode("utf-8", "backslashreplace"))


@contextmanager
def named_errors(path: Path, size: int | None = None) -> Iterator[None]:
    """Add the name of the file to errors of the block, and the space needed and free if the disk is full.

    Args:
        path: the file.
        size: its size, bytes.

    Raises:
        OSError: the error of the block.
    """
    try:
        yield
    except OSError as error:
        text = error.strerror or str(error)
        if error.errno in FULL:
            needed = "" if size is None else f"{_size(size)} needed, "
            text += f" ({needed}{_size(shutil.disk_usage(path.parent).free)} free)"
        raise OSError(error.errno, text, str(path)) from error


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Translate errors of writing into one line that names the file.

    Raises:
        OutputError: the block raised an `OSError` of a file or of a full disk.
    """
    try:
        yield
    except BrokenPipeError:  # `head` has read enough
        raise
    except OSError as error:
        if error.filename is None and error.errno not in FULL:
            raise
        name = error.filename or "the standard output"
        remedy = " Free disk space." if error.errno in FULL else ""
        raise OutputError(f"cannot write {name}: {error.strerror}.{remedy}") from error


def create_locked(new_path: Callable[[], Path]) -> BinaryIO:
    """Create a file that is locked as long as it is open, so that others see that it has a writer.

    Args:
        new_path: returns a new random name.

    Raises:
        OSError: the file cannot be created.
    """
    while True:
        file = new_path().open("xb")
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # `remove_abandoned` took the lock first


def remove_abandoned(path: Path, unless: Path | None = None) -> None:
    """Remove a file of `create_locked` if the process that wrote it has ended.

    Args:
        path: the file.
        unless: file that the process writes before it ends, if it is complete: then nothing is removed.
    """
    with suppress(OSError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS or time.time() - path.stat().st_mtime < ABANDONED:
                return
        # Looked for under the lock: the process may have completed its work a moment ago.
        if unless is None or not unless.exists():
            path.unlink()


def remove_temporaries(folder: Path, names: Collection[str] | None = None) -> None:
    """Remove the temporary files that killed processes have left.

    Args:
        folder: the folder.
        names: names of the files that were to be written; any by default.
    """
    for path in folder.glob(".*"):
        match = TEMPORARY.fullmatch(path.name)
        if match and (names is None or match["name"] in names):
            remove_abandoned(path)


def _size(count: int) -> str:
    """Return a number of bytes with a unit."""
    size, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.3g} {unit}" if unit != "bytes" else f"{count} bytes"


def read_regular(path: str | os.PathLike[str]) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: the file cannot be read, or is a pipe or a device.
    """
    if kind := irregularity(path):
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", os.fspath(path))
    return Path(path).read_bytes()


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


def is_text(path: str | os.PathLike[str]) -> bool:
    """Return whether a file exists and begins like a text in UTF-8: an input, not a model or restart file."""
    if irregularity(path):
        return False
    try:
        with open(path, encoding="utf-8") as file:
            return "\0" not in file.read(1024)
    except (OSError, UnicodeDecodeError):
        return False


def unwritable(path: Path) -> str:
    """Return why no file can be written to a path that a user chose; empty if nothing is in the way.

    Args:
        path: the file, which may exist.
    """
    if path.is_dir():
        return "is a folder"
    return "" if path.parent.is_dir() else f"cannot be written: there is no folder {path.parent}"

"""Folders that the program writes to: which files in them are its own, and which process writes there."""

from __future__ import annotations

import fcntl
import os
import re
import socket
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from fitsnap_nn.errors import InputError, Problem
from fitsnap_nn.files import WITHOUT_LOCKS, write_text

MARKER = "fitsnap_nn.files"
LOCK = "fitsnap_nn.lock"
LOG_FILE = "run.log"
HEADER = "# The files of fitsnap_nn in this folder. It replaces no others. Do not edit.\n"
# The first line of a log: that of a fit, or one of those that a test of a model begins with.
LOG_START = re.compile(
    r"fitsnap_nn \d\S* .{1,3} ?\d+ ranks?\b|data: \d+ configurations|sets: |note: |warning: the split"
)


def is_log(path: Path) -> bool:
    """Return whether a file is a log of this program."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return bool(LOG_START.match(file.readline(200)))
    except OSError:
        return False


def own_files(folder: Path, names: Iterable[str]) -> set[str]:
    """Return the names of the files in a folder that this program may replace.

    Args:
        folder: the folder; it may be missing.
        names: all names of a folder that an earlier version has written to, without a list of them.
    """
    try:
        text = (folder / MARKER).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set(names) if is_log(folder / LOG_FILE) else set()
    return {line for line in text.splitlines() if not line.startswith("#")}


def foreign_files(folder: Path, names: Collection[str]) -> list[str]:
    """Return the names under which somebody else has a file in a folder, or a link to one.

    Args:
        folder: the folder; it may be missing.
        names: names of the files to write.
    """
    own = own_files(folder, names)
    paths = [folder / name for name in sorted(names)]
    return [path.name for path in paths if os.path.lexists(path) and (path.name not in own or path.is_symlink())]


def refuse_foreign_files(folder: Path, names: Collection[str]) -> None:
    """Refuse to replace files of somebody else.

    Args:
        folder: the folder; it may be missing.
        names: names of the files to write.

    Raises:
        InputError: names all of them.
    """
    if found := foreign_files(folder, names):
        what = f"contains files that fitsnap_nn has not written and would replace: {', '.join(found)}."
        remedy = "Move them, or choose another folder or other names. --overwrite replaces files of fitsnap_nn only."
        raise InputError([Problem(str(folder), what, remedy)])


def claim(folder: Path, names: Collection[str]) -> None:
    """Record, before they are written, that files of a folder are of this program.

    Args:
        folder: the folder, without foreign files of these names.
        names: names of the files to write.

    Raises:
        OSError: the record cannot be written.
    """
    found = sorted(own_files(folder, names).union(names))
    write_text(folder / MARKER, "".join([HEADER, *(f"{name}\n" for name in found)]))


@contextmanager
def locked(folder: Path) -> Iterator[str]:
    """Lock a folder for the block, against other processes that write to it.

    The lock belongs to the open file (flock(2)): it ends with the process, however that ends.

    Args:
        folder: existing folder.

    Yields:
        A remark on the lock of a process that was killed, or on a file system without locks; usually empty.

    Raises:
        InputError: another process holds the lock.
        OSError: the folder cannot be written.
    """
    path = folder / LOCK
    number, remark = _locked_file(path)
    try:
        os.ftruncate(number, 0)
        started = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
        os.write(number, f"process {os.getpid()} on {socket.gethostname()} since {started}".encode())
        yield remark
    finally:
        path.unlink(missing_ok=True)
        os.close(number)


def _locked_file(path: Path) -> tuple[int, str]:
    """Return the descriptor of the locked file, and a remark."""
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        remark = ""
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(number)
            if error.errno not in WITHOUT_LOCKS:
                os.close(number)
                what = f"is in use by another run: {holder or 'a process that has just started'}."
                remedy = "Wait until it has ended, or choose another folder."
                raise InputError([Problem(str(path.parent), what, remedy)]) from None
            remark = f"the file system of {path.parent} has no locks: make sure that no other run writes there"
        # The previous owner may have removed the file between the two calls: then the lock is of no file.
        if path.exists() and os.path.samestat(os.fstat(number), path.stat()):
            left = _holder(number)
            return number, remark or (f"{path.parent} was left locked by {left}, which has ended" if left else "")
        os.close(number)


def _holder(number: int) -> str:
    """Return the process that a lock file names."""
    return os.pread(number, 300, 0).decode("utf-8", "replace").strip()

"""Files of the input cache: ``<name>.bin`` holds the arrays of many inputs, ``<name>.index`` their locations.

Each writer creates its own pair of files, so that ranks need no locks. The index is replaced atomically (written to a
temporary file and renamed), and only after ``fsync`` of the data. A reader therefore never sees an index entry whose
data are incomplete, whenever the writer is killed.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import time
import uuid
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.errors import DataError
from fitsnap_nn.files import atomic_write, create_locked
from fitsnap_nn.inputs.base import Arrays, CachedInput, DType

MAGIC = b"fitsnap_nn descriptors".ljust(64, b"\0")
ALIGNMENT = 64  # bytes; a cache line, so that views of the mapped file are aligned for vector instructions
INDEX_INTERVAL = 10.0  # s between index updates; a killed writer loses at most the inputs of this interval
# Bytes after which a writer starts a new pair of files. The operating system may refuse a private mapping that is
# larger than memory.
MAX_FILE_SIZE = 2**30


class RecordLocation(NamedTuple):
    """Location of one cached input in a data file.

    Attributes:
        offset: first byte in the data file.
        shapes: shapes of the arrays.
        checksum: CRC-32 of the bytes, padding included.
    """

    offset: int
    shapes: Sequence[Sequence[int]]
    checksum: int

    def size(self, dtypes: Sequence[DType]) -> int:
        """Return the number of bytes, with each array padded to the alignment."""
        pairs = zip(self.shapes, dtypes, strict=True)
        return sum(_padded(math.prod(shape) * dtype.itemsize) for shape, dtype in pairs)


class RecordFile:
    """Reader of one data file, mapped into memory up to the size stated in its index.

    Args:
        index: path of the index file.
        dtypes: dtype of each array of an input.

    Attributes:
        locations: location of each input, keyed by the fingerprint of its configuration.
        version: see `file_version`, for the index that was read.

    Raises:
        OSError: a file is missing or cannot be read.
        ValueError: a file is truncated or damaged.
    """

    def __init__(self, index: Path, dtypes: Sequence[DType]) -> None:
        self._dtypes = dtypes
        self.index = index
        # Taken before the index is read: if the index is replaced meanwhile, the next refresh reads it again.
        self.version = file_version(index)
        self.locations, size = _read_index(index)
        with index.with_suffix(".bin").open("rb") as file:
            # Copy-on-write: torch.from_numpy needs writable arrays, and the file must never change.
            self._data = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY)
        if self._data[: len(MAGIC)] != MAGIC:
            raise ValueError("the data file does not start with the signature of the fitsnap_nn cache")

    def is_intact(self, location: RecordLocation) -> bool:
        """Return whether the checksum of an input agrees with its data."""
        end = location.offset + location.size(self._dtypes)
        return zlib.crc32(memoryview(self._data)[location.offset : end]) == location.checksum

    def arrays(self, location: RecordLocation) -> Arrays:
        """Return the arrays of an input as views of the mapped file."""
        views: list[NDArray[Any]] = []
        offset = location.offset
        for shape, dtype in zip(location.shapes, self._dtypes, strict=True):
            count = math.prod(shape)
            views.append(np.frombuffer(self._data, dtype, count, offset).reshape(shape))
            offset += _padded(count * dtype.itemsize)
        return views

    def release(self) -> None:
        """Release the memory of the mapped pages; they are read from disk again on the next access.

        Modified (copied) pages are discarded as well: ``MADV_DONTNEED`` on a private mapping, see madvise(2).
        """
        self._data.madvise(mmap.MADV_DONTNEED)


class RecordWriter:
    """Appends cached inputs to new data files and updates their indices.

    Args:
        folder: existing folder of the files.
        dtypes: dtype of each array of an input.

    Raises:
        DataError: the folder cannot be written, on creation or later (for example a full disk).
    """

    def __init__(self, folder: Path, dtypes: Sequence[DType]) -> None:
        self._folder = folder
        self._dtypes = dtypes
        with translate_write_errors(folder):
            self._open_file()

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Write the last index; inputs completed before an exception are kept."""
        with translate_write_errors(self._folder):
            self._close_file()

    def _open_file(self) -> None:
        self._file = create_locked(lambda: self._folder / f"{uuid.uuid4().hex}.bin")
        self._path = Path(self._file.name)
        self._file.write(MAGIC)
        self._end = len(MAGIC)
        self._locations: dict[str, RecordLocation] = {}
        self._index_time = time.monotonic()

    def _close_file(self) -> None:
        try:
            if self._locations:
                self._write_index()
            else:
                self._path.unlink()
        finally:
            self._file.close()

    def add(self, configuration: Configuration, cached: CachedInput) -> None:
        """Append the input of one configuration.

        Raises:
            DataError: the folder cannot be written.
        """
        with translate_write_errors(self._folder):
            if self._end > MAX_FILE_SIZE:
                self._close_file()
                self._open_file()
            arrays = cached.arrays()
            location = RecordLocation(self._end, [array.shape for array in arrays], 0)
            checksum = 0
            self._file.seek(location.offset)
            for array, dtype in zip(arrays, self._dtypes, strict=True):
                stored = np.ascontiguousarray(array, dtype=dtype)
                data = stored.reshape(-1).view(np.uint8).data
                for part in (data, bytes(_padded(data.nbytes) - data.nbytes)):
                    self._file.write(part)
                    checksum = zlib.crc32(part, checksum)
            self._end += location.size(self._dtypes)
            self._locations[configuration.fingerprint()] = location._replace(checksum=checksum)
            if time.monotonic() - self._index_time > INDEX_INTERVAL:
                self._write_index()

    def _write_index(self) -> None:
        # The data must be on disk before the index that refers to them, also after a power failure.
        self._file.flush()
        os.fsync(self._file.fileno())
        # The key "places" is part of the file format.
        locations = json.dumps(self._locations)
        index = {"checksum": zlib.crc32(locations.encode()), "size": self._end, "places": locations}
        write_text_atomically(self._path.with_suffix(".index"), json.dumps(index))
        self._index_time = time.monotonic()


def _read_index(path: Path) -> tuple[dict[str, RecordLocation], int]:
    """Return the locations in an index and the number of bytes of data that it covers."""
    try:
        index = json.loads(path.read_text())
        locations, size = index["places"], int(index["size"])
        if zlib.crc32(locations.encode()) != index["checksum"]:
            raise ValueError("the checksum differs")
        return {name: RecordLocation(*fields) for name, fields in json.loads(locations).items()}, size
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"the index is damaged ({error})") from error


def file_version(path: Path) -> tuple[int, int]:
    """Return modification time (ns) and inode number, which change whenever a file is replaced by renaming."""
    status = path.stat()
    return status.st_mtime_ns, status.st_ino


def write_text_atomically(path: Path, text: str) -> None:
    """Replace a file such that readers see either the old or the complete new content.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_write(path) as file:
        file.write(text.encode())


@contextmanager
def translate_write_errors(folder: Path) -> Iterator[None]:
    """Translate an `OSError` into a `DataError` that explains how to move the cache.

    Raises:
        DataError: the body raised an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write the descriptor cache in {folder}: {error.strerror or error}. "
            "Free disk space, or set another folder in the input file: [MEMORY] cache = FOLDER"
        ) from error


def _padded(size: int) -> int:
    """Round a number of bytes up to a multiple of the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT
